"""What happens on the array and in its buffers while a layer runs: counts of events, the base of the energy model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import ceil, log2

import numpy as np

from tightc.tiles.array import ArrayShape
from tightc.tiles.bounds import folds
from tightc.tiles.measures import index_bits
from tightc.tiles.packing import Packing


@dataclass(frozen=True)
class Events:
    """Counts for one layer, or for a network when added up. Operands are one byte, partial sums four.

    `macs`: multiply-accumulates done, zeros of a dense array included, empty slots of a tile not. `multiplexer_levels`:
    2:1 selections on the way of an activation to a PE. `register_bytes`: written in PEs; a PE passes on all inputs of
    its lane, whichever it picks. `lane_bytes`: put on lanes at the edge of the array. `*_buffer_bytes`: read from or
    written to that buffer. `index_bits`: selects, lane lists and column filters, read with the weights.
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

    Each vector reads a tile's distinct inputs once, puts every lane's inputs on its lane, from where they pass through
    the columns used, and adds a column's sum to the one that an earlier tile left for that filter.
    """
    levels = ceil(log2(packing.fan_in))
    tiles = packing.tiles
    weights = len(packing.slots()[0])
    area = sum(tile.area for tile in tiles)
    passed_on = sum(len(tile.inputs) * tile.columns for tile in tiles)
    first_sums = len(np.unique(np.concatenate([tile.filters for tile in tiles]))) if tiles else 0
    sums = (
        2 * sum(tile.columns for tile in tiles) - first_sums
    )  # all but a filter's first are read before they are written
    return Events(
        macs=weights * vectors,
        multiplexer_levels=weights * levels * vectors,
        register_bytes=(passed_on + _SUM_BYTES * area) * vectors + area,
        lane_bytes=sum(len(tile.inputs) for tile in tiles) * vectors,
        activation_buffer_bytes=sum(len(np.unique(tile.inputs)) for tile in tiles) * vectors,
        weight_buffer_bytes=area,
        partial_sum_buffer_bytes=sums * vectors * _SUM_BYTES,
        index_bits=index_bits(packing),
    )


def dense_ws(array: ArrayShape, filters: int, inputs: int, vectors: int) -> Events:
    """Weights stay: activations stream once per fold of filters, sums are added up over the folds of inputs."""
    macs = filters * inputs * vectors
    activations = inputs * folds(filters, array.columns) * vectors
    return Events(
        macs=macs,
        register_bytes=macs * (1 + _SUM_BYTES) + filters * inputs,
        lane_bytes=activations,
        activation_buffer_bytes=activations,
        weight_buffer_bytes=filters * inputs,
        partial_sum_buffer_bytes=(2 * folds(inputs, array.rows) - 1) * filters * vectors * _SUM_BYTES,
    )


def dense_os(array: ArrayShape, filters: int, inputs: int, vectors: int) -> Events:
    """Sums stay: activations stream once per fold of filters, weights once per fold of vectors."""
    macs = filters * inputs * vectors
    activations = inputs * vectors * folds(filters, array.columns)
    return Events(
        macs=macs,
        register_bytes=macs * (1 + 1 + _SUM_BYTES),
        lane_bytes=activations,
        activation_buffer_bytes=activations,
        weight_buffer_bytes=filters * inputs * folds(vectors, array.rows),
        partial_sum_buffer_bytes=filters * vectors * _SUM_BYTES,
    )


def dense_is(array: ArrayShape, filters: int, inputs: int, vectors: int) -> Events:
    """Activations stay: weights stream once per fold of vectors, sums are added up over the folds of inputs."""
    macs = filters * inputs * vectors
    weights = filters * inputs * folds(vectors, array.columns)
    return Events(
        macs=macs,
        register_bytes=macs * (1 + _SUM_BYTES) + inputs * vectors,
        lane_bytes=weights,
        activation_buffer_bytes=inputs * vectors,
        weight_buffer_bytes=weights,
        partial_sum_buffer_bytes=(2 * folds(inputs, array.rows) - 1) * filters * vectors * _SUM_BYTES,
    )


DENSE: dict[str, Callable[[ArrayShape, int, int, int], Events]] = {
    "ws": dense_ws,
    "os": dense_os,
    "is": dense_is,
}
