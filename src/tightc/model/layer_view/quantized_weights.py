"""Weights of whole numbers: what DequantizeLinear makes of an int8 constant, with one scale or one for each filter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tightc.errors import ModelError
from tightc.model.onnx_proto.graph import Array, Graph, Node, is_standard

_AGAIN = "give tightc quantize the float model, or quantize weights as int8 with zero points of 0 (symmetric)"


@dataclass(frozen=True)
class QuantizedWeight:
    """`value`: what DequantizeLinear gives, the constant `weight` times `scale`: (1,) or (filters,) float64.

    `scale_name`: of the constant that holds these; `axis`: of the weight that they go along, None where there is one
    for all.
    """

    value: str
    weight: str
    scale_name: str
    scale: NDArray[np.float64]
    axis: int | None


def quantized_weights(graph: Graph, origin: str) -> dict[str, QuantizedWeight]:
    """All constants of whole numbers by the name of their real value.

    ModelError where one is asymmetric: a zero of the layer would be no zero of the constant.
    """
    found = {}
    for node in graph.nodes:
        if node.op == "DequantizeLinear" and is_standard(node.domain) and node.inputs[0] in graph.tensors:
            weight = graph.tensors[node.inputs[0]]
            if weight.ndim > 1:
                entry = _read(node, weight, graph, origin)
                if entry is not None:
                    found[node.outputs[0]] = entry
    return found


def _read(node: Node, weight: Array, graph: Graph, origin: str) -> QuantizedWeight | None:
    """None where scales or zero points come from elsewhere, or go by blocks."""
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
