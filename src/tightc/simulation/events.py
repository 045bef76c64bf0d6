"""What happens on the array and in its buffers while a layer runs: counts of events, the base of the energy model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import ceil, log2

import numpy as np

from tightc.tiles.array import ArrayShape
from tightc.tiles.packing import Packing


@dataclass(frozen=True)
class Events:
    """Counts for one layer, or for a network when added up. Operands are one byte, partial sums four.

    `macs`: multiply-accumulates done, zeros of a dense array included, empty slots of a tile not. `multiplexer_levels`:
    2:1 selections on the way of an activation to a PE. `register_bytes`: written in PEs. `lane_bytes`: activations put
    on lanes. `*_buffer_bytes`: read from or written to that buffer. `index_bits`: selects read with the weights.
    """

    macs: int = 0
    multiplexer_levels: int = 0
    register_bytes: int = 0
    lane_bytes: int = 0
    activation_buffer_bytes: int = 0
    weight_buffer_bytes: int = 0
    partial_sum_buffer_bytes: int = 0
    index_bits: int = 0

    def __add__(self, other: Events) -> Events:
        return Events(
            **{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        )


_SUM_BYTES = 4


def packed_events(packing: Packing, vectors: int) -> Events:
    """Weight-stationary tiles. Empty slots are gated: a PE without a weight passes its sum on, unchanged.

    Each vector reads a tile's distinct inputs once, puts every lane's inputs on its lane, and adds a column's sum to
    the one that an earlier tile left for that filter.
    """
    levels = ceil(log2(packing.fan_in))
    weights = len(packing.slots()[0])
    columns = [tile.columns for tile in packing.tiles]
    distinct = sum(len(np.unique(tile.inputs)) for tile in packing.tiles)
    lane_inputs = sum(len(tile.inputs) for tile in packing.tiles)
    area = sum(tile.area for tile in packing.tiles)
    first_sums = (
        len(np.unique(np.concatenate([tile.filters for tile in packing.tiles]))) if packing.tiles else 0
    )
    sums = (
        2 * sum(columns) - first_sums
    ) * vectors  # every column writes, all but a filter's first one read before
    return Events(
        macs=weights * vectors,
        multiplexer_levels=weights * levels * vectors,
        register_bytes=area * vectors * (1 + _SUM_BYTES) + area,
        lane_bytes=lane_inputs * vectors,
        activation_buffer_bytes=distinct * vectors,
        weight_buffer_bytes=area,
        partial_sum_buffer_bytes=sums * _SUM_BYTES,
        index_bits=area * levels,
    )


def dense_ws(array: ArrayShape, filters: int, inputs: int, vectors: int) -> Events:
    """Weights stay: activations stream once per fold of filters, sums are added up over the folds of inputs."""
    row_folds, column_folds = -(-inputs // array.rows), -(-filters // array.columns)
    return _dense(
        filters * inputs * vectors,
        activations=inputs * column_folds * vectors,
        weights=filters * inputs,
        sums=(2 * row_folds - 1) * filters * vectors,
    )


def dense_os(array: ArrayShape, filters: int, inputs: int, vectors: int) -> Events:
    """Sums stay: activations stream once per fold of filters, weights once per fold of vectors."""
    vector_folds, column_folds = -(-vectors // array.rows), -(-filters // array.columns)
    return _dense(
        filters * inputs * vectors,
        activations=inputs * vectors * column_folds,
        weights=filters * inputs * vector_folds,
        sums=filters * vectors,
    )


def dense_is(array: ArrayShape, filters: int, inputs: int, vectors: int) -> Events:
    """Activations stay: weights stream once per fold of vectors, sums are added up over the folds of inputs."""
    row_folds, vector_folds = -(-inputs // array.rows), -(-vectors // array.columns)
    return _dense(
        filters * inputs * vectors,
        activations=inputs * vectors,
        weights=filters * inputs * vector_folds,
        sums=(2 * row_folds - 1) * filters * vectors,
    )


DENSE: dict[str, Callable[[ArrayShape, int, int, int], Events]] = {
    "ws": dense_ws,
    "os": dense_os,
    "is": dense_is,
}


def _dense(macs: int, *, activations: int, weights: int, sums: int) -> Events:
    return Events(
        macs=macs,
        register_bytes=macs * (1 + _SUM_BYTES) + weights,
        lane_bytes=activations,
        activation_buffer_bytes=activations,
        weight_buffer_bytes=weights,
        partial_sum_buffer_bytes=sums * _SUM_BYTES,
    )
