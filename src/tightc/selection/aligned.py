"""Aligned selection: kernels that keep weights in units that waste no slot of an array.

A filter's weights fill the lanes of a column only if their number is a multiple of the array's rows. So they are kept
in segments: the `rows` most salient weights of a filter, then the next `rows`, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tightc.selection.ties import even_order, rotations, spread_ranks
from tightc.selection.top_k import Mask, Saliency

ROUNDING = (
    1e-12  # relative: 1 - 0.9 or 1 / 49 is a little too small, and must buy as much as the exact number
)


def segment_saliency(saliency: Saliency, rows: int) -> Saliency:
    """Saliency of each filter's segments: (filters, ceil(inputs / rows)) float64, falling along a filter.

    `saliency`: (filters, inputs) float64. The last segment of a filter may have fewer than `rows` weights.
    """
    filters, inputs = saliency.shape
    segments = -(-inputs // rows)
    ordered = np.zeros((filters, segments * rows))
    ordered[:, :inputs] = -np.sort(-saliency, axis=1)
    summed: Saliency = ordered.reshape(filters, segments, rows).sum(axis=2)
    return summed


def keep_segments(saliency: Saliency, rows: int, segments: NDArray[np.int64]) -> Mask:
    """Keep the `segments` * `rows` most salient weights of each filter: (filters, inputs) bool.

    `saliency`: (filters, inputs) float64; `segments`: (filters,) int64. Ties go to the first, counted from another
    input in each filter, so that no input is read by all of them and none by nobody.
    """
    filters, inputs = saliency.shape
    places = np.broadcast_to(np.arange(inputs), (filters, inputs))
    first = rotations(np.full(filters, inputs))[:, None]
    rotated = (places + first) % inputs
    order = np.argsort(-np.take_along_axis(saliency, rotated, axis=1), axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, np.take_along_axis(rotated, order, axis=1), places, axis=1)
    kept: Mask = rank < (segments * rows)[:, None]
    return kept


def best_segments(saliency: Saliency, count: int) -> NDArray[np.int64]:
    """How many of the `count` most salient segments of a layer each filter has: (filters,) int64.

    `saliency`: of segments, as from `segment_saliency`. Ties go to the earlier segment, so that no filter skips one.
    Among filters they are spread.
    """
    filters, segments = saliency.shape
    by_segment = np.lexsort(
        (
            np.tile(spread_ranks(filters), segments),
            np.repeat(np.arange(segments), filters),
            -saliency.T.ravel(),
        )
    )[:count]
    return np.bincount(by_segment % filters, minlength=filters) if count else np.zeros(filters, np.int64)


def unit_saliency(saliency: Saliency, size: int) -> Saliency:
    """Saliency of a layer's units, each of `size` segments: (units,) float64, falling.

    `saliency`: of segments, as from `segment_saliency`.
    """
    ordered = -np.sort(-saliency.ravel())
    units = -(-len(ordered) // size)
    filled = np.zeros(units * size)
    filled[: len(ordered)] = ordered
    summed: Saliency = filled.reshape(units, size).sum(axis=1)
    return summed


def units_within_budget(
    saliencies: Sequence[Saliency], costs: Sequence[float], budget: float, minimums: Sequence[int]
) -> list[int]:
    """How many units to keep in each layer for the most saliency that `budget` buys: a greedy knapsack.

    `saliencies`: of each layer's units, falling, (units,) float64; `costs`: of one unit of each layer, above 0;
    `minimums`: units to keep in each layer at any cost. Units are taken by saliency per cost; after the first that does
    not fit, those that still fit. This is optimal if all units cost the same and no minimum binds. Otherwise it misses
    the optimum by less than one unit (Dantzig 1957, "Discrete-Variable Extremum Problems"). Units of equal ratio are
    taken from all layers in proportion.
    """
    taken = np.array(minimums, np.int64)
    left = budget * (1 + ROUNDING) - float(np.dot(taken, costs))
    layers = np.concatenate(
        [np.full(len(s) - m, i) for i, (s, m) in enumerate(zip(saliencies, minimums, strict=True))]
    )
    ratios = [-s[m:] / c for s, m, c in zip(saliencies, minimums, costs, strict=True)]
    order = even_order(ratios, [np.arange(len(ratio)) for ratio in ratios])
    each = np.asarray(costs, np.float64)[layers[order]]
    fits = int(np.searchsorted(np.cumsum(each), left, side="right"))
    taken += np.bincount(layers[order[:fits]], minlength=len(saliencies))
    left -= float(each[:fits].sum())
    while True:
        open_layers = [i for i, s in enumerate(saliencies) if taken[i] < len(s) and costs[i] <= left]
        if not open_layers:
            return [int(units) for units in taken]
        best = max(open_layers, key=lambda i: saliencies[i][taken[i]] / costs[i])
        taken[best] += 1
        left -= costs[best]
