"""What a layer with int8 operands multiplies, in one run of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tightc.model.intermediate_values import Values, intermediate_values
from tightc.model.layer_view.layer import Layer
from tightc.model.onnx_proto.graph import Array, Graph, Node
from tightc.model.onnx_proto.weight_operators import WEIGHT_OPERATORS
from tightc.simulation.workload import LayerWorkload, Workload

_OPERAND_TYPES = (np.dtype(np.int8), np.dtype(np.uint8))


@dataclass(frozen=True)
class Operands:
    """The operands of a layer as the array takes them, and their scales.

    `value`: int8, the tensor that the layer reads; of unsigned bytes, less 128. `zero_point`: of `value`. `weight`:
    int8, less its zero points. `scale`: (filters,) float64, of the products.
    """

    value: NDArray[np.int8]
    zero_point: int
    weight: NDArray[np.int8]
    scale: NDArray[np.float64]


@dataclass(frozen=True)
class QuantizedInput:
    """The quantized activations of a layer: the name of their tensor, and their scale and zero point."""

    name: str
    scale: float
    zero_point: int


def quantized_input(
    layer: Layer, node: Node, graph: Graph, producers: Mapping[str, Node]
) -> QuantizedInput | None:
    """The quantized activations that `layer`, the `node`, reads; None where they are no bytes with one scale."""
    operator = WEIGHT_OPERATORS[node.op]
    if operator.is_integer:
        place = operator.activation(layer.slot)
        scale = _constant(graph, node.inputs, operator.scales.get(place), 1.0)
        zero_point = _constant(graph, node.inputs, operator.zero_points.get(place), 0.0)
        name = layer.input
    else:
        source = producers.get(layer.input)
        if source is None or source.op != "DequantizeLinear":
            return None
        scale = _constant(graph, source.inputs, 1, 1.0)
        zero_point = _constant(graph, source.inputs, 2, 0.0)
        name = source.inputs[0]
    if scale is None or zero_point is None:
        return None
    return QuantizedInput(name, scale, int(zero_point))


def read_operands(
    workload: Workload, entries: Sequence[tuple[LayerWorkload, QuantizedInput]], feeds: Values
) -> list[Operands | None]:
    """The operands of each of `entries` in one run on `feeds`; None where they are not bytes."""
    values = intermediate_values(workload.plain, sorted({source.name for _, source in entries}), feeds)
    return [_operands(workload, entry, source, values[source.name]) for entry, source in entries]


def _operands(
    workload: Workload, entry: LayerWorkload, source: QuantizedInput, value: Array
) -> Operands | None:
    layer, network = entry.layer, workload.network
    weight, scale = network.weights[layer.weight], network.scales.get(layer.weight)
    if value.dtype not in _OPERAND_TYPES or scale is None or scale.ndim != 1:
        return None
    if weight.min(initial=0) < -128 or weight.max(initial=0) > 127:
        return None
    shift = 128 if value.dtype == np.uint8 else 0
    return Operands(
        value=(value.astype(np.int16) - shift).astype(np.int8),
        zero_point=source.zero_point - shift,
        weight=weight.astype(np.int8),
        scale=np.broadcast_to(scale * source.scale, layer.filters).astype(np.float64),
    )


def _constant(graph: Graph, inputs: Sequence[str], place: int | None, default: float) -> float | None:
    """The scalar constant at a `place` of `inputs`; the default where there is none, None where it is no scalar."""
    name = inputs[place] if place is not None and place < len(inputs) else ""
    if not name:
        return default
    if name not in graph.tensors or graph.tensors[name].size != 1:
        return None
    return float(graph.tensors[name].reshape(-1)[0])
