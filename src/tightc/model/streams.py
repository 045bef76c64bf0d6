"""How many vectors stream through each layer, and what share of a model's work the layers do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from tightc.config.extent import ExtentOptions
from tightc.model.file import Model
from tightc.model.graph import Node
from tightc.model.layers import Layer, Network
from tightc.model.shapes import Shapes, value_shapes
from tightc.report import Figures

_STANDARD = ("", "ai.onnx")


@dataclass(frozen=True)
class Streams:
    """`vectors`: M of each layer, output pixels x batch, by its output. `outside`: a row for each operator not covered.

    `elements`: of the feature map that each layer reads, and of the one that it writes, batch included, by its output.
    `macs`: multiply-accumulates of the dense layers; `macs_covered`: their share of all that are known, 1.0 where
    nothing is outside.
    """

    vectors: Mapping[str, int]
    elements: Mapping[str, tuple[int, int]]
    outside: tuple[Figures, ...]
    macs: int
    macs_covered: float


def count_streams(model: Model, network: Network, extent: ExtentOptions) -> Streams:
    """The streams of `network`, read from the plain `model`, for inputs as large as `extent` says."""
    nodes = [entry.node for entry in network.uncovered if _is_standard(entry.node)]
    wanted = [name for layer in network.layers for name in (layer.input, layer.output)]
    wanted += [name for node in nodes for name in (*node.inputs, *node.outputs) if name]
    shapes = value_shapes(model.proto, model.origin, wanted, extent)
    vectors = {layer.output: prod(shapes[layer.output]) // layer.filters for layer in network.layers}
    elements = {
        layer.output: (prod(shapes[layer.input]), prod(shapes[layer.output])) for layer in network.layers
    }
    outside: tuple[dict[str, Any], ...] = tuple(
        {
            "name": entry.node.label,
            "operator": entry.node.op,
            "reason": entry.reason,
            "macs": _macs(entry.node, shapes) if _is_standard(entry.node) else None,
        }
        for entry in network.uncovered
    )
    macs = sum(dense_macs(layer, vectors[layer.output]) for layer in network.layers)
    known = macs + sum(row["macs"] or 0 for row in outside)
    return Streams(vectors, elements, outside, macs, macs / known if known else 1.0)


def dense_macs(layer: Layer, vectors: int) -> int:
    """Multiply-accumulates of a layer with all its weights."""
    return layer.filters * layer.inputs * vectors


def _is_standard(node: Node) -> bool:
    return node.domain in _STANDARD


def _macs(node: Node, shapes: Shapes) -> int | None:
    """Multiply-accumulates of an operator that is not covered, where its shapes tell."""
    left, right = (shapes.get(name) for name in (*node.inputs, "", "")[:2])
    out = shapes.get(node.outputs[0])
    if left is None or right is None or out is None:
        return None
    if node.op == "Conv":
        return prod(out) * prod(right[1:])
    if node.op == "ConvTranspose":
        return prod(left) * prod(right[1:])
    if node.op == "MatMul":
        return prod(out) * left[-1]
    if node.op == "Gemm":
        return prod(out) * left[0 if node.attributes.get("transA", 0) else 1]
    return None
