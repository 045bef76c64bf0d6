"""Aligned selection: kernels that keep weights in units that waste no slot of an array.

A filter's weights fill the lanes of a column only if their number is a multiple of the array's rows. So they are kept
in segments: the `rows` most salient weights of a filter, then the next `rows`, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tightc.selection.ties import even_order, rotations, spread_ranks
from tightc.selection.top_k import Mask, Saliency

Costs = NDArray[np.float64]

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


def ordered_saliency(saliency: Saliency) -> Saliency:
    """Saliency of a layer's segments, the most salient first: (units,) float64.

    `saliency`: of segments, as from `segment_saliency`.
    """
    ordered: Saliency = -np.sort(-saliency.ravel())
    return ordered


def units_within_budget(
    saliencies: Sequence[Saliency], costs: Sequence[Costs], budget: float, minimums: Sequence[int]
) -> list[int]:
    """How many units to keep in each layer for the most saliency that `budget` buys: a greedy knapsack.

    `saliencies`: of each layer's units, falling, (units,) float64; `costs`: what each of them adds, at least 0, in the
    same shape; `minimums`: units to keep in each layer at any cost. Units that cost nothing are kept with those before
    them. Units are taken in the steps of `concave_steps`, by saliency per cost; after the first step that does not fit,
    steps that still fit, then single units. This misses the optimum by less than the saliency of one step, the first
    that does not fit (Dantzig 1957, "Discrete-Variable Extremum Problems"; for steps: Sinha and Zoltners 1979, "The
    Multiple-Choice Knapsack Problem"). It is optimal if all units cost the same and no minimum binds. Steps of equal
    ratio are taken from all layers in proportion.
    """
    taken = np.array(
        [_with_free(own, minimum) for own, minimum in zip(costs, minimums, strict=True)], np.int64
    )
    spent = [float(own[:count].sum()) for own, count in zip(costs, taken, strict=True)]
    left = budget * (1 + ROUNDING) - float(np.sum(spent))
    steps = [
        concave_steps(saliency[count:], own[count:])
        for saliency, own, count in zip(saliencies, costs, taken, strict=True)
    ]
    layers = np.repeat(np.arange(len(steps)), [len(own.units) for own in steps])
    ratios = [-own.saliency / own.costs for own in steps]
    order = even_order(ratios, [np.arange(len(ratio)) for ratio in ratios])
    each = np.concatenate([own.costs for own in steps])[order]
    fits = int(np.searchsorted(np.cumsum(each), left, side="right"))
    left -= float(each[:fits].sum())
    done = np.bincount(layers[order[:fits]], minlength=len(steps))
    taken += [int(own.units[:count].sum()) for own, count in zip(steps, done, strict=True)]
    while True:
        fitting = [
            i for i, own in enumerate(steps) if done[i] < len(own.units) and own.costs[done[i]] <= left
        ]
        if not fitting:
            break
        best = max(fitting, key=lambda i: steps[i].saliency[done[i]] / steps[i].costs[done[i]])
        taken[best] += steps[best].units[done[best]]
        left -= steps[best].costs[done[best]]
        done[best] += 1
    _take_parts(taken, saliencies, costs, left)
    return [int(units) for units in taken]


class Steps(NamedTuple):
    """Units of a layer in steps: the number of `units` of each, their `saliency` and their `costs`, (steps,) each."""

    units: NDArray[np.int64]
    saliency: Saliency
    costs: Costs


def concave_steps(saliency: Saliency, costs: Costs) -> Steps:
    """Units joined to steps whose saliency per cost falls: the least concave majorant of saliency over cost.

    `saliency`, `costs`: (units,) float64, at least 0, of which the first cost is not 0. A unit whose ratio is higher
    than that of the step before it joins this step, and so does one that costs nothing.
    """
    starts = np.flatnonzero(costs > 0)
    if not len(starts):
        return Steps(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    units = np.diff(np.append(starts, len(costs)))
    gains, paid = np.add.reduceat(saliency, starts), costs[starts]
    if not (gains[1:] * paid[:-1] > gains[:-1] * paid[1:]).any():
        return Steps(units, gains, paid)
    found: list[tuple[int, float, float]] = []
    for step in zip(units.tolist(), gains.tolist(), paid.tolist(), strict=True):
        while found and step[1] * found[-1][2] > found[-1][1] * step[2]:
            before = found.pop()
            step = (before[0] + step[0], before[1] + step[1], before[2] + step[2])
        found.append(step)
    joined = list(zip(*found, strict=True))
    return Steps(np.array(joined[0], np.int64), np.array(joined[1]), np.array(joined[2]))


def _with_free(costs: Costs, count: int) -> int:
    """`count` units and those behind them that cost nothing."""
    paid = np.flatnonzero(costs[count:] > 0)
    return count + int(paid[0]) if len(paid) else len(costs)


def _take_parts(
    taken: NDArray[np.int64], saliencies: Sequence[Saliency], costs: Sequence[Costs], left: float
) -> None:
    """Adds units to `taken`, (layers,), as long as `left` pays for some of a layer; of layers, the most saliency."""
    while True:
        parts = []
        for layer, own in enumerate(costs):
            count = int(np.searchsorted(np.cumsum(own[taken[layer] :]), left, side="right"))
            if count:
                behind = slice(int(taken[layer]), int(taken[layer]) + count)
                parts.append(
                    (float(saliencies[layer][behind].sum()), -layer, count, float(own[behind].sum()))
                )
        if not parts:
            return
        _, layer, count, cost = max(parts)
        taken[-layer] += count
        left -= cost
