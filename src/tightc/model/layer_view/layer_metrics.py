"""Metrics of a network's layers and packings, as reports show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layers import Network
from tightc.tile.matrix import LayerMatrix
from tightc.tile.measures import Measures, largest_fan_in, measure
from tightc.tile.packing import Packing

Rows = tuple[dict[str, Any], ...]

_HEADER_BITS = 8 * 24  # of a weight stream: docs/stream.md


def layer_matrix(network: Network, layer: Layer, subword_bits: int | None = None) -> LayerMatrix:
    """The matrix of `layer` in `network` with its groups, and its scales where the weight is integer.

    `subword_bits`: bits of the subwords that take a slot each, None for whole weights.
    """
    return LayerMatrix(
        network.matrix(layer),
        layer.groups,
        network.scales.get(layer.weight),
        subword_bits,
        network.weight_bits(layer),
    )


def density_metrics(network: Network) -> tuple[dict[str, Any], Rows]:
    """(totals, rows by layer) of `network`: the numbers of weights and of non-zeros. A shared weight counts once."""
    rows = []
    for layer in network.layers:
        nonzeros = int(np.count_nonzero(network.weights[layer.weight]))
        weights = layer.filters * layer.inputs
        rows.append(
            {**layer_identity(layer), "weights": weights, "nonzeros": nonzeros, "density": nonzeros / weights}
        )
    distinct = [row for row in rows if row["shares"] is None]
    weights, nonzeros = sum(row["weights"] for row in distinct), sum(row["nonzeros"] for row in distinct)
    return {"weights": weights, "nonzeros": nonzeros, "density": nonzeros / weights}, tuple(rows)


def packing_metrics(
    network: Network, packings: Mapping[str, Packing], fan_in: int | None = None
) -> tuple[dict[str, Any], Rows]:
    """(totals, rows by layer) of `network`: the measures of each of `packings`, by weight.

    `fan_in`: that of the array, for the lower bounds on passes; None for the largest of `packings`.
    """
    total = Measures()
    fan_in = fan_in or largest_fan_in(packings.values())
    rows = []
    for layer in network.owners:
        if layer.weight in packings:
            packing = packings[layer.weight]
            measures = measure(packing, layer_matrix(network, layer, packing.subword_bits), fan_in)
            total += measures
            rows.append({**layer_identity(layer), "method": packing.method, **measures.figures()})
    return dict(total.figures()), tuple(rows)


def with_stream_bits(
    totals: Mapping[str, Any], rows: Rows, bits: Mapping[str, int]
) -> tuple[dict[str, Any], Rows]:
    """`totals` and `rows` with the `bits` of each layer's record, None where it has none; the total has the header."""
    total = sum(bits.values()) + _HEADER_BITS if bits else None
    return _with_bits(totals, total), tuple(
        _with_bits(row, None if row["shares"] else bits.get(row["weight"])) for row in rows
    )


def _with_bits(metrics: Mapping[str, Any], bits: int | None) -> dict[str, Any]:
    """`metrics` with the stream next to `bit_compression`, or last."""
    names = list(metrics)
    after = names.index("bit_compression") + 1 if "bit_compression" in metrics else len(names)
    items = list(metrics.items())
    return dict([*items[:after], ("stream_bits", bits), *items[after:]])


def layer_identity(layer: Layer) -> dict[str, Any]:
    """The columns that identify a layer in a report; filters and inputs are those of one group."""
    return {
        "name": layer.name,
        "label": layer.label,
        "weight": layer.weight,
        "operator": layer.op,
        "filters": layer.filters // layer.groups,
        "inputs": layer.inputs,
        "groups": layer.groups,
        "shares": layer.shared_with,
    }
