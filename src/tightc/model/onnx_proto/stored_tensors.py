"""Tensors that stay in a file: their protos refer to it, and the values are read when they are needed.

Initializers of the main graph of at least `STORED_FROM` bytes are kept so, so that a model needs the memory of one
layer and not of all. Such a proto has external data whose location names a storage of this process.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from math import prod
from typing import IO, Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tightc.errors import ModelError, OutputError
from tightc.files import Chunk
from tightc.memory import require_memory

Array = NDArray[Any]

STORED_FROM: Final = 2**20  # bytes
_CHUNK = 2**22  # bytes that are read at once
LARGEST_MESSAGE: Final = 2**31 - 1  # bytes, of protobuf
_SCHEME = "tightc-storage"
_STORAGES: weakref.WeakValueDictionary[str, TensorStorage] = weakref.WeakValueDictionary()


class TensorStorage:
    """The open files that tensors of a model lie in: those it was read from, and a temporary one for new values.

    An open file keeps its content while other processes replace it. Threads may read at the same time.
    """

    def __init__(self) -> None:
        self._sources: list[IO[bytes]] = []
        self._scratch: int | None = None
        self._lock = threading.Lock()
        self.token = secrets.token_hex(8)  # no file can name it
        _STORAGES[self.token] = self
        weakref.finalize(self, _close, self._sources)

    def add(self, source: IO[bytes] | bytes) -> int:
        """The number of a new source: an open file, unbuffered, or bytes in memory."""
        self._sources.append(BytesIO(source) if isinstance(source, bytes) else source)
        return len(self._sources) - 1

    def read(self, source: int, offset: int, length: int) -> NDArray[np.uint8]:
        """The `length` bytes from `offset` of a source; ModelError where it ends before."""
        values = np.empty(length, np.uint8)
        view, done = values.data, 0
        with self._lock:
            stream = self._sources[source]
            stream.seek(offset)
            while done < length:
                got = stream.readinto(view[done:])  # type: ignore[attr-defined]
                if not got:
                    raise ModelError(
                        "the file of the model became shorter while it was in use", "run the command again"
                    )
                done += got
        return values

    def append(self, values: NDArray[np.uint8]) -> tuple[int, int]:
        """(the source, the offset) where `values` are kept from now on; OutputError where there is no space."""
        with self._lock:
            try:
                if self._scratch is None:
                    self._scratch = self.add(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115
                stream = self._sources[self._scratch]
                offset, view, done = stream.seek(0, os.SEEK_END), values.data, 0
                while done < len(values):
                    done += stream.write(view[done:])
            except OSError as fault:
                raise OutputError(
                    f"{tempfile.gettempdir()}: a temporary file of weights cannot be written ({fault.strerror})",
                    "free some space, or set TMPDIR to another folder",
                ) from None
        return self._scratch, offset


@dataclass(frozen=True)
class _Place:
    """Where the values of a tensor lie."""

    storage: TensorStorage
    source: int
    offset: int
    length: int

    def chunks(self) -> Iterator[memoryview]:
        """The bytes, a piece at a time."""
        for start in range(0, self.length, _CHUNK):
            length = min(_CHUNK, self.length - start)
            yield self.storage.read(self.source, self.offset + start, length).data


def stays_in_file(length: int) -> bool:
    """Whether an initializer with so many bytes of values is stored."""
    return length >= STORED_FROM


def is_stored(tensor: TensorProto) -> bool:
    """Whether the values of `tensor` are in a storage rather than in its proto."""
    if tensor.data_location != TensorProto.EXTERNAL or not tensor.external_data:
        return False
    scheme, _, rest = tensor.external_data[0].value.partition(":")
    return scheme == _SCHEME and rest.partition(":")[0] in _STORAGES


def refer(tensor: TensorProto, storage: TensorStorage, source: int, offset: int, length: int) -> None:
    """Make `tensor`, which has no values, refer to `length` bytes of a source of `storage`, in place."""
    tensor.ClearField("external_data")
    location = f"{_SCHEME}:{storage.token}:{source}"
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    tensor.data_location = TensorProto.EXTERNAL


def tensor_from_array(array: Array, name: str, storage: TensorStorage | None) -> TensorProto:
    """The proto of `array`, whose values go to `storage` where they are large; None keeps them in the proto."""
    array = np.ascontiguousarray(array)
    if storage is None or not stays_in_file(array.nbytes) or array.dtype.kind == "O":
        return numpy_helper.from_array(array, name)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    if bytes_of(TensorProto(data_type=kind, dims=array.shape)) != array.nbytes:  # several values in a byte
        return numpy_helper.from_array(array, name)
    tensor = TensorProto(name=name, data_type=kind, dims=array.shape)
    values = array.reshape(-1).view(np.uint8)
    refer(tensor, storage, *storage.append(values), len(values))
    return tensor


def tensor_values(tensor: TensorProto) -> Array:
    """The values of `tensor`, read from its file where they are stored."""
    if not is_stored(tensor):
        return numpy_helper.to_array(tensor)
    place = _place(tensor)
    raw = place.storage.read(place.source, place.offset, place.length)
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    if prod(tensor.dims) * dtype.itemsize == place.length:
        return raw.view(dtype).reshape(tuple(tensor.dims))
    return numpy_helper.to_array(_with_values(tensor, raw.tobytes()))


def tensor_dtype(tensor: TensorProto) -> np.dtype[Any]:
    """The dtype of `tensor_values`."""
    return np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))


def tensor_chunks(tensor: TensorProto) -> Iterator[Chunk]:
    """The values of `tensor` as bytes, a piece at a time."""
    return _place(tensor).chunks() if is_stored(tensor) else iter((tensor.raw_data,))


def byte_count(tensor: TensorProto) -> int:
    """Bytes of the values of `tensor` as raw data."""
    return _place(tensor).length if is_stored(tensor) else len(tensor.raw_data)


def bytes_of(tensor: TensorProto) -> int | None:
    """Bytes that the type and dimensions of `tensor` ask for; None for types that are not stored."""
    bits = _BITS.get(tensor.data_type)
    return (
        None if bits is None or any(size < 0 for size in tensor.dims) else -(-prod(tensor.dims) * bits // 8)
    )


def fits(tensor: TensorProto) -> bool:
    """Whether the values of a stored `tensor` have as many bytes as its type and dimensions ask for."""
    return bytes_of(tensor) == byte_count(tensor)


def storage_of(proto: onnx.ModelProto) -> TensorStorage | None:
    """The storage that initializers of `proto` refer to; None where all are in the proto."""
    return next((_place(tensor).storage for tensor in proto.graph.initializer if is_stored(tensor)), None)


def largest_tensor(proto: onnx.ModelProto) -> int:
    """Bytes of the largest stored tensor of `proto`, 0 where none is stored."""
    return max((byte_count(tensor) for tensor in proto.graph.initializer if is_stored(tensor)), default=0)


def embed(tensor: TensorProto) -> None:
    """Put the values of a stored `tensor` into its proto, in place."""
    raw = b"".join(_place(tensor).chunks())
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
    tensor.raw_data = raw


def embed_all(proto: onnx.ModelProto, origin: str) -> None:
    """Put all values that are stored into `proto`, in place.

    ModelError, naming `origin`, above 2 GiB, MemoryLimitError above what the process may take.
    """
    stored = [tensor for tensor in proto.graph.initializer if is_stored(tensor)]
    require_memory(2 * sum(map(byte_count, stored)), origin)
    if stored and proto.ByteSize() + sum(map(byte_count, stored)) > LARGEST_MESSAGE:
        raise ModelError(
            f"{origin}: expected a model below 2 GiB for this step, which runs or converts it, got a larger one",
            "take a command or option that does not run the model, or split it",
        )
    for tensor in stored:
        embed(tensor)


def embedded(proto: onnx.ModelProto, origin: str) -> onnx.ModelProto:
    """`proto` itself, or a copy with all values in it where some are stored; ModelError as `embed_all`."""
    if not any(map(is_stored, proto.graph.initializer)):
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    embed_all(copy, origin)
    return copy


def stored_as_inputs(proto: onnx.ModelProto) -> onnx.ModelProto:
    """`proto` itself, or a copy with an input in place of each stored tensor: all that a check of shapes needs."""
    stored = [tensor for tensor in proto.graph.initializer if is_stored(tensor)]
    if not stored:
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(tensor for tensor in proto.graph.initializer if not is_stored(tensor))
    listed = {value.name for value in proto.graph.input}
    copy.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in stored
        if tensor.name not in listed
    )
    return copy


class Tensors(Mapping[str, Array]):
    """Constants by name: those of `arrays`, and stored ones among `protos`, which are read at each access.

    Their storage lives as long as this does.
    """

    def __init__(self, protos: Iterable[TensorProto], arrays: Mapping[str, Array] | None = None) -> None:
        self._arrays: dict[str, Array] = {}
        self._stored: dict[str, TensorProto] = {}
        self._storages: set[TensorStorage] = set()
        self._names: dict[str, None] = {}  # in the order of the model, which training goes by
        for tensor in protos:
            self._names[tensor.name] = None
            if is_stored(tensor):
                self._stored[tensor.name] = tensor
                self._storages.add(_place(tensor).storage)
            else:
                self._arrays[tensor.name] = numpy_helper.to_array(tensor)
        self._arrays.update(arrays or {})
        self._names.update(dict.fromkeys(self._arrays))

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name] if name in self._arrays else tensor_values(self._stored[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a constant; nothing is read."""
        return self._arrays[name].shape if name in self._arrays else tuple(self._stored[name].dims)

    def dtype(self, name: str) -> np.dtype[Any]:
        """The dtype of a constant; nothing is read."""
        return self._arrays[name].dtype if name in self._arrays else tensor_dtype(self._stored[name])


class LazyArrays(Mapping[str, Array]):
    """Arrays by name, each made by a function at every access."""

    def __init__(self, makers: Mapping[str, Callable[[], Array]]) -> None:
        self._makers = dict(makers)

    def __getitem__(self, name: str) -> Array:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __contains__(self, name: object) -> bool:
        return name in self._makers


def _with_values(tensor: TensorProto, raw: bytes) -> TensorProto:
    copy = TensorProto()
    copy.CopyFrom(tensor)
    copy.ClearField("external_data")
    copy.ClearField("data_location")
    copy.raw_data = raw
    return copy


def _place(tensor: TensorProto) -> _Place:
    entries: Mapping[str, str] = {entry.key: entry.value for entry in tensor.external_data}
    _, token, source = entries["location"].split(":")
    return _Place(_STORAGES[token], int(source), int(entries["offset"]), int(entries["length"]))


def _close(sources: list[IO[bytes]]) -> None:
    for source in sources:
        with suppress(OSError):
            source.close()


_WHOLE_BYTES = (
    *("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "BOOL"),
    *("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"),
)
_BITS = {
    **{
        number: 8 * np.dtype(helper.tensor_dtype_to_np_dtype(number)).itemsize
        for number in map(TensorProto.DataType.Value, _WHOLE_BYTES)
    },
    TensorProto.INT4: 4,
    TensorProto.UINT4: 4,
}
