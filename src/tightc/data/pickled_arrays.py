"""Pickles of plain values and arrays, as CIFAR's batches are, read without running what they ask for.

A pickle is a program for a small stack machine that may import and call anything. This one knows the operations that
build numbers, texts, lists, dictionaries and arrays of numbers, and refuses all others.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NUMBERS = ("u1", "i1", "i2", "i4", "i8", "f4", "f8")
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple,
}  # fmt: skip
_VALUES = frozenset(
    (
        *("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    )
)
_BYTE_STRINGS = frozenset(("STRING", "BINSTRING", "SHORT_BINSTRING"))  # of Python 2; pickletools gives texts
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = frozenset(("PROTO", "FRAME"))
_PUT = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
_GET = frozenset(("GET", "BINGET", "LONG_BINGET"))


class ForbiddenError(Exception):
    """A pickle asks for something that is not part of plain values; the text names it."""


class _Mark:
    """Where the items of a list, tuple or dictionary begin on the stack."""


@dataclass(frozen=True)
class _Name:
    """A function or class that a pickle names; it is never imported."""

    text: str


@dataclass(eq=False)
class _Array:
    """An array, or the type of its numbers, that its state will complete."""

    dtype: str = ""
    values: NDArray[Any] | None = None


@dataclass
class _Machine:
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def since_mark(self) -> list[Any]:
        """Removes and returns what lies above the last mark, and the mark."""
        at = next(at for at in reversed(range(len(self.stack))) if isinstance(self.stack[at], _Mark))
        found = self.stack[at + 1 :]
        del self.stack[at:]
        return found


def read_pickled_arrays(content: bytes) -> Any:
    """The value in a pickle of numbers, texts, lists, tuples, dictionaries and arrays of numbers.

    ForbiddenError where the pickle asks for anything else; other exceptions where it is corrupt.
    """
    machine = _Machine()
    for operation, argument, _ in pickletools.genops(content):
        name = operation.name
        if name == "STOP":
            return _finished(machine.stack.pop())
        if name in _VALUES:
            machine.stack.append(argument)
        elif name in _BYTE_STRINGS:
            machine.stack.append(str(argument).encode("latin1"))
        elif name not in _IGNORED:
            _run(name, argument, machine)
    raise ValueError("it has no end")


def _run(name: str, argument: Any, machine: _Machine) -> None:
    stack, memo = machine.stack, machine.memo
    if name in _CONSTANTS:
        stack.append(_CONSTANTS[name])
    elif name in _EMPTY:
        stack.append(_EMPTY[name]())
    elif name in _PUT:
        memo[int(argument)] = stack[-1]
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif name in _GET:
        stack.append(memo[int(argument)])
    elif name == "MARK":
        stack.append(_Mark())
    elif name in _TUPLES:
        stack[-_TUPLES[name] :] = [tuple(stack[-_TUPLES[name] :])]
    elif name in ("TUPLE", "LIST", "DICT"):
        stack.append(_GATHERED[name](machine.since_mark()))
    elif name in ("APPEND", "APPENDS"):
        items = [stack.pop()] if name == "APPEND" else machine.since_mark()
        _typed(stack[-1], list).extend(items)
    elif name in ("SETITEM", "SETITEMS"):
        items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else machine.since_mark()
        _typed(stack[-1], dict).update(_pairs(items))
    elif name == "GLOBAL":
        stack.append(_name(*argument.split(" ", 1)))
    elif name == "STACK_GLOBAL":
        last = stack.pop()
        stack.append(_name(_typed(stack.pop(), str), _typed(last, str)))
    elif name == "REDUCE":
        arguments = stack.pop()
        stack.append(_call(_typed(stack.pop(), _Name).text, _typed(arguments, tuple)))
    elif name == "BUILD":
        state = stack.pop()
        _complete(_typed(stack[-1], _Array), _typed(state, tuple))
    else:
        raise ForbiddenError(f"uses {name}")


def _typed(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} expected, {type(value).__name__} found")
    return value


def _pairs(items: list[Any]) -> dict[Any, Any]:
    """A dictionary of keys and values in turn; a key has to be text."""
    keys = items[::2]
    if not all(isinstance(key, str | bytes) for key in keys):
        raise TypeError("a key is no text")
    return dict(zip(keys, items[1::2], strict=True))


_GATHERED: dict[str, Callable[[list[Any]], Any]] = {"TUPLE": tuple, "LIST": list, "DICT": _pairs}


def _name(module: str, name: str) -> _Name:
    text = f"{module.replace('numpy._core', 'numpy.core')}.{name}"
    if text not in ("numpy.ndarray", "numpy.dtype", "numpy.core.multiarray._reconstruct", "_codecs.encode"):
        raise ForbiddenError(f"imports {module}.{name}")
    return _Name(text)


def _call(name: str, arguments: tuple[Any, ...]) -> Any:
    if name == "_codecs.encode":  # how protocol 2 writes bytes
        return _typed(arguments[0], str).encode("latin1")
    if name == "numpy.core.multiarray._reconstruct":
        return _Array()
    if name == "numpy.dtype":
        code = arguments[0].decode() if isinstance(arguments[0], bytes) else _typed(arguments[0], str)
        if code.lstrip("<>|=") not in _NUMBERS:
            raise ForbiddenError(f"holds arrays of {code[:20]}")
        return _Array(code.lstrip("<>|="))
    raise ForbiddenError(f"calls {name}")


def _complete(array: _Array, state: tuple[Any, ...]) -> None:
    """Sets the byte order of a type of numbers, or shape, type and values of an array, from the state in a pickle."""
    if array.dtype:
        order = state[1].decode() if isinstance(state[1], bytes) else _typed(state[1], str)
        array.dtype = np.dtype(order + array.dtype[-2:]).str
        return
    _, shape, numbers, by_columns, values = state
    dtype = _typed(numbers, _Array).dtype
    content = values.encode("latin1") if isinstance(values, str) else _typed(values, bytes)
    if not dtype or not all(isinstance(side, int) and side >= 0 for side in _typed(shape, tuple)):
        raise ValueError("an array without a type or of negative size")
    array.values = np.frombuffer(content, dtype).reshape(shape, order="F" if by_columns else "C")


def _finished(value: Any) -> Any:
    """`value`, with the arrays in a dictionary in place of what stands for them."""
    if not isinstance(value, dict):
        return value
    return {key: item.values if isinstance(item, _Array) else item for key, item in value.items()}
