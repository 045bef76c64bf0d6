"""Integer weights: constants before a DequantizeLinear or an integer operator, with scales and a zero point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tightc.model.layer_view.layer import Layer
from tightc.model.onnx_proto.graph import Array, Graph, Node, is_standard
from tightc.model.onnx_proto.weight_operators import WEIGHT_OPERATORS

_INTEGERS = ("int8", "uint8")
_UNKNOWN_SCALE = 1 / 128  # of an operator whose scale is not found behind it: weights from -1 to 1


@dataclass(frozen=True)
class QuantizedWeight:
    """An integer weight and its scales.

    `value` names the output of DequantizeLinear, or is the weight itself where an integer operator reads it. It stands
    for (the constant `weight` - `zero_point`) times `scale`, (scales,) float64. `scale_name` names the constant of the
    scales, empty without one. `axis` is the weight's axis that they go along, None for one scale.
    """

    value: str
    weight: str
    scale_name: str
    scale: NDArray[np.float64]
    axis: int | None
    zero_point: int = 0

    @property
    def is_dequantized(self) -> bool:
        """Whether a DequantizeLinear stands between the weight and its readers."""
        return self.value != self.weight

    def scales_like(self, other: QuantizedWeight) -> bool:
        """Whether both give the stored integers the same meaning."""
        mine, others = (self.axis, self.zero_point), (other.axis, other.zero_point)
        return mine == others and np.array_equal(self.scale, other.scale)


def dequantized_weights(graph: Graph) -> tuple[dict[str, QuantizedWeight], dict[str, str]]:
    """The weights that a DequantizeLinear of `graph` reads, by the name of their dequantized value.

    And the reasons, by the same names, why others cannot be weights of a layer.
    """
    found, reasons = {}, {}
    for node in graph.nodes:
        if node.op == "DequantizeLinear" and is_standard(node.domain) and node.inputs[0] in graph.tensors:
            if graph.tensors[node.inputs[0]].ndim < 1:
                continue
            entry = _read_dequantized(node, graph)
            if isinstance(entry, str):
                reasons[node.outputs[0]] = entry
            else:
                found[node.outputs[0]] = entry
    return found, reasons


def _read_dequantized(node: Node, graph: Graph) -> QuantizedWeight | str:
    name, scale, zero, *_ = (*node.inputs, "", "")
    weight = graph.tensors[name]
    if scale not in graph.tensors or (zero and zero not in graph.tensors):
        return "its weight is dequantized by scales that are computed at run time"
    if node.attributes.get("block_size", 0):
        return "its weight is quantized by blocks"
    zero_point = _zero_point(zero, weight, graph)
    if isinstance(zero_point, str):
        return zero_point
    scales = graph.tensors[scale].astype(np.float64)
    axis = node.attributes.get("axis", 1) % weight.ndim if scales.ndim else None
    return QuantizedWeight(node.outputs[0], name, scale, scales.reshape(-1), axis, zero_point)


def integer_weight(node: Node, slot: int, axis: int, graph: Graph) -> QuantizedWeight | str:
    """The weight that an integer operator reads as input `slot`, with scales along `axis`, or why it cannot be one."""
    operator = WEIGHT_OPERATORS[node.op]
    name = node.inputs[slot]
    weight = graph.tensors[name]

    def further(places: Mapping[int, int]) -> str:
        place = places.get(slot, len(node.inputs))
        return node.inputs[place] if place < len(node.inputs) else ""

    zero, scale = further(operator.zero_points), further(operator.scales)
    if (zero and zero not in graph.tensors) or (scale and scale not in graph.tensors):
        return f"the zero point or scale of its weight {name} is computed at run time"
    zero_point = _zero_point(zero, weight, graph)
    if isinstance(zero_point, str):
        return zero_point
    if scale:
        values = graph.tensors[scale].astype(np.float64).reshape(-1)
    else:
        values = _scale_behind(node, graph, weight.shape[axis])
    return QuantizedWeight(name, name, scale, values, axis if len(values) > 1 else None, zero_point)


def _zero_point(name: str, weight: Array, graph: Graph) -> int | str:
    """The one zero point of a weight, or why it cannot be a layer's."""
    if weight.dtype.name not in _INTEGERS:
        return f"its weight is quantized as {weight.dtype.name}, not as {' or '.join(_INTEGERS)}"
    values = np.unique(graph.tensors[name].astype(np.int64)) if name else np.zeros(1, np.int64)
    if len(values) != 1:
        return "its weight has several zero points"
    return int(values[0])


def _scale_behind(node: Node, graph: Graph, filters: int) -> NDArray[np.float64]:
    """The scales, one or of each of `filters`, that the int32 output of `node` is multiplied by in a Mul behind it.

    A Cast may come first, and the Mul may take the product of the scale of the activations and of this one.
    """
    producers = {name: other for other in graph.nodes for name in other.outputs}
    consumers = graph.consumers()
    value = node.outputs[0]
    for reader in consumers.get(value, []):
        if reader.op == "Cast":
            value = reader.outputs[0]
    for reader in consumers.get(value, []):
        if reader.op == "Mul":
            factors = [name for name in reader.inputs if name != value]
            factors += [
                name for factor in factors if factor in producers for name in producers[factor].inputs
            ]
            for name in factors:
                if name in graph.tensors and graph.tensors[name].size in (1, filters):
                    return graph.tensors[name].astype(np.float64).reshape(-1)
    return np.array([_UNKNOWN_SCALE])


def scales_of_filters(
    entry: QuantizedWeight, layer: Layer, shape: tuple[int, ...]
) -> NDArray[np.float64] | None:
    """The scale of each filter of `layer`, (filters,), or (1,) for one; None where they do not go along filters."""
    if entry.axis is None or len(entry.scale) == 1:
        return entry.scale[:1] if len(entry.scale) == 1 else None
    sides = [len(entry.scale) if axis == entry.axis else 1 for axis in range(len(shape))]
    if sides[entry.axis] != shape[entry.axis]:
        return None
    places = np.broadcast_to(np.arange(len(entry.scale), dtype=np.int32).reshape(sides), shape)
    matrix = layer.matrix(np.ascontiguousarray(places))
    return entry.scale[matrix[:, 0]] if bool((matrix == matrix[:, :1]).all()) else None


def deviation(weight: Array, zero_point: int) -> Array:
    """`weight` - `zero_point`, as int8 where that fits, else as int16."""
    if weight.dtype == np.int8 and not zero_point:
        return weight
    wide = weight.astype(np.int16) - np.int16(zero_point)
    narrow = wide.astype(np.int8)
    return narrow if np.array_equal(narrow, wide) else wide
