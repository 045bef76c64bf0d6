"""Whole numbers in a model: the standard pair of QuantizeLinear and DequantizeLinear, which any runtime knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tightc.model.file import Model
from tightc.model.layer_view.layers import Layer
from tightc.model.onnx_proto.graph import constant_tensors
from tightc.model.onnx_proto.repeated_fields import replace_items


@dataclass(frozen=True)
class WholeWeight:
    """`values`: int8 in the weight's own shape; `scales`: (filters,) float32 along `axis`."""

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    axis: int


def with_whole_weights(model: Model, weights: Mapping[str, WholeWeight]) -> Model:
    """`model` where DequantizeLinear makes each of the constants named, whose readers stay as they are."""
    proto = model.copy_proto()
    names = _names(proto)
    made: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []
    for name, weight in weights.items():
        whole, scale = _free(f"{name}.int8", names), _free(f"{name}.scale", names)
        tensors += [
            numpy_helper.from_array(weight.values, whole),
            numpy_helper.from_array(weight.scales, scale),
        ]
        made.append(helper.make_node("DequantizeLinear", [whole, scale], [name], axis=weight.axis))
    kept = [tensor for tensor in proto.graph.initializer if tensor.name not in weights]
    nodes = [
        node for node in proto.graph.node if not (node.op_type == "Constant" and node.output[0] in weights)
    ]
    replace_items(proto.graph.initializer, [*kept, *tensors])
    replace_items(proto.graph.node, [*made, *nodes])
    return model.with_proto(proto)


def with_whole_inputs(model: Model, layers: list[Layer], scales: Mapping[str, float]) -> Model:
    """`model` where what streams into `layers` goes through int8 with the scale of its value, once for all readers."""
    proto = model.copy_proto()
    names = _names(proto)
    inputs = {layer.output: layer.input for layer in layers}
    passed: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in proto.graph.node:
        value = inputs.get(node.output[0]) if node.output else None
        if value is not None:
            if value not in passed:
                passed[value] = _free(f"{value}.real", names)
                nodes += _pair(proto, value, passed[value], scales[value], names)
            for slot, name in enumerate(node.input):
                if name == value:
                    node.input[slot] = passed[value]
        nodes.append(node)
    replace_items(proto.graph.node, nodes)
    return model.with_proto(proto)


def _pair(
    proto: onnx.ModelProto, value: str, after: str, scale: float, names: set[str]
) -> list[onnx.NodeProto]:
    whole, step = _free(f"{value}.int8", names), _free(f"{value}.scale", names)
    zero = _free(f"{value}.zero", names)  # QuantizeLinear takes uint8 without one
    proto.graph.initializer.append(numpy_helper.from_array(np.array(scale, np.float32), step))
    proto.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int8), zero))
    return [
        helper.make_node("QuantizeLinear", [value, step, zero], [whole]),
        helper.make_node("DequantizeLinear", [whole, step, zero], [after]),
    ]


def _names(proto: onnx.ModelProto) -> set[str]:
    found = {name for node in proto.graph.node for name in (*node.input, *node.output)}
    return found | {name for name, _ in constant_tensors(proto)} | {value.name for value in proto.graph.input}


def _free(name: str, names: set[str]) -> str:
    while name in names:
        name += "_"
    names.add(name)
    return name
