"""What a weight is worth to the network: its loss in the layer, in units of what the network's outputs lose by it.

How far the outputs move (Kullback-Leibler divergence from those of the dense network) is measured with one layer pruned
at a time, at a few sparsities; between them it is interpolated along the layer's own loss, of which it is nearly a
power. Weights of all layers then have one scale, and keeping those worth most solves what Frantar and Alistarh
("SPDY", ICML 2022) solve by dynamic programming over a grid: divergences of layers are taken to add up, and each is
made convex in the number of zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

GRID = (0.3, 0.5, 0.7, 0.85, 0.95)  # sparsities at which a layer is tried
_KNOTS = 2048
_LEAST = 1e-12  # below this a divergence is rounding
_ORDERED = (
    1e-6  # by how much the last weight of a layer is worth more than the first, where all cost the same
)

Reals = NDArray[np.float64]


def network_worths(losses: Reals, shares: Sequence[float], divergences: Sequence[float]) -> Reals:
    """What each weight of a layer is worth to the network: the shape of `losses`, float64, in nats.

    `losses`: what each adds to the error of the layer, in any shape; `divergences`: of the outputs, with the `shares`
    of least loss pruned, rising and above 0 and below 1. Weights keep the order of their losses.
    """
    order = np.argsort(losses, axis=None, kind="stable")
    total = np.cumsum(losses.ravel()[order])
    worths = np.zeros(losses.size)
    if total[-1] > 0:
        worths[order] = _rises(_curve(total, shares, divergences))
    return worths.reshape(losses.shape)


def _curve(total: Reals, shares: Sequence[float], divergences: Sequence[float]) -> tuple[Reals, Reals]:
    """Numbers of zeros, from 0 to all, and the divergence at each.

    `total`: (weights,) the layer's loss after so many zeros.
    """
    knots = np.unique(np.linspace(0, len(total), min(len(total), _KNOTS) + 1).round().astype(np.int64))
    floor = np.finfo(np.float64).tiny
    lost = total[np.array([max(1, round(share * len(total))) for share in shares]) - 1]
    if lost[-1] <= 0:
        return knots.astype(np.float64), np.where(knots == 0, 0.0, total[np.maximum(knots, 1) - 1])
    xs = np.log(lost[lost > 0])
    ys = np.log(np.maximum.accumulate(np.maximum(divergences, _LEAST)))[lost > 0]
    x = np.log(np.maximum(total[np.maximum(knots, 1) - 1], floor))
    y = np.interp(x, xs, ys)
    # outside of what was measured: in proportion to the loss, and above at least as steeply as at the end
    y = np.where(x < xs[0], ys[0] + x - xs[0], y)
    run = float(xs[-1] - xs[-2]) if len(xs) > 1 else 0.0
    steep = max(1.0, float(ys[-1] - ys[-2]) / run) if run > 0 else 1.0
    y = np.where(x > xs[-1], ys[-1] + steep * (x - xs[-1]), y)
    return knots.astype(np.float64), np.where(knots == 0, 0.0, np.exp(y))


def _rises(curve: tuple[Reals, Reals]) -> Reals:
    """How much each next zero adds on the lower convex hull of a curve: (weights,) float64, rising."""
    hull: list[int] = []
    counts, values = curve
    for i in range(len(counts)):
        while len(hull) > 1 and _above(hull[-2], hull[-1], i, counts, values):
            hull.pop()
        hull.append(i)
    lengths = np.diff(counts[hull])
    slopes = np.repeat(np.diff(values[hull]) / lengths, lengths.astype(np.int64))
    return slopes * np.linspace(1.0, 1.0 + _ORDERED, len(slopes))


def _above(one: int, two: int, three: int, counts: Reals, values: Reals) -> bool:
    """Whether the middle point lies on or above the line between the others."""
    left = (values[two] - values[one]) * (counts[three] - counts[two])
    return bool(left >= (values[three] - values[two]) * (counts[two] - counts[one]))
