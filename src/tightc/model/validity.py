"""Whether a model that a stage made is valid, found before it replaces a file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from tightc.errors import InternalError, ModelError, first_line
from tightc.model.file import Model
from tightc.model.file_format.rebuild import DOMAIN
from tightc.model.runtime.session import create_session

_IN_MEMORY = 512 * 2**20  # bytes of a model that is checked, and opened by onnxruntime, whole
_APART_FROM = 1024  # bytes of a tensor that goes into a second file for the check
REPORT = "this is a fault of tightc, not of the model: please report it with the model"


def require_valid(made: Model, source: Model) -> None:
    """InternalError where the model that a stage `made` of `source` is not valid.

    Where its graph has changed, the ONNX checker looks at it, and onnxruntime opens it. A model above 512 MiB, or one
    whose source onnxruntime cannot open either, has each of its packed nodes opened alone.
    """
    if not source.folded and _graph_of(made.proto) == _graph_of(source.proto):
        return
    large = max(made.proto.ByteSize(), source.proto.ByteSize()) > _IN_MEMORY
    try:
        if large:
            _check_by_path(made.proto)
        else:
            onnx.checker.check_model(made.proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as fault:
        raise InternalError(
            f"{made.origin}: the result does not pass the ONNX checker ({first_line(fault)})", REPORT
        ) from None
    if not large:
        wrong = _fault_of(made.to_bytes(), made.origin)
        if wrong is None:
            return
        if _fault_of(source.to_bytes(), made.origin) is None:
            raise InternalError(wrong.sentence, REPORT)
    for node in made.proto.graph.node:
        if node.domain == DOMAIN:
            wrong = _fault_of(_alone(node, made.proto), made.origin)
            if wrong is not None:
                raise InternalError(f"{wrong.sentence} in packed node {node.name or node.output[0]}", REPORT)


def _graph_of(proto: onnx.ModelProto) -> list[Any]:
    """A model without the values of its tensors and its metadata."""
    messages = [
        *proto.graph.node,
        *proto.functions,
        *proto.opset_import,
        *proto.graph.input,
        *proto.graph.output,
    ]
    tensors = sorted((tensor.name, tensor.data_type, *tensor.dims) for tensor in proto.graph.initializer)
    return [*(message.SerializeToString(deterministic=True) for message in messages), *tensors]


def _fault_of(content: bytes, origin: str) -> ModelError | None:
    """What onnxruntime has against a model, None where it opens it."""
    try:
        create_session(content, origin)
    except ModelError as fault:
        return fault
    return None


def _check_by_path(proto: onnx.ModelProto) -> None:
    """The ONNX checker on a copy on disk, with its weights in a second file."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save_model(copy, path, save_as_external_data=True, size_threshold=_APART_FROM)
        onnx.checker.check_model(str(path), full_check=True)


def _alone(node: onnx.NodeProto, proto: onnx.ModelProto) -> bytes:
    """A model of one packed node with its constants; what else it reads is an input of open shape."""
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    own = [tensors[name] for name in dict.fromkeys(node.input) if name in tensors]
    values = next((tensor for tensor in own if tensor.name.endswith(".values")), None)
    kind = onnx.TensorProto.FLOAT if values is None else values.data_type
    open_inputs = [
        helper.make_tensor_value_info(name, kind, None)
        for name in dict.fromkeys(node.input)
        if name and name not in tensors
    ]
    outputs = [helper.make_empty_tensor_value_info(node.output[0])]
    graph = helper.make_graph([node], "packed", open_inputs, outputs, own)
    part = helper.make_model(
        graph, functions=proto.functions, opset_imports=proto.opset_import, ir_version=proto.ir_version
    )
    return bytes(part.SerializeToString())
