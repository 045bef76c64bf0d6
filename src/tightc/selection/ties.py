"""Ties: equal saliencies are spread evenly over layers, filters and inputs, by their places alone; kernels.

Without this, the order in memory would decide, and of weights that are all equal one layer would lose everything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

_GOLDEN = 40503  # 65536 / golden ratio: its multiples modulo 65536 are spread evenly however many there are
_MODULUS = 65536


def spread_ranks(count: int) -> Numbers:
    """A permutation of 0 to `count` - 1 in which any first ranks lie evenly over the places: (count,) int64."""
    places = np.arange(count, dtype=np.int64)
    order = np.lexsort((places, (places + 1) * _GOLDEN % _MODULUS))
    ranks = np.empty(count, np.int64)
    ranks[order] = places
    return ranks


def rotations(counts: Numbers) -> Numbers:
    """A start for each filter among its `counts` places, evenly spread over the filters: (filters,) int64."""
    filters = np.arange(len(counts), dtype=np.int64)
    return filters * _GOLDEN % _MODULUS * counts // _MODULUS


def tie_shares(ties: Numbers, count: int) -> tuple[Numbers, Numbers]:
    """How many of its equal weights each filter keeps, and from which place on: two (filters,) int64.

    `ties`: (filters,) int64, how many each filter has, over all layers; `count`: how many are kept. Filters and layers
    keep as many as their shares say, to within one. Those of a filter are adjacent, which keeps the subwords of a
    weight together, and start at another place in each filter.
    """
    used = np.flatnonzero(ties)
    taken, starts = np.zeros_like(ties), np.zeros_like(ties)
    if len(used):
        ends = np.cumsum(ties[used])
        taken[used] = np.diff(_shares(ends, count), prepend=0)
        starts[used] = rotations(ties[used])
    return taken, starts


def _shares(ends: Numbers, count: int) -> Numbers:
    """ends * count // ends[-1], also where the product exceeds int64."""
    total = int(ends[-1])
    if total * count < 2**63:
        return ends * count // total
    return np.array([int(end) * count // total for end in ends], np.int64)


def marked_places(
    tied: NDArray[np.bool_], ties: Numbers, taken: Numbers, starts: Numbers
) -> NDArray[np.bool_]:
    """Mark of the `tied` weights those that `tie_shares` says: (filters, inputs) bool.

    `ties`, `taken`, `starts`: (filters,) int64.
    """
    rows, _ = np.nonzero(tied)
    firsts = np.cumsum(ties) - ties
    place = (np.arange(len(rows)) - firsts[rows] - starts[rows]) % ties[rows]
    marked = np.zeros(tied.shape, bool)
    marked[tied] = place < taken[rows]
    return marked


def tie_positions(values: NDArray[np.float64], ranks: Numbers) -> NDArray[np.float64]:
    """Where each value stands among the values equal to it, above 0 and below 1: (values,) float64.

    `ranks`: (values,) int64, their order among equals. Values of several layers with equal saliency that are sorted by
    this come from all layers in proportion.
    """
    order = np.lexsort((ranks, values))
    ordered = values[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sizes = np.diff(np.append(starts, len(values)))
    positions = np.empty(len(values))
    positions[order] = (np.arange(len(values)) - np.repeat(starts, sizes) + 0.5) / np.repeat(sizes, sizes)
    return positions


def even_order(values: Sequence[NDArray[np.float64]], ranks: Sequence[Numbers]) -> Numbers:
    """The order of the values of all layers, the smallest first, in which equal ones alternate between layers.

    `values`: (values,) float64 of each layer; `ranks`: (values,) int64, their order among equals within the layer.
    Gives indices into all values, layer after layer: (all values,) int64.
    """
    positions = [tie_positions(one, rank) for one, rank in zip(values, ranks, strict=True)]
    order: Numbers = np.lexsort((np.concatenate(positions), np.concatenate(values)))
    return order
