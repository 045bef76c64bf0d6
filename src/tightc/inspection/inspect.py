"""Inspect: the layers of a model, what of it is covered, and what is not and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tightc.inspection.options import InspectOptions
from tightc.model.file import Model
from tightc.model.history import read_history
from tightc.model.layer_view.layer_metrics import density_metrics, layer_identity, layer_matrix
from tightc.model.layer_view.layers import Layer, Network, read_network
from tightc.model.layer_view.mac_counts import count_macs, dense_macs
from tightc.model.onnx_proto.graph import default_opset
from tightc.model.packings.packed_form import is_packed, unpack_layers
from tightc.report import Report


def inspect(model: Model, options: InspectOptions) -> Report:
    """A row for each layer, the operators that are not covered with their reasons, and the share of MACs covered."""
    plain = unpack_layers(model)
    network = read_network(plain)
    streams = count_macs(plain, network, options)
    totals, _ = density_metrics(network)
    head = {
        "ir_version": model.proto.ir_version,
        "opset": default_opset(model.proto),
        "packed": is_packed(model),
        "history": [_told(entry) for entry in read_history(model)],
        "macs": streams.macs,
        "macs_covered": streams.macs_covered,
        "bytes": len(model.to_bytes()),
    }
    unknown = [row["name"] for row in streams.uncovered if row["macs"] is None]
    notes = model.notes
    if unknown:
        notes += (f"MACs of {', '.join(unknown)} are not known, so neither is the share covered",)
    rows = tuple(_row(network, layer, streams.vectors[layer.output]) for layer in network.layers)
    return Report("inspect", {**head, **totals}, rows, streams.uncovered, notes)


def _told(entry: Mapping[str, Any]) -> str:
    """A stage of the history, with what ended it before its time."""
    stage, ended = str(entry.get("stage", "?")), entry.get("ended")
    if not isinstance(ended, dict):
        return stage
    reached = f" at epoch {ended['epochs']}" if "epochs" in ended else ""
    return f"{stage} (ended by {ended.get('by', '?')}{reached})"


def _row(network: Network, layer: Layer, vectors: int) -> dict[str, Any]:
    matrix = layer_matrix(network, layer)
    used = (matrix.values != 0).reshape(layer.groups, matrix.filters_per_group, matrix.inputs)
    nonzeros = int(used.sum())
    return {
        **layer_identity(layer),
        "vectors": vectors,
        "weights": used.size,
        "nonzeros": nonzeros,
        "density": nonzeros / used.size,
        "empty_filters": int(np.count_nonzero(~used.any(axis=2))),
        "empty_inputs": int(np.count_nonzero(~used.any(axis=1))),
        "macs": dense_macs(layer, vectors),
    }
