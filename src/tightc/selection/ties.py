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


def even_shares(filters: Numbers, count: int) -> NDArray[np.bool_]:
    """Mark `count` of equal weights, as many in each filter and layer as their shares say, to within one: (weights,).

    `filters`: (weights,) int64, the filter of each weight, rising over all layers. Those of a filter are adjacent,
    which keeps the subwords of a weight together, and start at another place in each filter.
    """
    _, firsts, sizes = np.unique(filters, return_index=True, return_counts=True)
    ends = np.cumsum(sizes)
    taken = np.diff(ends * count // len(filters), prepend=0)
    place = np.arange(len(filters)) - np.repeat(firsts, sizes)
    place = (place - np.repeat(rotations(sizes), sizes)) % np.repeat(sizes, sizes)
    marked: NDArray[np.bool_] = place < np.repeat(taken, sizes)
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
