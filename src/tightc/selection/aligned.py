"""Whole lanes and whole tiles: kernels that keep weights in units of which an array wastes nothing.

A filter's weights fill the lanes of a column only where their number is a multiple of the array's rows. So they are
kept in parts: the `rows` weights of a filter worth most, then the next `rows`, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tightc.selection.top_k import Kept, Saliency

ROUNDING = 1e-12  # a share such as 1 - 0.9 or 1 / 49 is a little less than what it stands for, and has to buy as much


def segment_saliency(saliency: Saliency, rows: int) -> Saliency:
    """What each filter's parts are worth, best first: (filters, ceil(inputs / rows)) float64, falling along a filter.

    `saliency`: (filters, inputs) float64. The last part of a filter may have fewer than `rows` weights.
    """
    filters, inputs = saliency.shape
    parts = -(-inputs // rows)
    ordered = np.zeros((filters, parts * rows))
    ordered[:, :inputs] = -np.sort(-saliency, axis=1)
    worths: Saliency = ordered.reshape(filters, parts, rows).sum(axis=2)
    return worths


def keep_segments(saliency: Saliency, rows: int, parts: NDArray[np.int64]) -> Kept:
    """Keeps of each filter its best `parts` * `rows` weights: (filters, inputs) bool; of equal ones the first.

    `saliency`: (filters, inputs) float64; `parts`: (filters,) int64.
    """
    order = np.argsort(-saliency, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(saliency.shape[1]), order.shape), axis=1)
    kept: Kept = rank < (parts * rows)[:, None]
    return kept


def best_segments(worths: Saliency, count: int) -> NDArray[np.int64]:
    """How many parts each filter has among the `count` best of its layer: (filters,) int64.

    `worths`: as `segment_saliency` gives them. Of equal ones the earlier part counts, so that no filter skips one.
    """
    filters, _parts = worths.shape
    by_part = np.argsort(-worths.T.ravel(), kind="stable")[:count]
    return np.bincount(by_part % filters, minlength=filters) if count else np.zeros(filters, np.int64)


def unit_saliency(worths: Saliency, size: int) -> Saliency:
    """The layer's parts, best first, in units of `size` parts: what each unit is worth, (units,) float64, falling."""
    ordered = -np.sort(-worths.ravel())
    units = -(-len(ordered) // size)
    filled = np.zeros(units * size)
    filled[: len(ordered)] = ordered
    summed: Saliency = filled.reshape(units, size).sum(axis=1)
    return summed


def spend(
    worths: Sequence[Saliency], costs: Sequence[float], budget: float, floors: Sequence[int]
) -> list[int]:
    """How many units to take of each layer, first to last, for the most worth that `budget` buys.

    `worths`: for each layer the worth of its units, falling, (units,) float64; `costs`: of a unit of each layer, above
    0; `floors`: units that a layer gets whatever they cost. Units are taken by worth per cost, and those that still
    fit after the first that does not. As worths fall, that is optimal where all units cost the same and the floors
    bind nothing; else it misses the optimum by less than the worth of one unit (Dantzig 1957, "Discrete-Variable
    Extremum Problems": the relaxed knapsack splits one unit at most).
    """
    taken = np.array(floors, np.int64)
    left = budget * (1 + ROUNDING) - float(np.dot(taken, costs))
    layers = np.concatenate(
        [np.full(len(w) - f, i) for i, (w, f) in enumerate(zip(worths, floors, strict=True))]
    )
    ratios = np.concatenate([w[f:] / c for w, f, c in zip(worths, floors, costs, strict=True)])
    order = np.argsort(-ratios, kind="stable")
    each = np.asarray(costs, np.float64)[layers[order]]
    fits = int(np.searchsorted(np.cumsum(each), left, side="right"))
    taken += np.bincount(layers[order[:fits]], minlength=len(worths))
    left -= float(each[:fits].sum())
    while True:
        open_layers = [i for i, w in enumerate(worths) if taken[i] < len(w) and costs[i] <= left]
        if not open_layers:
            return [int(units) for units in taken]
        best = max(open_layers, key=lambda i: worths[i][taken[i]] / costs[i])
        taken[best] += 1
        left -= costs[best]
