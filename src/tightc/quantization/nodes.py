"""Int8 weights and activations in a model, by the standard QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tightc.model.file import Model
from tightc.model.layer_view.layer import Layer
from tightc.model.onnx_proto.graph import constant_tensors
from tightc.model.onnx_proto.repeated_fields import replace_items


@dataclass(frozen=True)
class Int8Weight:
    """`values`: int8, in the shape of the weight, with `scales` in the dtype of the weight, along its `axis`.

    `per_filter`: the same scales for each filter, (filters,) float32.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.floating]
    per_filter: NDArray[np.float32]
    axis: int


def with_int8_weights(model: Model, weights: Mapping[str, Int8Weight]) -> Model:
    """`model` with constants replaced by `weights`, by name, and DequantizeLinear; nodes that read them stay."""
    proto = model.copy_proto()
    names = _names(proto)
    dequantizers: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []
    for name, weight in weights.items():
        parts = {
            _unused(f"{name}.int8", names): weight.values,
            _unused(f"{name}.scale", names): weight.scales,
            _unused(f"{name}.zero", names): np.zeros(weight.scales.shape, np.int8),  # some readers want one
        }
        tensors += [numpy_helper.from_array(array, part) for part, array in parts.items()]
        dequantizers.append(helper.make_node("DequantizeLinear", list(parts), [name], axis=weight.axis))
    kept = [tensor for tensor in proto.graph.initializer if tensor.name not in weights]
    nodes = [
        node for node in proto.graph.node if not (node.op_type == "Constant" and node.output[0] in weights)
    ]
    replace_items(proto.graph.initializer, [*kept, *tensors])
    replace_items(proto.graph.node, [*dequantizers, *nodes])
    return model.with_proto(proto)


def with_int8_inputs(
    model: Model, layers: list[Layer], scales: Mapping[str, float], halves: frozenset[str]
) -> Model:
    """`model` with the inputs of `layers` quantized to int8 and dequantized, once for all layers that read a value.

    `scales`: of each quantized value, by name; `halves` are those of float16.
    """
    proto = model.copy_proto()
    names = _names(proto)
    inputs = {layer.output: layer.input for layer in layers}
    dequantized: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in proto.graph.node:
        value = inputs.get(node.output[0]) if node.output else None
        if value is not None:
            if value not in dequantized:
                dequantized[value] = _unused(f"{value}.real", names)
                scale = (np.float16 if value in halves else np.float32)(scales[value])
                nodes += _quantize_pair(proto, value, dequantized[value], scale, names)
            for slot, name in enumerate(node.input):
                if name == value:
                    node.input[slot] = dequantized[value]
        nodes.append(node)
    replace_items(proto.graph.node, nodes)
    return model.with_proto(proto)


def _quantize_pair(
    proto: onnx.ModelProto, value: str, dequantized: str, scale: np.floating, names: set[str]
) -> list[onnx.NodeProto]:
    integers, step = _unused(f"{value}.int8", names), _unused(f"{value}.scale", names)
    zero = _unused(f"{value}.zero", names)  # without one QuantizeLinear writes uint8
    proto.graph.initializer.append(numpy_helper.from_array(np.array(scale), step))
    proto.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int8), zero))
    return [
        helper.make_node("QuantizeLinear", [value, step, zero], [integers]),
        helper.make_node("DequantizeLinear", [integers, step, zero], [dequantized]),
    ]


def _names(proto: onnx.ModelProto) -> set[str]:
    found = {name for node in proto.graph.node for name in (*node.input, *node.output)}
    return found | {name for name, _ in constant_tensors(proto)} | {value.name for value in proto.graph.input}


def _unused(name: str, names: set[str]) -> str:
    """`name`, with underscores until it is not among `names`, to which it is added."""
    while name in names:
        name += "_"
    names.add(name)
    return name
