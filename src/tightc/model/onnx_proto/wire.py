"""Where the values of large tensors lie in a serialized model, found without reading them.

Protobuf's wire format ("Encoding", protobuf.dev): a field is a varint tag, number << 3 | type, and its content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

Read = Callable[[int, int], bytes]  # (offset, length) gives at most so many bytes

# field numbers of onnx.proto
GRAPH = 7  # of ModelProto
INITIALIZER = 5  # of GraphProto
RAW_DATA = 9  # of TensorProto

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10  # bytes
_MOST_FIELDS = 10**6  # of a message


class WireError(ValueError):
    """The bytes are not a message, or one that this module leaves to protobuf."""


@dataclass(frozen=True)
class Field:
    """A field of a message: its `number`, where its tag begins, and where its content begins and ends."""

    number: int
    kind: int
    start: int
    content: int
    end: int


def fields(read: Read, start: int, end: int) -> Iterator[Field]:
    """The fields of the message from `start` to `end`; WireError where it is none, or has more than a million."""
    for _ in range(_MOST_FIELDS):
        if start >= end:
            return
        head = read(start, 2 * _LONGEST_VARINT)
        tag, place = read_varint(head, 0)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            _, after = read_varint(head, place)
            content, length = start + place, after - place
        elif kind == _BYTES:
            length, after = read_varint(head, place)
            content = start + after
        elif kind in (_FIXED64, _FIXED32):
            content, length = start + place, 8 if kind == _FIXED64 else 4
        else:
            raise WireError("a group, which ONNX has none of")
        if not number:
            raise WireError("a field without a number")
        if content + length > end:
            raise WireError("a field beyond the end of its message")
        yield Field(number, kind, start, content, content + length)
        start = content + length
    if start < end:
        raise WireError("more fields than a model has")


def only_field(found: list[Field], number: int) -> Field | None:
    """The field of that `number` among `found`, None where there is none; WireError where there are several."""
    own = [field for field in found if field.number == number]
    if len(own) > 1 or any(field.kind != _BYTES for field in own):
        raise WireError("a field that may come once comes several times, or with another type")
    return own[0] if own else None


def read_varint(content: bytes, start: int) -> tuple[int, int]:
    """(the number, the place after it); WireError where `content` ends before it, or it is too long."""
    number = 0
    for place in range(start, min(len(content), start + _LONGEST_VARINT)):
        number |= (content[place] & 127) << 7 * (place - start)
        if content[place] < 128:
            return number, place + 1
    raise WireError("a number that does not end")


def varint(number: int) -> bytes:
    """The `number`, at least 0, as a varint."""
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def head(number: int, length: int) -> bytes:
    """The tag of a field of bytes, and their `length`."""
    return varint(number << 3 | _BYTES) + varint(length)
