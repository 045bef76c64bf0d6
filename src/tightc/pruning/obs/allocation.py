"""Allocation of sparsity to layers: the layer's loss of a weight, converted to the loss of the network.

The KL divergence from the dense network's outputs is measured with one layer pruned at a time, at a few sparsities.
Between them it is interpolated along the layer's own loss, of which it is nearly a power. Weights of all layers then
share one scale, and keeping the most salient solves what Frantar and Alistarh ("SPDY", ICML 2022) solve by dynamic
programming over a grid. Divergences of layers are taken as additive, and each is made convex in the number of zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SPARSITIES = (0.3, 0.5, 0.7, 0.85, 0.95)  # at which each layer is measured
_KNOTS = 2048
_LEAST = 1e-12  # a smaller divergence is rounding
_TIE_BREAK = (
    1e-6  # relative rise along weights of equal saliency, which keeps them in the order of their losses
)

Floats = NDArray[np.float64]


def network_saliency(losses: Floats, sparsities: Sequence[float], divergences: Sequence[float]) -> Floats:
    """Saliency of each weight of a layer for the network: the shape of `losses`, float64, in nats.

    `losses`: what removing each weight adds to the error of the layer, in any shape. `divergences`: of the network's
    outputs with the layer pruned to each of `sparsities`, which rise and lie between 0 and 1. The order of the weights
    is that of their losses.
    """
    order = np.argsort(losses, axis=None, kind="stable")
    total = np.cumsum(losses.ravel()[order])
    saliency = np.zeros(losses.size)
    if total[-1] > 0:
        knots = _knots(len(total))
        saliency[order] = _convex_slopes(knots, _divergence_at(knots, total, sparsities, divergences))
    return saliency.reshape(losses.shape)


def _knots(weights: int) -> Floats:
    """Numbers of zeros, from none to all `weights`: (knots,) float64."""
    knots = np.unique(np.linspace(0, weights, min(weights, _KNOTS) + 1).round().astype(np.int64))
    return knots.astype(np.float64)


def _divergence_at(
    knots: Floats, total: Floats, sparsities: Sequence[float], divergences: Sequence[float]
) -> Floats:
    """The divergence at each of `knots` zeros, interpolated: (knots,) float64.

    `total`: (weights,) float64, the layer's loss after so many zeros.
    """
    counts = knots.astype(np.int64)
    smallest = np.finfo(np.float64).tiny
    measured = total[np.array([max(1, round(sparsity * len(total))) for sparsity in sparsities]) - 1]
    if measured[-1] <= 0:
        return np.where(counts == 0, 0.0, total[np.maximum(counts, 1) - 1])
    xs = np.log(measured[measured > 0])
    ys = np.log(np.maximum.accumulate(np.maximum(divergences, _LEAST)))[measured > 0]
    x = np.log(np.maximum(total[np.maximum(counts, 1) - 1], smallest))
    y = np.interp(x, xs, ys)
    # extrapolate in proportion to the loss, and above at least as steeply as at the end
    y = np.where(x < xs[0], ys[0] + x - xs[0], y)
    run = float(xs[-1] - xs[-2]) if len(xs) > 1 else 0.0
    slope = max(1.0, float(ys[-1] - ys[-2]) / run) if run > 0 else 1.0
    y = np.where(x > xs[-1], ys[-1] + slope * (x - xs[-1]), y)
    return np.where(counts == 0, 0.0, np.exp(y))


def _convex_slopes(knots: Floats, values: Floats) -> Floats:
    """How much each next zero adds on the lower convex hull of `values` over `knots`: (weights,) float64, rising."""
    hull: list[int] = []
    for i in range(len(knots)):
        while len(hull) > 1 and _is_above(hull[-2], hull[-1], i, knots, values):
            hull.pop()
        hull.append(i)
    lengths = np.diff(knots[hull])
    slopes = np.repeat(np.diff(values[hull]) / lengths, lengths.astype(np.int64))
    return slopes * np.linspace(1.0, 1.0 + _TIE_BREAK, len(slopes))


def _is_above(one: int, two: int, three: int, knots: Floats, values: Floats) -> bool:
    """Whether point `two` lies on or above the line from point `one` to point `three`."""
    left = (values[two] - values[one]) * (knots[three] - knots[two])
    return bool(left >= (values[three] - values[two]) * (knots[two] - knots[one]))
