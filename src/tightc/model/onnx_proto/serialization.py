"""Models as bytes, with the values of stored tensors read and written a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import TensorProto

from tightc.files import Chunk
from tightc.model.onnx_proto.stored_tensors import (
    TensorStorage,
    byte_count,
    embed,
    fits,
    is_stored,
    refer,
    stays_in_file,
    tensor_chunks,
)
from tightc.model.onnx_proto.wire import (
    GRAPH,
    INITIALIZER,
    RAW_DATA,
    Field,
    Read,
    WireError,
    fields,
    head,
    only_field,
)

_BUFFER = 2**16  # bytes
_EXTERNAL = (13, 14)  # TensorProto's external_data and data_location


def parse_stored(storage: TensorStorage, source: int, size: int) -> onnx.ModelProto | None:
    """The model in a source of `size` bytes of `storage`, whose large initializers stay there.

    None where the file is not one message, which is left to protobuf. DecodeError where a part of it is damaged.
    """
    try:
        skeleton = b"".join(_without_values(_Reader(storage, source, size).read, size, storage, source))
    except WireError:
        return None
    proto = onnx.ModelProto()
    proto.ParseFromString(skeleton)
    for tensor in proto.graph.initializer:
        if is_stored(tensor) and not fits(tensor):
            embed(tensor)  # the checker says what is wrong
    return proto


def serialized_chunks(proto: onnx.ModelProto) -> Iterator[Chunk]:
    """The bytes of `proto` in one file, deterministic, a piece at a time."""
    content, chunks = _chunks(proto)
    if not chunks:
        yield content
        return
    for chunk in chunks:
        if isinstance(chunk, TensorProto):
            yield from tensor_chunks(chunk)
        else:
            yield chunk


def serialized_size(proto: onnx.ModelProto) -> int:
    """The number of these bytes; no values are read."""
    if not any(map(is_stored, proto.graph.initializer)):
        return int(proto.ByteSize())
    _, chunks = _chunks(proto)
    return sum(byte_count(chunk) if isinstance(chunk, TensorProto) else len(chunk) for chunk in chunks)


class _Reader:
    """Reads small parts of a source in rising order, through a buffer."""

    def __init__(self, storage: TensorStorage, source: int, size: int) -> None:
        self._storage, self._source, self._size = storage, source, size
        self._start = 0
        self._buffer = b""

    def read(self, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`."""
        start = offset - self._start
        if start < 0 or start + length > len(self._buffer):
            taken = min(max(length, _BUFFER), self._size - offset)
            self._buffer = self._storage.read(self._source, offset, taken).tobytes()
            self._start, start = offset, 0
        return self._buffer[start : start + length]


def _without_values(read: Read, size: int, storage: TensorStorage, source: int) -> Iterator[bytes]:
    """The parts of the model without the values of its large initializers, which refer to the `source` instead."""
    found = list(fields(read, 0, size))
    graph = only_field(found, GRAPH)
    for field in found:
        if field is not graph:
            yield read(field.start, field.end - field.start)
            continue
        parts = []
        for part in fields(read, field.content, field.end):
            own = _large_values(read, part) if part.number == INITIALIZER else None
            parts.append(
                read(part.start, part.end - part.start)
                if own is None
                else _referring(read, own, storage, source)
            )
        content = b"".join(parts)
        yield head(GRAPH, len(content)) + content


@dataclass(frozen=True)
class _LargeTensor:
    """A tensor in the file: its field, and that of its values."""

    field: Field
    values: Field


def _large_values(read: Read, field: Field) -> _LargeTensor | None:
    """The tensor of a `field` with large raw values and nothing else that holds some; None for others."""
    if not stays_in_file(field.end - field.content):
        return None
    parts = list(fields(read, field.content, field.end))
    values = only_field(parts, RAW_DATA)
    if values is None or not stays_in_file(values.end - values.content):
        return None
    return None if any(part.number in _EXTERNAL for part in parts) else _LargeTensor(field, values)


def _referring(read: Read, own: _LargeTensor, storage: TensorStorage, source: int) -> bytes:
    """The field of a tensor without its values, which refers to them."""
    reference = TensorProto()
    refer(reference, storage, source, own.values.content, own.values.end - own.values.content)
    before = read(own.field.content, own.values.start - own.field.content)
    after = read(own.values.end, own.field.end - own.values.end)
    content = before + after + bytes(reference.SerializeToString())
    return head(INITIALIZER, len(content)) + content


def _chunks(proto: onnx.ModelProto) -> tuple[bytes, list[Chunk | TensorProto]]:
    """(the model, empty list), or with stored tensors its bytes in order, these tensors in place of their values."""
    if not any(map(is_stored, proto.graph.initializer)):
        return bytes(proto.SerializeToString(deterministic=True)), []
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for tensor in copy.graph.initializer:
        if is_stored(tensor):
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.raw_data = b""  # marks the place
    content = bytes(copy.SerializeToString(deterministic=True))
    del copy  # packings in the metadata may be large

    def read(offset: int, length: int) -> bytes:
        return content[offset : offset + length]

    found = list(fields(read, 0, len(content)))
    graph = only_field(found, GRAPH)
    assert graph is not None, "a model has a graph"
    inner, length = _graph_chunks(read, graph, list(proto.graph.initializer))
    view = memoryview(content)
    return b"", [view[: graph.start], head(GRAPH, length), *inner, view[graph.end :]]


def _graph_chunks(
    read: Read, graph: Field, tensors: list[TensorProto]
) -> tuple[list[bytes | TensorProto], int]:
    """(the chunks of the content of a graph whose initializers are `tensors`, its length)."""
    chunks: list[bytes | TensorProto] = []
    pending: list[bytes] = []
    length = number = 0
    for part in fields(read, graph.content, graph.end):
        whole = read(part.start, part.end - part.start)
        stored = part.number == INITIALIZER and is_stored(tensors[number])
        if stored:
            tensor = tensors[number]
            values = only_field(list(fields(read, part.content, part.end)), RAW_DATA)
            assert values is not None, "it was set to nothing"
            before = read(part.content, values.start - part.content)
            before += head(RAW_DATA, byte_count(tensor))
            after = read(values.end, part.end - values.end)
            start = head(INITIALIZER, len(before) + byte_count(tensor) + len(after))
            chunks += [b"".join([*pending, start, before]), tensor]
            pending = [after]
            length += len(start) + len(before) + byte_count(tensor) + len(after)
        else:
            pending.append(whole)
            length += len(whole)
        number += part.number == INITIALIZER
    return [*chunks, b"".join(pending)], length
