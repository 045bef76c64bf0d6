"""Model files: read from a path or a stream, checked, and written atomically."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from tightc.errors import ModelError
from tightc.files import Chunk, write_file_atomically
from tightc.input_file import open_regular, read_stream, refuse_url
from tightc.memory import memory_limit, require_memory
from tightc.model.file_format.digests import check_digests, notes_on_missing_digests
from tightc.model.file_format.headers import has_packings, packed_tensor_names
from tightc.model.file_format.rebuild import is_packed_form
from tightc.model.onnx_proto.external_data import (
    ExternalDataError,
    find_external_data,
    is_large,
    remove_stale_files,
    supports_external_data,
    write_with_external_data,
)
from tightc.model.onnx_proto.graph import Graph, constant_tensors, read_graph
from tightc.model.onnx_proto.metadata import DIGESTS, HISTORY, get_property
from tightc.model.onnx_proto.serialization import parse_stored, serialized_chunks, serialized_size
from tightc.model.onnx_proto.stored_tensors import (
    LARGEST_MESSAGE,
    TensorStorage,
    embedded,
    largest_tensor,
    stays_in_file,
    tensor_chunks,
    tensor_from_array,
)
from tightc.model.reading.checking import check, check_finite, damage_text
from tightc.model.reading.constant_folding import fold_weights
from tightc.model.reading.normalize import ReadingOptions, normalize
from tightc.model.reading.other_formats import other_format, saved_model
from tightc.model.reading.weight_shapes import fix_shapes

_READS = 10  # attempts at a model that another process replaces meanwhile
_COPIES = 3  # of the largest layer that a stage holds at most
_CHUNK = 2**22  # bytes that are hashed at once
_DEFAULT = ReadingOptions()
_EXPORT_AGAIN = "export the model again, or check that the file was copied whole"


@dataclass(frozen=True)
class Model:
    """A model: its `proto`, whose large initializers stay in the files of a `storage` until they are needed.

    `origin` names it in messages. `file_sha256` is the digest of the file that it was read from, `hashing` the same
    while it is computed; None once it has been changed. `file_size`: bytes of that file where nothing was changed on
    reading. `external_data`: its weights came in a second file. `normalized` tells what reading changed, a sentence
    each. `notes` begin with these, and tell where the file differs from what tightc wrote.
    """

    proto: onnx.ModelProto
    origin: str
    file_sha256: str | None = None
    hashing: Future[Any] | None = field(default=None, repr=False, compare=False)
    file_size: int | None = None
    storage: TensorStorage = field(default_factory=TensorStorage, repr=False, compare=False)
    external_data: bool = False
    notes: tuple[str, ...] = ()
    normalized: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """SHA-256, in hexadecimal, of what was read (the file, then its external data) or would be written."""
        if self.file_sha256 is not None:
            return self.file_sha256
        if self.hashing is not None:
            return str(self.hashing.result().hexdigest())
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def copy_proto(self) -> onnx.ModelProto:
        """A copy of the proto, to edit and to pass to `with_proto`."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        return proto

    def to_proto(self) -> onnx.ModelProto:
        """The whole model: a copy of the proto with all values in it; ModelError above 2 GiB."""
        return embedded(self.copy_proto(), self.origin)

    def with_proto(self, proto: onnx.ModelProto) -> Model:
        """This model with `proto` as its content."""
        return replace(self, proto=proto, file_sha256=None, hashing=None, file_size=None)

    def with_tensors(self, tensors: Mapping[str, NDArray[Any]]) -> Model:
        """A copy with the constants in `tensors`, by name, replaced; shapes and dtypes must be the same.

        One after the other is taken from `tensors`, which may compute them then.
        """
        proto = self.copy_proto()
        initializers = {tensor.name for tensor in proto.graph.initializer}
        for name, constant in constant_tensors(proto):
            if name in tensors:
                storage = self.storage if name in initializers else None  # not in Constant nodes
                constant.CopyFrom(tensor_from_array(tensors[name], constant.name, storage))
        return self.with_proto(proto)

    @property
    def size(self) -> int:
        """Bytes of the model as one file."""
        return serialized_size(self.proto) if self.file_size is None else self.file_size

    def chunks(self) -> Iterator[Chunk]:
        """The model as one file, deterministic, a piece at a time."""
        return serialized_chunks(self.proto)

    def to_bytes(self) -> bytes:
        """The model as one file, deterministic."""
        return b"".join(self.chunks())


def load_model(path: str | Path, options: ReadingOptions = _DEFAULT) -> Model:
    """Read and check the model file at `path` with its external data; ModelError says what is wrong.

    What stages do not work with is changed as `options` say, and the model tells what that was.
    """
    path = Path(path)
    source = _open(path)
    for attempt in range(1, _READS + 1):
        try:
            return _parse(source, str(path), path.parent, options)
        except ExternalDataError:
            if attempt == _READS or not path.is_file():
                raise
            before, source = source, _open(path)
            if source.version == before.version and attempt > 1:
                raise
    raise AssertionError("the last attempt returns or raises")


def load_model_bytes(content: bytes, origin: str = "<stdin>", options: ReadingOptions = _DEFAULT) -> Model:
    """As `load_model`, of the model in `content`, which has no external data; `origin` names it in messages."""
    return _parse(_Source.of(content), origin, None, options)


def needed_memory(proto: onnx.ModelProto) -> int:
    """Bytes that a stage which does not run the model takes beside those of the interpreter, as measured.

    It holds a few copies of one layer: docs/benchmarks/scale.md.
    """
    return _COPIES * largest_tensor(proto)


def writes_external_data(model: Model) -> bool:
    """Whether `model` is written with external data: it came with some or is too large for one file.

    In both cases it has tensors large enough.
    """
    wanted = model.external_data or serialized_size(model.proto) > LARGEST_MESSAGE
    return wanted and any(map(is_large, model.proto.graph.initializer))


def save_model(model: Model, path: str | Path) -> str:
    """Write `model` to `path`, with external data where it came with some.

    The data file is `path`.<16 digits of its SHA-256>.data; data files of earlier models at `path` are removed. A link
    is followed; a pipe or a device gets one file. Returns the SHA-256 that `load_model` would give for what was
    written. OutputError if writing fails.
    """
    path = Path(path)
    place = Path(os.path.realpath(path)) if path.is_symlink() else path
    try:
        if writes_external_data(model) and supports_external_data(path):
            return write_with_external_data(model.copy_proto(), place)
        digest = hashlib.sha256()
        write_file_atomically(path, _hashed(model.chunks(), digest))
        return digest.hexdigest()
    finally:
        remove_stale_files(place)


def _hashed(chunks: Iterable[Chunk], digest: Any) -> Iterator[Chunk]:
    """The `chunks`, each of which is added to the `digest`."""
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


@dataclass(frozen=True)
class _Source:
    """What a model is read from: a source of `storage` with so many bytes. `version` changes with the file."""

    storage: TensorStorage
    number: int
    size: int
    version: object = None

    @classmethod
    def of(cls, content: bytes) -> _Source:
        """A source in memory."""
        storage = TensorStorage()
        return cls(storage, storage.add(content), len(content), content)

    def parse(self) -> onnx.ModelProto:
        """The model, with large initializers left where they are; DecodeError where it is none."""
        proto = parse_stored(self.storage, self.number, self.size) if stays_in_file(self.size) else None
        if proto is None:
            if self.size > LARGEST_MESSAGE:
                raise DecodeError("larger than a message may be")
            proto = onnx.ModelProto()
            proto.ParseFromString(self.storage.read(self.number, 0, self.size).tobytes())
        return proto

    def other_format(self, origin: str) -> ModelError | None:
        """The error for the content, where it is of another format that is known."""
        return other_format(
            origin, self.size, lambda start, count: self.storage.read(self.number, start, count).tobytes()
        )

    def digest(self) -> Any:
        """The SHA-256 of the content, as an object that more can be added to."""
        digest = hashlib.sha256()
        for start in range(0, self.size, _CHUNK):
            digest.update(self.storage.read(self.number, start, min(_CHUNK, self.size - start)).data)
        return digest


def _open(path: Path) -> _Source:
    try:
        if path.is_dir() and (path / "saved_model.pb").is_file():
            raise saved_model(str(path))
        if not path.is_file():
            return _Source.of(read_stream(path, memory_limit(), ModelError))
        stream = open_regular(path, ModelError)
        found = os.fstat(stream.fileno())
    except FileNotFoundError:
        refuse_url(path, ModelError)
        raise ModelError(f"{path}: no such file", "check the path of the model") from None
    except OSError as fault:
        raise ModelError(
            f"{path}: cannot be read ({fault.strerror})", "check the path of the model"
        ) from None
    storage = TensorStorage()
    version = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
    return _Source(storage, storage.add(stream), found.st_size, version)


def _parse(source: _Source, origin: str, folder: Path | None, options: ReadingOptions) -> Model:
    if not source.size:
        raise ModelError(f"{origin}: the file is empty", _EXPORT_AGAIN)
    try:
        proto = source.parse()
    except DecodeError:
        raise (
            source.other_format(origin)
            or ModelError(f"{origin}: not an ONNX model, or a truncated one", _EXPORT_AGAIN)
        ) from None
    if not proto.ir_version or not proto.graph.node:
        raise source.other_format(origin) or ModelError(
            f"{origin}: not an ONNX model (it has no IR version or no nodes)", _EXPORT_AGAIN
        )
    return _checked(proto, _Origin(origin, folder, source), options)


def _start_hashing(source: _Source) -> Future[Any]:
    """The SHA-256 of `source`, computed beside the rest: of a large file it takes as long as all checks."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(source.digest)
    finally:
        pool.shutdown(wait=False)


@dataclass(frozen=True)
class _Origin:
    """Where a model comes from: its `name` in messages, the `folder` of its file if it has one, and the `source`."""

    name: str
    folder: Path | None
    source: _Source


def _checked(proto: onnx.ModelProto, read: _Origin, options: ReadingOptions) -> Model:
    """The model of `proto`, brought into form and checked."""
    origin, source = read.name, read.source
    hashing = _start_hashing(source)
    try:
        external = find_external_data(proto, origin, read.folder, source.storage)
        require_memory(needed_memory(proto), origin)
        for tensor in external:
            for chunk in tensor_chunks(tensor):
                hashing.result().update(chunk)
        normalized = normalize(proto, origin, options, is_packed=is_packed_form(proto))
        shaped = check(proto, origin)
        graph = read_graph(proto)
        _check_names(graph, proto)
        notes = _check_digests(proto, graph, origin)
        folded = fold_weights(proto, origin, source.storage)
        sized = fix_shapes(proto)
        check_finite(read_graph(proto) if folded.names else graph, origin)
    except _DAMAGE as fault:
        raise ModelError(f"{origin}: it is damaged ({damage_text(fault)})", _EXPORT_AGAIN) from None
    normalized += [*shaped, *folded.sentences(), *sized]
    return Model(
        proto,
        origin,
        hashing=hashing,
        file_size=None if external or normalized else source.size,
        storage=source.storage,
        external_data=bool(external),
        notes=(*normalized, *notes),
        normalized=tuple(normalized),
    )


def _check_digests(proto: onnx.ModelProto, graph: Graph, origin: str) -> tuple[str, ...]:
    """Notes on what changed since tightc wrote it; ModelError where the packed form is damaged.

    The packings of a plain model are checked when they are read: `tightc permute` replaces them.
    """
    written_by_tightc = has_packings(proto) or get_property(proto, HISTORY) is not None
    if written_by_tightc and get_property(proto, DIGESTS) is None:
        return notes_on_missing_digests(proto)
    packed = packed_tensor_names(proto, origin, graph.tensors) if is_packed_form(proto) else set()
    return check_digests(proto, graph.tensors, packed, origin)


def _check_names(graph: Graph, proto: onnx.ModelProto) -> None:
    """ValueError where a name or property is not UTF-8: protobuf returns bytes then."""
    names: list[object] = [*graph.tensors, *graph.inputs, *graph.outputs]
    for entry in proto.metadata_props:
        names += [entry.key, entry.value]
    for node in graph.nodes:
        names += [node.op, node.name, *node.inputs, *node.outputs]
    wrong = next((name for name in names if not isinstance(name, str)), None)
    if wrong is not None:
        raise ValueError(f"the name {wrong!r} is not UTF-8")


# raised by protobuf and onnx on a damaged file that can still be parsed
_DAMAGE = (AttributeError, LookupError, ArithmeticError, RuntimeError, TypeError, ValueError)
