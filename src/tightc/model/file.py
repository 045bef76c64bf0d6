"""Model files: read from a path or a stream, checked, and written atomically."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper

from tightc.errors import ModelError
from tightc.files import write_file_atomically
from tightc.model.file_format.digests import check_digests, notes_on_missing_digests
from tightc.model.file_format.headers import has_packings, packed_tensor_names
from tightc.model.file_format.rebuild import is_packed_form
from tightc.model.onnx_proto.external_data import (
    ExternalDataError,
    embed_external_data,
    is_large,
    remove_stale_files,
    supports_external_data,
    write_with_external_data,
)
from tightc.model.onnx_proto.graph import Graph, constant_tensors, read_graph
from tightc.model.onnx_proto.metadata import DIGESTS, HISTORY, get_property
from tightc.model.reading.checking import check, check_finite, damage_text
from tightc.model.reading.constant_folding import fold_weights
from tightc.model.reading.normalize import ReadingOptions, normalize

_READS = 10  # attempts at a model that another process replaces meanwhile
_DEFAULT = ReadingOptions()
_EXPORT_AGAIN = "export the model again, or check that the file was copied whole"


@dataclass(frozen=True)
class Model:
    """A model in memory, with all tensors embedded.

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
    external_data: bool = False
    notes: tuple[str, ...] = ()
    normalized: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """SHA-256, in hexadecimal, of what was read (the file, then its external data) or would be written."""
        if self.file_sha256 is not None:
            return self.file_sha256
        digest = hashlib.sha256(self.to_bytes()) if self.hashing is None else self.hashing.result()
        return str(digest.hexdigest())

    def copy_proto(self) -> onnx.ModelProto:
        """A copy of the proto, to edit and to pass to `with_proto`."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        return proto

    def with_proto(self, proto: onnx.ModelProto) -> Model:
        """This model with `proto` as its content."""
        return replace(self, proto=proto, file_sha256=None, hashing=None, file_size=None)

    def with_tensors(self, tensors: Mapping[str, NDArray[Any]]) -> Model:
        """A copy with the constants in `tensors`, by name, replaced; shapes and dtypes must be the same."""
        proto = self.copy_proto()
        for name, constant in constant_tensors(proto):
            if name in tensors:
                array = np.ascontiguousarray(tensors[name])
                constant.CopyFrom(numpy_helper.from_array(array, constant.name))
        return self.with_proto(proto)

    @property
    def size(self) -> int:
        """Bytes of the model as one file."""
        return self.proto.ByteSize() if self.file_size is None else self.file_size

    def to_bytes(self) -> bytes:
        """The model as one file, deterministic."""
        return bytes(self.proto.SerializeToString(deterministic=True))


def load_model(path: str | Path, options: ReadingOptions = _DEFAULT) -> Model:
    """Read and check the model file at `path` with its external data; ModelError says what is wrong.

    What stages do not work with is changed as `options` say, and the model tells what that was.
    """
    path = Path(path)
    content = _read(path)
    for attempt in range(1, _READS + 1):
        try:
            return _parse(content, str(path), path.parent, options)
        except ExternalDataError:
            if attempt == _READS or not path.is_file():
                raise
            before, content = content, _read(path)
            if content == before and attempt > 1:
                raise
    raise AssertionError("the last attempt returns or raises")


def load_model_bytes(content: bytes, origin: str = "<stdin>", options: ReadingOptions = _DEFAULT) -> Model:
    """As `load_model`, of the model in `content`, which has no external data; `origin` names it in messages."""
    return _parse(content, origin, None, options)


def writes_external_data(model: Model) -> bool:
    """Whether `model` is written with external data: it came with some, and has tensors large enough."""
    return model.external_data and any(map(is_large, model.proto.graph.initializer))


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
        content = model.to_bytes()
        write_file_atomically(path, content)
        return hashlib.sha256(content).hexdigest()
    finally:
        remove_stale_files(place)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file", "check the path of the model") from None
    except OSError as fault:
        raise ModelError(
            f"{path}: cannot be read ({fault.strerror})", "check the path of the model"
        ) from None


def _parse(content: bytes, origin: str, folder: Path | None, options: ReadingOptions) -> Model:
    if not content:
        raise ModelError(f"{origin}: the file is empty", _EXPORT_AGAIN)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError:
        raise ModelError(f"{origin}: not an ONNX model, or a truncated one", _EXPORT_AGAIN) from None
    if not proto.ir_version or not proto.graph.node:
        raise ModelError(f"{origin}: not an ONNX model (it has no IR version or no nodes)", _EXPORT_AGAIN)
    return _checked(_Parsed(proto, origin, content), folder, _start_hashing(content), options)


def _start_hashing(content: bytes) -> Future[Any]:
    """The SHA-256 of `content`, computed beside the rest: of a large file it takes as long as all checks."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(hashlib.sha256, content)
    finally:
        pool.shutdown(wait=False)


@dataclass(frozen=True)
class _Parsed:
    """A model as it was read: its `proto`, the name in messages, and the `content` of its file."""

    proto: onnx.ModelProto
    origin: str
    content: bytes


def _checked(parsed: _Parsed, folder: Path | None, hashing: Future[Any], options: ReadingOptions) -> Model:
    """The model of `parsed`, brought into form and checked; `hashing` gives the digest of its content."""
    proto, origin = parsed.proto, parsed.origin
    try:
        external_data = embed_external_data(proto, origin, folder, hashing.result)
        normalized = normalize(proto, origin, options, is_packed=is_packed_form(proto))
        unchanged = not external_data and not normalized
        shaped = check(proto, origin, parsed.content if unchanged else None)
        graph = read_graph(proto)
        _check_names(graph, proto)
        notes = _check_digests(proto, graph, origin)
        folded = fold_weights(proto, origin)
        check_finite(read_graph(proto) if folded.names else graph, origin)
    except _DAMAGE as fault:
        raise ModelError(f"{origin}: it is damaged ({damage_text(fault)})", _EXPORT_AGAIN) from None
    normalized += [*shaped, *folded.sentences()]
    return Model(
        proto,
        origin,
        hashing=hashing,
        file_size=len(parsed.content) if unchanged and not normalized else None,
        external_data=external_data,
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
