"""Inspect: the layers of a model, and the operators that are not covered, with reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tightc.inspection.dead_filters import DEAD_BELOW, dead_filters
from tightc.inspection.options import InspectOptions
from tightc.model.file import Model
from tightc.model.history import read_history
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layer_metrics import density_metrics, layer_identity, layer_matrix
from tightc.model.layer_view.layers import Network, read_network
from tightc.model.layer_view.mac_counts import count_macs, dense_macs
from tightc.model.onnx_proto.graph import default_opset
from tightc.model.packings.packed_form import decode_layers, is_packed
from tightc.model.runtime.open_sizes import resolve_open_sizes
from tightc.report import Report


def inspect(model: Model, options: InspectOptions) -> Report:
    """One row per layer of `model`, the operators that are not covered with reasons, and the fraction of MACs covered.

    `options`: the sizes of open inputs.
    """
    plain, _ = decode_layers(model)
    network = read_network(plain)
    sizes, assumed = resolve_open_sizes(plain.proto, plain.origin, options)
    counted = count_macs(plain, network, sizes)
    totals, _ = density_metrics(network)
    head = {
        "ir_version": model.proto.ir_version,
        "opset": default_opset(model.proto),
        "packed": is_packed(model),
        "history": [_history_label(entry) for entry in read_history(model)],
        "macs": counted.macs,
        "macs_covered": counted.macs_covered,
        "bytes": model.size,
    }
    unknown = [row["name"] for row in counted.uncovered if row["macs"] is None]
    notes = (*model.notes, *assumed)
    if unknown:
        notes += (f"MACs of {', '.join(unknown)} are unknown, and so is the fraction covered",)
    rows = tuple(_row(network, layer, counted.vectors[layer.output]) for layer in network.layers)
    filters, dead, empty = _filters(rows)
    if dead > empty:
        notes += (
            f"{dead:,} of {filters:,} filters are dead: no weight above {DEAD_BELOW:g} of the layer's largest",
        )
    return Report("inspect", {**head, **totals, "dead_filters": dead}, rows, counted.uncovered, notes)


def _filters(rows: Sequence[Mapping[str, Any]]) -> tuple[int, int, int]:
    """(all filters, dead ones, empty ones) of `rows`; those of a shared weight count once."""
    owners = [row for row in rows if row["shares"] is None]
    filters = sum(row["filters"] * row["groups"] for row in owners)
    return filters, sum(row["dead_filters"] for row in owners), sum(row["empty_filters"] for row in owners)


def _history_label(entry: Mapping[str, Any]) -> str:
    """A stage of the history, with what ended it early, if anything."""
    stage, ended = str(entry.get("stage", "?")), entry.get("ended")
    if not isinstance(ended, dict):
        return stage
    epoch = f" at epoch {ended['epochs']}" if "epochs" in ended else ""
    return f"{stage} (ended by {ended.get('by', '?')}{epoch})"


def _row(network: Network, layer: Layer, vectors: int) -> dict[str, Any]:
    matrix = layer_matrix(network, layer)
    used = (matrix.values != 0).reshape(layer.groups, matrix.filters_per_group, matrix.inputs)
    nonzeros = int(used.sum())
    return {
        **layer_identity(layer),
        "type": network.stored[layer.weight].name,
        "vectors": vectors,
        "weights": used.size,
        "nonzeros": nonzeros,
        "density": nonzeros / used.size,
        "empty_filters": int(np.count_nonzero(~used.any(axis=2))),
        "dead_filters": dead_filters(matrix.dequantized),
        "empty_inputs": int(np.count_nonzero(~used.any(axis=1))),
        "macs": dense_macs(layer, vectors),
    }
