"""Quantized weights: int8 constants before a DequantizeLinear with one scale, or one for each filter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tightc.errors import ModelError
from tightc.model.onnx_proto.graph import Array, Graph, Node, is_standard

_AGAIN = "give tightc quantize the float model, or quantize weights as int8 with zero points of 0 (symmetric)"


@dataclass(frozen=True)
class QuantizedWeight:
    """An int8 weight and its scales.

    `value` names the output of DequantizeLinear: the constant `weight` times `scale`, (1,) or (filters,) float64.
    `scale_name` names the constant of the scales. `axis` is the weight's axis that they go along, None for one scale.
    """

    value: str
    weight: str
    scale_name: str
    scale: NDArray[np.float64]
    axis: int | None


def quantized_weights(graph: Graph, origin: str) -> dict[str, QuantizedWeight]:
    """The quantized weights of `graph`, by the name of their dequantized value.

    ModelError, naming `origin`, where one is asymmetric: a weight of zero would not be stored as 0.
    """
    found = {}
    for node in graph.nodes:
        if node.op == "DequantizeLinear" and is_standard(node.domain) and node.inputs[0] in graph.tensors:
            weight = graph.tensors[node.inputs[0]]
            if weight.ndim > 1:
                entry = _read_quantized(node, weight, graph, origin)
                if entry is not None:
                    found[node.outputs[0]] = entry
    return found


def _read_quantized(node: Node, weight: Array, graph: Graph, origin: str) -> QuantizedWeight | None:
    """The quantized weight of a DequantizeLinear; None where scales are computed at run time, or are for blocks."""
    name, scale, zero, *_ = (*node.inputs, "")
    if (
        scale not in graph.tensors
        or (zero and zero not in graph.tensors)
        or node.attributes.get("block_size", 0)
    ):
        return None
    if weight.dtype != np.int8 or (zero and graph.tensors[zero].any()):
        kind = str(weight.dtype) if weight.dtype != np.int8 else "int8 with zero points other than 0"
        raise ModelError(f"{origin}: the weight {name} is quantized as {kind} (asymmetric)", _AGAIN)
    scales = graph.tensors[scale].astype(np.float64)
    axis = node.attributes.get("axis", 1) % weight.ndim if scales.ndim else None
    return QuantizedWeight(node.outputs[0], name, scale, scales.reshape(-1), axis)
