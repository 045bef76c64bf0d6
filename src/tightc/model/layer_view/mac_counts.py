"""MAC counts: input vectors of each layer, and the fraction of a model's MACs that the layers cover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layers import Network, Uncovered
from tightc.model.onnx_proto.graph import Node
from tightc.model.onnx_proto.weight_operators import NBITS, WEIGHT_OPERATORS, has_weight
from tightc.model.runtime.shapes import Shapes, value_shapes
from tightc.report import Figures


@dataclass(frozen=True)
class MacCounts:
    """MAC counts of a network for given input sizes; layers are named by their output.

    `vectors`: input vectors M of each layer, output pixels x batch. `elements`: of the feature maps that each layer
    reads and writes, batch included. `uncovered`: a row for each operator that is not a layer. `macs`: of the dense
    layers; `macs_covered`: their fraction of all, None where those of an uncovered operator are unknown.
    """

    vectors: Mapping[str, int]
    elements: Mapping[str, tuple[int, int]]
    uncovered: tuple[Figures, ...]
    macs: int
    macs_covered: float | None


def count_macs(model: Model, network: Network, input_sizes: InputSizeOptions) -> MacCounts:
    """The MAC counts of `network`, which was read from the plain `model`, for inputs of `input_sizes`."""
    nodes = [entry.node for entry in network.uncovered if _has_known_macs(entry.node)]
    wanted = [name for layer in network.layers for name in (layer.input, layer.output)]
    wanted += [name for node in nodes for name in (*node.inputs, *node.outputs) if name]
    shapes = value_shapes(model.proto, model.origin, wanted, input_sizes)
    vectors = {layer.output: _vectors(layer, shapes) for layer in network.layers}
    elements = {
        layer.output: (prod(shapes[layer.input]), prod(shapes[layer.output])) for layer in network.layers
    }
    uncovered: tuple[dict[str, Any], ...] = tuple(
        {
            **_operator_identity(entry),
            "macs": _operator_macs(entry.node, shapes) if _has_known_macs(entry.node) else None,
        }
        for entry in network.uncovered
    )
    macs = sum(dense_macs(layer, vectors[layer.output]) for layer in network.layers)
    known = macs + sum(row["macs"] or 0 for row in uncovered)
    for row in uncovered:
        row["macs_share"] = None if row["macs"] is None or not known else row["macs"] / known
    covered = macs / known if known else 1.0
    unknown = any(row["macs"] is None for row in uncovered)
    return MacCounts(vectors, elements, uncovered, macs, None if unknown else covered)


def coverage(
    model: Model, network: Network, sizes: InputSizeOptions | None = None
) -> tuple[tuple[Figures, ...], float | None]:
    """(a row for each uncovered operator of `network`, the fraction of the MACs of `model` that is covered).

    `sizes`: of inputs that are open; None for one image. The fractions are None where a size is left open.
    """
    if not network.uncovered:
        return (), 1.0
    try:
        counts = count_macs(model, network, sizes or InputSizeOptions())
    except ModelError:
        unknown = {"macs": None, "macs_share": None}
        return tuple({**_operator_identity(entry), **unknown} for entry in network.uncovered), None
    return counts.uncovered, counts.macs_covered


def _operator_identity(entry: Uncovered) -> dict[str, Any]:
    return {"name": entry.node.label, "operator": entry.node.op, "reason": entry.reason}


def _vectors(layer: Layer, shapes: Shapes) -> int:
    """Input vectors of `layer`: output pixels, or input pixels of a transposed convolution."""
    if layer.op == "ConvTranspose":
        return prod(shapes[layer.input]) // (layer.groups * layer.inputs)
    return prod(shapes[layer.output]) // layer.filters


def dense_macs(layer: Layer, vectors: int) -> int:
    """Multiply-accumulates of `layer` on so many input `vectors`, with all its weights."""
    return layer.filters * layer.inputs * vectors


def _has_known_macs(node: Node) -> bool:
    return has_weight(node.op, node.domain) or node.op == NBITS


def _operator_macs(node: Node, shapes: Shapes) -> int | None:
    """Multiply-accumulates of an uncovered operator, None where they are unknown."""
    if node.op == NBITS:
        products = shapes.get(node.outputs[0])
        return None if products is None else prod(products) * int(node.attributes.get("K", 0)) or None
    # the checker does not look at operators of other domains, so inputs may be missing
    inputs = dict(enumerate(node.inputs))
    left, right = (shapes.get(inputs.get(place, "")) for place in WEIGHT_OPERATORS[node.op].operands)
    out = shapes.get(node.outputs[0])
    if left is None or right is None or out is None:
        return None
    if node.op in ("Conv", "ConvInteger", "QLinearConv"):
        return prod(out) * prod(right[1:])
    if node.op == "ConvTranspose":
        return prod(left) * prod(right[1:])
    if node.op in ("MatMul", "MatMulInteger", "QLinearMatMul"):
        return prod(out) * left[-1] if left else None
    if node.op in ("Gemm", "QGemm"):
        return prod(out) * left[0 if node.attributes.get("transA", 0) else 1]
    return None
