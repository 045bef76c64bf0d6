"""Inspect: the layers of a model, what of it is covered, and what is not and why."""

from __future__ import annotations

from typing import Any

import numpy as np

from tightc.inspection.options import InspectOptions
from tightc.model.figures import density_figures, identity, layer_matrix
from tightc.model.file import Model
from tightc.model.history import read_history
from tightc.model.layers import Layer, Network, read_network
from tightc.model.packed import is_packed, unpack_layers
from tightc.report import Report


def inspect(model: Model, options: InspectOptions) -> Report:
    """A row for each layer, the operators that are not covered with their reasons, and the share of MACs covered."""
    network = read_network(unpack_layers(model), options.batch)
    totals, _ = density_figures(network)
    proto = model.proto
    head = {
        "ir_version": proto.ir_version,
        "opset": next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")),
        "packed": is_packed(model),
        "history": [entry.get("stage") for entry in read_history(model)],
        "macs": sum(layer.macs for layer in network.layers),
        "macs_covered": network.macs_covered,
        "bytes": len(model.to_bytes()),
    }
    uncovered = tuple(entry.__dict__ for entry in network.uncovered)
    unknown = [entry.name for entry in network.uncovered if entry.macs is None]
    notes = (
        (f"MACs of {', '.join(unknown)} are not known: the share covered is at most this",) if unknown else ()
    )
    return Report(
        "inspect",
        {**head, **totals},
        tuple(_row(network, layer) for layer in network.layers),
        uncovered,
        notes,
    )


def _row(network: Network, layer: Layer) -> dict[str, Any]:
    matrix = layer_matrix(network, layer)
    used = (matrix.values != 0).reshape(layer.groups, matrix.filters_per_group, matrix.inputs)
    nonzeros = int(used.sum())
    return {
        **identity(layer),
        "vectors": layer.vectors,
        "weights": used.size,
        "nonzeros": nonzeros,
        "density": nonzeros / used.size,
        "empty_filters": int(np.count_nonzero(~used.any(axis=2))),
        "empty_inputs": int(np.count_nonzero(~used.any(axis=1))),
        "macs": layer.macs,
    }
