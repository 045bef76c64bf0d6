"""Integer weights: constants before a DequantizeLinear or an integer operator, with scales and zero points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.model.layer_view.layer import Layer
from tightc.model.onnx_proto.graph import Array, Graph, Node, is_standard
from tightc.model.onnx_proto.integer_types import INTEGER_TYPES, is_integer_type
from tightc.model.onnx_proto.weight_operators import WEIGHT_OPERATORS

_UNKNOWN_SCALE = 1 / 128  # of an operator whose scale is not found behind it: weights from -1 to 1


@dataclass(frozen=True)
class QuantizedWeight:
    """An integer weight with its scales and zero points.

    `value` names the output of DequantizeLinear, or is the weight itself where an integer operator reads it. It stands
    for (the constant `weight` - zero point) times scale. `scale_name` names the constant of the scales, empty without
    one. `axis` is the weight's axis that scales and zero points go along, None for one of each. `dtype` is that of the
    constant.

    `scale`, float64, and `zero_points`, int64: (1,), or one for each place on the axis. With a `block` of so many
    places on the axis, they have the axes of the weight, and a side of one for each block.
    """

    value: str
    weight: str
    scale_name: str
    scale: NDArray[np.float64]
    axis: int | None
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.int8))
    zero_points: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    block: int = 0

    @property
    def is_dequantized(self) -> bool:
        """Whether a DequantizeLinear stands between the weight and its readers."""
        return self.value != self.weight

    @property
    def has_one_zero_point(self) -> bool:
        """Whether all integers of the weight have the same zero point."""
        return len(self.zero_points) == 1 and self.zero_points.size == 1

    def spread(self, values: Array, shape: tuple[int, ...]) -> Array:
        """`values`, scales or zero points, in a form that broadcasts over a weight of `shape`."""
        if values.size == 1 or self.axis is None:
            return values.reshape((1,) * len(shape))
        if self.block:
            places = np.arange(shape[self.axis]) // self.block
            return np.take(values, places, self.axis)
        return values.reshape([-1 if axis == self.axis else 1 for axis in range(len(shape))])

    def scales_like(self, other: QuantizedWeight) -> bool:
        """Whether both give the stored integers the same meaning."""
        mine, others = (self.axis, self.block), (other.axis, other.block)
        same_zeros = np.array_equal(self.zero_points, other.zero_points)
        return mine == others and same_zeros and np.array_equal(self.scale, other.scale)


def dequantized_weights(graph: Graph) -> tuple[dict[str, QuantizedWeight], dict[str, str]]:
    """The weights that a DequantizeLinear of `graph` reads, by the name of their dequantized value.

    And the reasons, by the same names, why others cannot be weights of a layer.
    """
    found, reasons = {}, {}
    for node in graph.nodes:
        if node.op == "DequantizeLinear" and is_standard(node.domain) and node.inputs[0] in graph.tensors:
            if not graph.shape(node.inputs[0]):
                continue
            entry = _read_dequantized(node, graph)
            if isinstance(entry, str):
                reasons[node.outputs[0]] = entry
            else:
                found[node.outputs[0]] = entry
    return found, reasons


def _read_dequantized(node: Node, graph: Graph) -> QuantizedWeight | str:
    name, scale, zero, *_ = (*node.inputs, "", "")
    dtype = graph.dtype(name)
    if scale not in graph.tensors or (zero and zero not in graph.tensors):
        return "its weight is dequantized by scales that are computed at run time"
    if not is_integer_type(dtype):
        return _other_type(dtype)
    scales, block = graph.tensors[scale].astype(np.float64), node.attributes.get("block_size", 0)
    axis = node.attributes.get("axis", 1) % len(graph.shape(name)) if scales.ndim else None
    if not block:
        scales = scales.reshape(-1)
    zeros = _zero_points(zero, graph)
    return QuantizedWeight(node.outputs[0], name, scale, scales, axis, dtype, zeros, block)


def integer_weight(node: Node, slot: int, axis: int, graph: Graph) -> QuantizedWeight | str:
    """The weight that an integer operator reads as input `slot`, with scales along `axis`, or why it cannot be one."""
    operator = WEIGHT_OPERATORS[node.op]
    name = node.inputs[slot]
    dtype = graph.dtype(name)

    def further(places: Mapping[int, int]) -> str:
        place = places.get(slot, len(node.inputs))
        return node.inputs[place] if place < len(node.inputs) else ""

    zero, scale = further(operator.zero_points), further(operator.scales)
    if (zero and zero not in graph.tensors) or (scale and scale not in graph.tensors):
        return f"the zero point or scale of its weight {name} is computed at run time"
    if not is_integer_type(dtype):
        return _other_type(dtype)
    if scale:
        values = graph.tensors[scale].astype(np.float64).reshape(-1)
    else:
        values = _scale_behind(node, graph, graph.shape(name)[axis])
    zeros = _zero_points(zero, graph).reshape(-1)
    along = axis if max(len(values), len(zeros)) > 1 else None
    return QuantizedWeight(name, name, scale, values, along, dtype, zeros)


def _other_type(dtype: np.dtype[Any]) -> str:
    """Why a weight of another type cannot be a layer's."""
    return f"its weight is quantized as {dtype.name}, not as {', '.join(INTEGER_TYPES)}"


def _zero_points(name: str, graph: Graph) -> NDArray[np.int64]:
    """The zero points called `name`, (1,) where all are the same."""
    if not name:
        return np.zeros(1, np.int64)
    zeros = graph.tensors[name].astype(np.int64)
    return zeros.flat[:1] if (zeros == zeros.flat[0]).all() else zeros


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


def layer_scales(entry: QuantizedWeight, layer: Layer, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The scales of `layer`: (1,), of each filter (filters,), or where they change within one (filters, inputs)."""
    if entry.scale.size == 1:
        return entry.scale.reshape(1)
    numbers = np.arange(entry.scale.size, dtype=np.int32).reshape(entry.scale.shape)
    places = np.broadcast_to(entry.spread(numbers, shape), shape)
    matrix = layer.matrix(np.ascontiguousarray(places))
    along_filters = bool((matrix == matrix[:, :1]).all())
    found: NDArray[np.float64] = entry.scale.reshape(-1)[matrix[:, 0] if along_filters else matrix]
    return found


def fits(entry: QuantizedWeight, shape: tuple[int, ...]) -> bool:
    """Whether there are as many scales and zero points as a weight of `shape` needs."""
    try:
        for values in (entry.scale, entry.zero_points):
            np.broadcast_to(entry.spread(values, shape), shape)
    except (ValueError, IndexError):
        return False
    return True


def deviation(weight: Array, entry: QuantizedWeight) -> Array:
    """`weight` minus its zero points, as int8 where that fits, else as int16."""
    if weight.dtype == np.int8 and not entry.zero_points.any():
        return weight
    wide = weight.astype(np.int16) - entry.spread(entry.zero_points, weight.shape).astype(np.int16)
    return as_narrow(wide)


def as_narrow(values: Array) -> Array:
    """Whole numbers as int8 where that fits, else as int16."""
    narrow: Array = values.astype(np.int8)
    return narrow if np.array_equal(narrow, values) else values.astype(np.int16)


def with_zero_points(deviations: Array, entry: QuantizedWeight, dtype: np.dtype[Any]) -> Array:
    """The inverse of `deviation`: the weight in its stored `dtype`."""
    zeros = entry.spread(entry.zero_points, deviations.shape)
    stored: Array = (deviations.astype(np.int64) + zeros).astype(dtype)
    return stored
