"""Boolean functions of Liberty: parsed, written as Verilog, and evaluated on arrays."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.bool_]
# ("pin", name), ("constant", bool), ("!", a), ("&" | "|" | "^", a, b)
Function = tuple[Any, ...]

_TOKEN = re.compile(r"\s*([A-Za-z_][\w\[\]]*|[01]|[()!'&*|+^])")
_ENDS = (None, ")", "|", "+")


def parse_function(text: str) -> Function:
    """The function that `text` denotes: ! and ' negate; ^ binds tighter than & and *, those tighter than | and +."""
    tokens = _TOKEN.findall(text)
    function, rest = _alternatives(tokens)
    if rest:
        raise ValueError(f"expected a Boolean function, got {text!r}")
    return function


def _alternatives(tokens: list[str]) -> tuple[Function, list[str]]:
    left, tokens = _terms(tokens)
    while tokens and tokens[0] in "|+":
        right, tokens = _terms(tokens[1:])
        left = ("|", left, right)
    return left, tokens


def _terms(tokens: list[str]) -> tuple[Function, list[str]]:
    left, tokens = _differences(tokens)
    while (tokens[0] if tokens else None) not in _ENDS:  # pins side by side are a product too
        right, tokens = _differences(tokens[1:] if tokens[0] in "&*" else tokens)
        left = ("&", left, right)
    return left, tokens


def _differences(tokens: list[str]) -> tuple[Function, list[str]]:
    left, tokens = _factor(tokens)
    while tokens and tokens[0] == "^":
        right, tokens = _factor(tokens[1:])
        left = ("^", left, right)
    return left, tokens


def _factor(tokens: list[str]) -> tuple[Function, list[str]]:
    if not tokens:
        raise ValueError("expected a Boolean function, got an end")
    first, tokens = tokens[0], tokens[1:]
    if first == "!":
        inner, tokens = _factor(tokens)
        return ("!", inner), tokens
    if first == "(":
        found, tokens = _alternatives(tokens)
        if not tokens or tokens[0] != ")":
            raise ValueError("expected a closing parenthesis in a Boolean function")
        tokens = tokens[1:]
    else:
        found = ("constant", first == "1") if first in "01" else ("pin", first)
    while tokens and tokens[0] == "'":
        found, tokens = ("!", found), tokens[1:]
    return found, tokens


def pins_of(function: Function) -> set[str]:
    """The pins that the function reads."""
    if function[0] == "pin":
        return {function[1]}
    return set().union(*(pins_of(part) for part in function[1:] if isinstance(part, tuple)))


def as_verilog(function: Function, name: Callable[[str], str]) -> str:
    """A Verilog expression; `name` gives the net of a pin."""
    match function:
        case ("pin", pin):
            return name(pin)
        case ("constant", value):
            return f"1'b{int(value)}"
        case ("!", inner):
            return f"~{as_verilog(inner, name)}"
        case (operator, left, right):
            return f"({as_verilog(left, name)} {operator} {as_verilog(right, name)})"
    raise ValueError(f"expected a Boolean function, got {function!r}")


def evaluate(function: Function, value: Callable[[str], Bits]) -> Bits:
    """The function on arrays: `value` gives the bits of a pin, all of one shape."""
    match function:
        case ("pin", pin):
            return value(pin)
        case ("constant", constant):
            return np.asarray(constant)
        case ("!", inner):
            return np.asarray(~evaluate(inner, value))
        case (operator, left, right):
            one, other = evaluate(left, value), evaluate(right, value)
            return np.asarray(
                one & other if operator == "&" else one | other if operator == "|" else one ^ other
            )
    raise ValueError(f"expected a Boolean function, got {function!r}")
