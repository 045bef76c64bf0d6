"""Model files: read from a path or a stream, checked, and written whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper

from tightc.errors import ModelError, first_line
from tightc.files import write_file_atomically
from tightc.model.file_format.digests import check_digests, without_digests
from tightc.model.file_format.headers import has_packings, packed_tensors
from tightc.model.file_format.rebuild import is_packed_form
from tightc.model.onnx_proto.external_data import (
    WeightsError,
    embed_weights,
    is_large,
    sweep,
    takes_two,
    write_in_two,
)
from tightc.model.onnx_proto.graph import Graph, constant_slots, default_opset, read_graph
from tightc.model.onnx_proto.metadata import DIGESTS, HISTORY, get_property
from tightc.model.runtime.constant_folding import fold_weights
from tightc.report import first_few

OLDEST_OPSET = 13
# how often a model is read again that another process replaces meanwhile
_READS = 10
_FLOATS = ("float16", "float32", "float64")
_EXPORT_AGAIN = "export the model again, or check that the file was copied whole"


@dataclass(frozen=True)
class Model:
    """A model in memory, all tensors embedded, with what is needed to write it in the form it came in.

    `file_sha256` is that of the file it was read from, None once a stage has changed it. `notes` say in what
    it differs from the file, and the file from what tightc wrote into it; `folded` are the weights that were computed
    from constants there.
    """

    proto: onnx.ModelProto
    origin: str
    file_sha256: str | None = None
    two_files: bool = False
    notes: tuple[str, ...] = ()
    folded: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """SHA-256, in hexadecimal, of what was read (the file, then weights in a second one) or would be written."""
        return self.file_sha256 or hashlib.sha256(self.to_bytes()).hexdigest()

    def editable(self) -> onnx.ModelProto:
        """A copy of the proto, to be changed and given to `changed`."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        return proto

    def changed(self, proto: onnx.ModelProto) -> Model:
        """The same model with another content."""
        return replace(self, proto=proto, file_sha256=None)

    def with_tensors(self, tensors: Mapping[str, NDArray[Any]]) -> Model:
        """A copy in which the constants named are replaced; shapes and dtypes must be those of the constants."""
        proto = self.editable()
        for name, slot in constant_slots(proto):
            if name in tensors:
                kept_name = slot.name
                slot.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(tensors[name]), kept_name))
        return self.changed(proto)

    def to_bytes(self) -> bytes:
        """The model as one file, deterministic."""
        return bytes(self.proto.SerializeToString(deterministic=True))


def load_model(path: str | Path) -> Model:
    """Reads and checks a model file and the files of external data beside it; ModelError says what is wrong."""
    path = Path(path)
    content = _read(path)
    for reads in range(1, _READS + 1):
        try:
            return _parse(content, str(path), path.parent)
        except WeightsError:
            if reads == _READS or not path.is_file():
                raise
            before, content = content, _read(path)
            if content == before and reads > 1:
                raise
    raise AssertionError("the last read returns or raises")


def load_model_bytes(content: bytes, origin: str = "<stdin>") -> Model:
    """Checks a model that came through a pipe; it must hold its tensors itself."""
    return _parse(content, origin, None)


def in_two_files(model: Model) -> bool:
    """Whether `model` is written in two files: it came in two, and it has tensors for the second."""
    return model.two_files and any(map(is_large, model.proto.graph.initializer))


def save_model(model: Model, path: str | Path) -> str:
    """Writes `model` to `path`, with a second file of weights where it came in two; may raise OutputError.

    The second is `path`.<16 digits of its SHA-256>.data; those of models that were at `path` before are removed. A
    link is followed; a pipe or a device gets one file. Gives the SHA-256 of what it wrote, as `load_model` gives it for
    what it reads.
    """
    path = Path(path)
    place = Path(os.path.realpath(path)) if path.is_symlink() else path
    try:
        if in_two_files(model) and takes_two(path):
            return write_in_two(model.editable(), place)
        content = model.to_bytes()
        write_file_atomically(path, content)
        return hashlib.sha256(content).hexdigest()
    finally:
        sweep(place)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file", "check the path of the model") from None
    except OSError as fault:
        raise ModelError(
            f"{path}: cannot be read ({fault.strerror})", "check the path of the model"
        ) from None


def _parse(content: bytes, origin: str, folder: Path | None) -> Model:
    if not content:
        raise ModelError(f"{origin}: the file is empty", _EXPORT_AGAIN)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError:
        raise ModelError(f"{origin}: not an ONNX model, or a truncated one", _EXPORT_AGAIN) from None
    if not proto.ir_version or not proto.graph.node:
        raise ModelError(f"{origin}: not an ONNX model (it has no IR version or no nodes)", _EXPORT_AGAIN)
    digest = hashlib.sha256(content)
    try:
        two_files = embed_weights(proto, origin, folder, digest)
        _check(proto, origin)
        graph = read_graph(proto)
        _check_names(graph, proto)
        notes = _check_digests(proto, graph, origin)
        folded = fold_weights(proto, origin)
        _check_finite(read_graph(proto) if folded.names else graph, origin)
    except _DAMAGE as fault:
        raise ModelError(f"{origin}: it is damaged ({first_line(fault)})", _EXPORT_AGAIN) from None
    if folded.names:
        notes += (f"weights folded from constants: {first_few(folded.names)}",)
    if folded.untied:
        notes += (f"untied by folding, so stored twice and trained separately: {first_few(folded.untied)}",)
    return Model(proto, origin, digest.hexdigest(), two_files, notes, folded.names)


def _check(proto: onnx.ModelProto, origin: str) -> None:
    opset = default_opset(proto)
    if opset < OLDEST_OPSET:
        raise ModelError(
            f"{origin}: opset {opset} is older than {OLDEST_OPSET}",
            "raise it with onnx.version_converter.convert_version",
        )
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as fault:
        raise ModelError(
            f"{origin}: the ONNX checker refuses it ({first_line(fault)})", _EXPORT_AGAIN
        ) from None


def _check_finite(graph: Graph, origin: str) -> None:
    for name, tensor in graph.tensors.items():
        if tensor.dtype.name in _FLOATS and not np.isfinite(tensor).all():
            raise ModelError(
                f"{origin}: tensor {name} holds NaN or infinite values", "train or export the model again"
            )


def _check_digests(proto: onnx.ModelProto, graph: Graph, origin: str) -> tuple[str, ...]:
    """Notes on what is no longer as tightc wrote it; ModelError where that damages the packed form.

    The arrangement of a plain model is checked by those who read it: `tightc permute` makes another.
    """
    ours = has_packings(proto) or get_property(proto, HISTORY) is not None
    if ours and get_property(proto, DIGESTS) is None:
        return without_digests(proto)
    packed = packed_tensors(proto, origin, graph.tensors) if is_packed_form(proto) else set()
    return check_digests(proto, graph.tensors, packed, origin)


def _check_names(graph: Graph, proto: onnx.ModelProto) -> None:
    """ValueError where a name or property is no text: protobuf gives the bytes then."""
    names: list[object] = [*graph.tensors, *graph.inputs, *graph.outputs]
    for entry in proto.metadata_props:
        names += [entry.key, entry.value]
    for node in graph.nodes:
        names += [node.op, node.name, *node.inputs, *node.outputs]
    wrong = next((name for name in names if not isinstance(name, str)), None)
    if wrong is not None:
        raise ValueError(f"the name {wrong!r} is not UTF-8")


# what protobuf and onnx raise on bytes that parse but make no sense
_DAMAGE = (AttributeError, LookupError, ArithmeticError, RuntimeError, TypeError, ValueError)
