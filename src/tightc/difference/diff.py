"""Diff: the layers of two models beside each other, and what else differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tightc.difference.graphs import changed_tensors, graphs_differ
from tightc.difference.measured_model import MeasuredModel, UnpackedModel
from tightc.difference.options import DiffOptions
from tightc.model.file import Model
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layer_metrics import layer_identity
from tightc.model.layer_view.layers import Network
from tightc.model.layer_view.matching import match_layers
from tightc.progress import Progress, no_progress
from tightc.report import Report

_PAIRS = ("type", "density", "method", "passes", "cycles", "energy_pj", "bytes")
_TOTALS = ("array", "density", "passes", "cycles", "speedup", "energy_pj", "energy_gain", "bytes")
_NO_MEASURES: Mapping[str, Any] = {}


def diff(a: Model, b: Model, options: DiffOptions, *, progress: Progress = no_progress) -> Report:
    """A row for each layer of either model, with the measures of both, and how far their weights differ.

    Its change: changed, tiles (other tiles with the same measures), only in a, only in b, or same.
    Both are simulated on the hardware of `options`; without it, each on the array of its own tiles, and a model
    without tiles on that of the other. Weights are those that an integer weight stands for. The models are `equal`
    where all rows are the same, and so are the graph and all other tensors.
    """
    sides = UnpackedModel.of(a), UnpackedModel.of(b)
    measured = [
        MeasuredModel.of(own, options, _array(own, other, options)) for own, other in (sides, sides[::-1])
    ]
    pairs = match_layers(sides[0].network, sides[1].network)
    rows = []
    for one, two in pairs:
        rows.append(_row(one, two, *measured))
        progress("diff", len(rows) / len(pairs), {"layer": rows[-1]["name"]})
    tensors = changed_tensors(*sides)
    graph = graphs_differ(a=sides[0].plain.proto, b=sides[1].plain.proto)
    totals = {
        "a": a.origin,
        "b": b.origin,
        "equal": not (tensors or graph) and all(row["change"] == "same" for row in rows),
        "layers_changed": sum(row["change"] in ("changed", "tiles") for row in rows),
        "layers_only_in_a": sum(row["change"] == "only in a" for row in rows),
        "layers_only_in_b": sum(row["change"] == "only in b" for row in rows),
        "weights_changed": sum(row["weights_changed"] or 0 for row in rows if row["shares"] is None),
        "largest_change": max((row["largest_change"] or 0.0 for row in rows), default=0.0),
        "other_tensors_changed": tensors,
        "graph_changed": graph,
        **{name: _pair(measured[0].totals.get(name), measured[1].totals.get(name)) for name in _TOTALS},
    }
    notes = dict.fromkeys((*measured[0].notes, *measured[1].notes))
    return Report("diff", totals, rows, notes=tuple(notes))


def _array(own: UnpackedModel, other: UnpackedModel, options: DiffOptions) -> Any:
    if options.array or options.hardware:
        return options.array
    return own.array or other.words_array


def _row(one: Layer | None, two: Layer | None, a: MeasuredModel, b: MeasuredModel) -> dict[str, Any]:
    layer = one or two
    assert layer is not None, "a pair holds a layer"
    measures = [side.layers[own.output] if own else _NO_MEASURES for side, own in ((a, one), (b, two))]
    found = {name: _pair(*(own.get(name) for own in measures)) for name in _PAIRS}
    count: int | None = None
    largest: float | None = None
    tiles = False
    if one and two:
        count, largest = _weight_changes(a.unpacked.network, one, b.unpacked.network, two)
        tiles = a.unpacked.tiles(one.weight) != b.unpacked.tiles(two.weight)
        differs = count != 0 or any(pair["a"] != pair["b"] for pair in found.values())
        change = "changed" if differs else "tiles" if tiles else "same"
    else:
        change = "only in a" if one else "only in b"
    return {
        **layer_identity(layer),
        "weight": layer.weight,
        "change": change,
        "weights_changed": count,
        "largest_change": largest,
        **found,
    }


def _weight_changes(a: Network, one: Layer, b: Network, two: Layer) -> tuple[int | None, float | None]:
    """(number of weights that differ, the largest difference); None where the matrices differ in size."""
    before, after = a.dequantized_matrix(one), b.dequantized_matrix(two)
    if before.shape != after.shape:
        return None, None
    if before.size == 0:
        return 0, 0.0
    change = np.abs(after - before)
    return int(np.count_nonzero(change)), float(change.max())


def _pair(a: Any, b: Any) -> dict[str, Any]:
    return {"a": a, "b": b}
