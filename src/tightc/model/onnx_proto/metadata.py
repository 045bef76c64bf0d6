"""Metadata properties of a model, the keys that tightc uses, and a strict reader of the JSON in them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import onnx

PACKINGS = "tightc.packings"
HISTORY = "tightc.history"
DIGESTS = "tightc.digests"
ANNEALING = "tightc.annealing"

_DEEPEST = 32  # nested lists and objects; tightc writes 6 at most
_MOST_DIGITS = 40  # of an integer
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKETS = {"[": 1, "{": 1, "]": -1, "}": -1}
_BLOCK = 2**20  # characters
_EXCERPT = 40  # characters of a value in a message


def get_property(proto: onnx.ModelProto, key: str) -> str | None:
    """The metadata property `key` of `proto`, None where it has none."""
    return next((entry.value for entry in proto.metadata_props if entry.key == key), None)


def set_property(proto: onnx.ModelProto, key: str, value: str | None) -> None:
    """Set the metadata property `key` of `proto` to `value` in place; None removes it."""
    for index in reversed(range(len(proto.metadata_props))):
        if proto.metadata_props[index].key == key:
            del proto.metadata_props[index]
    if value is not None:
        proto.metadata_props.add(key=key, value=value)


def read_json(text: str | bytes) -> Any:
    """The value of the JSON `text` of a property; ValueError says what was expected and what is there.

    Beyond the grammar, lists and objects are at most 32 deep, numbers are finite, and integers have at most 40 digits.
    """
    if not isinstance(text, str):  # protobuf returns bytes then
        raise ValueError("expected UTF-8, got other bytes")
    if _depth(text) > _DEEPEST:
        raise ValueError(f"expected at most {_DEEPEST} nested lists and objects, got more")
    try:
        return json.loads(text, parse_int=_integer, parse_float=_finite, parse_constant=_refuse_number)
    except json.JSONDecodeError as fault:
        raise ValueError(f"expected JSON, got something else at character {fault.pos}") from None


def _depth(text: str) -> int:
    """How deep the lists and objects of a JSON text are nested."""
    bare = _STRING.sub("", text)
    deepest = now = 0
    for start in range(0, len(bare), _BLOCK):
        codes = np.array([bare[start : start + _BLOCK]]).view(np.uint32)
        steps = np.zeros(len(codes), np.int8)
        for bracket, step in _BRACKETS.items():
            steps[codes == ord(bracket)] = step
        depths = now + np.cumsum(steps, dtype=np.int64)
        deepest, now = max(deepest, int(depths.max(initial=0))), int(depths[-1])
    return deepest


def _integer(text: str) -> int:
    return int(text) if len(text.lstrip("-")) <= _MOST_DIGITS else _refuse_number(text)


def _finite(text: str) -> float:
    value = float(text)
    return value if np.isfinite(value) else _refuse_number(text)


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"expected a finite number of at most {_MOST_DIGITS} digits, got {_excerpt(text)}")


def integer_of(record: Mapping[str, Any], key: str, low: int = 0, high: int = 2**31 - 1) -> int:
    """The integer from `low` to `high` under `key` of a JSON object; ValueError where there is none."""
    value = _value(record, key)
    if type(value) is not int or not low <= value <= high:  # True is an int too
        raise ValueError(f"expected an integer from {low} to {high} as {key}, got {_excerpt(value)}")
    return value


def text_of(record: Mapping[str, Any], key: str) -> str:
    """The text under `key` of a JSON object; ValueError where there is none."""
    value = _value(record, key)
    if not isinstance(value, str):
        raise ValueError(f"expected text as {key}, got {_excerpt(value)}")
    return value


def integers_of(values: Any, count: int, what: str) -> tuple[int, ...]:
    """A JSON list of `count` integers from 0, for `what` in messages; ValueError where `values` is something else."""
    if (
        not isinstance(values, list)
        or len(values) != count
        or not all(type(value) is int and 0 <= value < 2**62 for value in values)
    ):
        raise ValueError(f"expected {count} integers from 0 as {what}, got {_excerpt(values)}")
    return tuple(values)


def _value(record: Mapping[str, Any], key: str) -> Any:
    if not isinstance(record, Mapping):
        raise ValueError(f"expected an object with {key}, got {_excerpt(record)}")
    if key not in record:
        raise ValueError(f"expected {key}, got none")
    return record[key]


def _excerpt(value: Any) -> str:
    """The start of a value as JSON."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _EXCERPT else text[:_EXCERPT] + "..."
