"""How many vectors stream through each layer, and what share of a model's work the layers do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.layer_view.layers import Layer, Network, Uncovered
from tightc.model.onnx_proto.graph import Node, is_standard
from tightc.model.runtime.shapes import Shapes, value_shapes
from tightc.report import Figures

# inputs that are multiplied, where these are not the first two
_OPERANDS = {"QLinearConv": (0, 3), "QLinearMatMul": (0, 3)}


@dataclass(frozen=True)
class MacCounts:
    """`vectors`: M of each layer, output pixels x batch, by its output. `outside`: a row for each operator not covered.

    `elements`: of the feature map that each layer reads, and of the one that it writes, batch included, by its output.
    `macs`: multiply-accumulates of the dense layers; `macs_covered`: their share of all, None where those of an
    operator outside are not known.
    """

    vectors: Mapping[str, int]
    elements: Mapping[str, tuple[int, int]]
    outside: tuple[Figures, ...]
    macs: int
    macs_covered: float | None


def count_macs(model: Model, network: Network, input_sizes: InputSizeOptions) -> MacCounts:
    """The streams of `network`, read from the plain `model`, for inputs as large as `extent` says."""
    nodes = [entry.node for entry in network.uncovered if is_standard(entry.node.domain)]
    wanted = [name for layer in network.layers for name in (layer.input, layer.output)]
    wanted += [name for node in nodes for name in (*node.inputs, *node.outputs) if name]
    shapes = value_shapes(model.proto, model.origin, wanted, input_sizes)
    vectors = {layer.output: prod(shapes[layer.output]) // layer.filters for layer in network.layers}
    elements = {
        layer.output: (prod(shapes[layer.input]), prod(shapes[layer.output])) for layer in network.layers
    }
    outside: tuple[dict[str, Any], ...] = tuple(
        {**_named(entry), "macs": _macs(entry.node, shapes) if is_standard(entry.node.domain) else None}
        for entry in network.uncovered
    )
    macs = sum(dense_macs(layer, vectors[layer.output]) for layer in network.layers)
    known = macs + sum(row["macs"] or 0 for row in outside)
    for row in outside:
        row["macs_share"] = None if row["macs"] is None or not known else row["macs"] / known
    covered = macs / known if known else 1.0
    unknown = any(row["macs"] is None for row in outside)
    return MacCounts(vectors, elements, outside, macs, None if unknown else covered)


def coverage(model: Model, network: Network) -> tuple[tuple[Figures, ...], float | None]:
    """(a row for each operator of `model` that is not covered, the share of its MACs that is).

    As large as the model leaves its inputs, with one image where the batch is open; where another size is open too
    neither share is known.
    """
    if not network.uncovered:
        return (), 1.0
    try:
        streams = count_macs(model, network, InputSizeOptions())
    except ModelError:
        unknown = {"macs": None, "macs_share": None}
        return tuple({**_named(entry), **unknown} for entry in network.uncovered), None
    return streams.outside, streams.macs_covered


def _named(entry: Uncovered) -> dict[str, Any]:
    return {"name": entry.node.label, "operator": entry.node.op, "reason": entry.reason}


def dense_macs(layer: Layer, vectors: int) -> int:
    """Multiply-accumulates of a layer with all its weights."""
    return layer.filters * layer.inputs * vectors


def _macs(node: Node, shapes: Shapes) -> int | None:
    """Multiply-accumulates of an operator that is not covered, where its shapes tell."""
    first, second = _OPERANDS.get(node.op, (0, 1))
    left, right = (shapes.get(name) for name in (_at(node.inputs, first), _at(node.inputs, second)))
    out = shapes.get(node.outputs[0])
    if left is None or right is None or out is None:
        return None
    if node.op in ("Conv", "ConvInteger", "QLinearConv"):
        return prod(out) * prod(right[1:])
    if node.op == "ConvTranspose":
        return prod(left) * prod(right[1:])
    if node.op in ("MatMul", "MatMulInteger", "QLinearMatMul"):
        return prod(out) * left[-1] if left else None
    if node.op == "Gemm":
        return prod(out) * left[0 if node.attributes.get("transA", 0) else 1]
    return None


def _at(names: tuple[str, ...], place: int) -> str:
    return names[place] if place < len(names) else ""
