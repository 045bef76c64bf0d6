"""Validity check of a stage's result, before it replaces a file."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper

from tightc.errors import InternalError, ModelError, first_line
from tightc.model.file import Model
from tightc.model.file_format.rebuild import DOMAIN
from tightc.model.onnx_proto.stored_tensors import stored_as_inputs
from tightc.model.onnx_proto.unknown_operators import in_domain_of_their_own
from tightc.model.runtime.session import create_session

REPORT_FAULT = "this is a fault of tightc, not of the model: please report it with the model"


def require_valid(result: Model, source: Model) -> None:
    """InternalError where the `result` that a stage made from `source` is not valid.

    Where the graph has changed, the ONNX checker must accept it and onnxruntime must load it, with large weights as
    inputs. Where onnxruntime cannot load the source either, it must load each packed node as a separate model.
    """
    if not source.normalized and _structure(result.proto) == _structure(source.proto):
        return
    proto = stored_as_inputs(result.proto)
    try:
        onnx.checker.check_model(in_domain_of_their_own(proto), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as fault:
        raise InternalError(
            f"{result.origin}: the result does not pass the ONNX checker ({first_line(fault)})", REPORT_FAULT
        ) from None
    error = _load_error(proto, result.origin)
    if error is None:
        return
    for node in proto.graph.node:
        if node.domain == DOMAIN:
            own = _load_error(_single_node_model(node, proto), result.origin)
            if own is not None:
                label = node.name or node.output[0]
                raise InternalError(f"{own.sentence} in packed node {label}", REPORT_FAULT)
    if _load_error(stored_as_inputs(source.proto), result.origin) is None:
        raise InternalError(error.sentence, REPORT_FAULT)


def _structure(proto: onnx.ModelProto) -> list[Any]:
    """The content of a model without the values of its tensors and its metadata, to compare."""
    messages = [
        *proto.graph.node,
        *proto.functions,
        *proto.opset_import,
        *proto.graph.input,
        *proto.graph.output,
    ]
    tensors = sorted((tensor.name, tensor.data_type, *tensor.dims) for tensor in proto.graph.initializer)
    return [*(message.SerializeToString(deterministic=True) for message in messages), *tensors]


def _load_error(proto: onnx.ModelProto, origin: str) -> ModelError | None:
    """The error with which onnxruntime refuses a model, None where it loads it. It computes nothing by that."""
    try:
        create_session(proto.SerializeToString(), origin, folds=False)
    except ModelError as fault:
        return fault
    return None


def _single_node_model(node: onnx.NodeProto, proto: onnx.ModelProto) -> onnx.ModelProto:
    """A model of one packed node of `proto` and its constants; its other operands are inputs."""
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    constants = [tensors[name] for name in dict.fromkeys(node.input) if name in tensors]
    values = next((tensor for tensor in constants if tensor.name.endswith(".values")), None)
    dtype = onnx.TensorProto.FLOAT if values is None else values.data_type
    stated = {value.name: value for value in proto.graph.input}
    inputs = [
        stated.get(name) or helper.make_tensor_value_info(name, dtype, None)
        for name in dict.fromkeys(node.input)
        if name and name not in tensors
    ]
    outputs = [helper.make_empty_tensor_value_info(node.output[0])]
    graph = helper.make_graph([node], "packed", inputs, outputs, constants)
    return helper.make_model(
        graph, functions=proto.functions, opset_imports=proto.opset_import, ir_version=proto.ir_version
    )
