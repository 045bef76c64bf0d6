"""Model files: read from a path or a stream, checked, and written whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import external_data_helper, numpy_helper

from tightc.errors import ModelError
from tightc.files import write_whole, write_whole_together
from tightc.model.digest import check_digests
from tightc.model.folding import fold_weights
from tightc.model.graph import Graph, constant_slots, default_opset, read_graph
from tightc.model.headers import has_packings, packed_tensors
from tightc.model.metadata import DIGESTS, HISTORY, get_property
from tightc.report import first_few

OLDEST_OPSET = 13
_SIDECAR_FROM_BYTES = 1024
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
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file", "check the path of the model") from None
    except OSError as fault:
        raise ModelError(
            f"{path}: cannot be read ({fault.strerror})", "check the path of the model"
        ) from None
    return _parse(content, str(path), path.parent)


def load_model_bytes(content: bytes, origin: str = "<stdin>") -> Model:
    """Checks a model that came through a pipe; it must hold its tensors itself."""
    return _parse(content, origin, None)


def save_model(model: Model, path: str | Path) -> None:
    """Writes `model` to `path`, in two files (`path` and `path`.data) where it came in two; may raise OutputError."""
    path = Path(path)
    if not model.two_files:
        write_whole(path, model.to_bytes())
        return
    sidecar = path.with_name(path.name + ".data")
    proto = model.editable()
    data = bytearray()
    for tensor in proto.graph.initializer:
        if tensor.HasField("raw_data") and len(tensor.raw_data) >= _SIDECAR_FROM_BYTES:
            raw = tensor.raw_data
            external_data_helper.set_external_data(tensor, sidecar.name, offset=len(data), length=len(raw))
            tensor.ClearField("raw_data")
            data += raw
    write_whole_together({sidecar: bytes(data), path: proto.SerializeToString(deterministic=True)})


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
        two_files = _embed_external_data(proto, origin, folder, digest)
        _check(proto, origin)
        notes = _check_digests(proto, origin)
        folded = fold_weights(proto, origin)
        _check_finite(proto, origin)
        _check_names(read_graph(proto), proto)
    except _DAMAGE as fault:
        raise ModelError(f"{origin}: it is damaged ({_first_line(fault)})", _EXPORT_AGAIN) from None
    if folded:
        notes += (f"weights computed from constants are constants now: {first_few(folded)}",)
    return Model(proto, origin, digest.hexdigest(), two_files, notes, folded)


def _embed_external_data(proto: onnx.ModelProto, origin: str, folder: Path | None, digest: Any) -> bool:
    tensors = [
        tensor for _, tensor in constant_slots(proto) if external_data_helper.uses_external_data(tensor)
    ]
    if not tensors:
        return False
    names = sorted({external_data_helper.ExternalDataInfo(tensor).location for tensor in tensors})
    if folder is None:
        raise ModelError(
            f"{origin}: the weights are in a second file ({names[0]}), which a pipe does not carry",
            "give the path of the model instead of piping it",
        )
    for name in names:
        if not (folder / name).is_file():
            raise ModelError(
                f"{origin}: the weights are in {name}, which is not beside it", f"copy {name} into {folder}"
            )
    try:
        onnx.load_external_data_for_model(proto, str(folder))
    except (onnx.checker.ValidationError, OSError, ValueError) as fault:
        raise ModelError(
            f"{origin}: the weights in {names[0]} cannot be read ({_first_line(fault)})", _EXPORT_AGAIN
        ) from None
    for tensor in tensors:
        digest.update(tensor.raw_data)
    return True


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
            f"{origin}: the ONNX checker refuses it ({_first_line(fault)})", _EXPORT_AGAIN
        ) from None


def _check_finite(proto: onnx.ModelProto, origin: str) -> None:
    for name, tensor in constant_slots(proto):
        if tensor.data_type in _FLOATS and not np.isfinite(numpy_helper.to_array(tensor)).all():
            raise ModelError(
                f"{origin}: tensor {name} holds NaN or infinite values", "train or export the model again"
            )


_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)


def _check_digests(proto: onnx.ModelProto, origin: str) -> tuple[str, ...]:
    """Notes on what is no longer as tightc wrote it; ModelError where that damages a packing or the packed form."""
    packed = packed_tensors(proto, origin)
    ours = has_packings(proto) or get_property(proto, HISTORY) is not None
    if ours and get_property(proto, DIGESTS) is None:
        return (
            "the file was written by tightc 0.2.0 or older, without digests: damage to it is not noticed",
        )
    return check_digests(proto, origin, packed)


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


def _first_line(fault: BaseException) -> str:
    return next((line.strip() for line in str(fault).splitlines() if line.strip()), type(fault).__name__)
