"""The fewest cycles in which layers keep so much saliency, whatever weights are chosen and however they are packed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def least_cycles(
    saliency: Sequence[NDArray[np.float64]], pass_cycles: Sequence[int], slots: int, needed: float
) -> float:
    """Cycles that layers take at least where the weights that they keep have the `needed` saliency together.

    `saliency`: of the weights of each layer, any shape, at least 0. `pass_cycles`: of one pass of each layer, however
    few weights it holds. `slots`: weights that a pass holds. Every layer takes one pass at least, which its best
    weights fill. Further weights go by saliency over cycles, and the last in part: no choice of passes takes fewer.
    """
    best = [np.sort(layer, axis=None)[::-1] for layer in saliency]
    kept = sum(float(layer[:slots].sum()) for layer in best)
    gains = np.concatenate([layer[slots:] for layer in best])
    costs = np.repeat(np.array(pass_cycles) / slots, [max(0, len(layer) - slots) for layer in best])
    counting = np.flatnonzero(gains)
    order = counting[np.argsort(-gains[counting] / costs[counting], kind="stable")]
    reached = np.concatenate([[kept], kept + np.cumsum(gains[order])])
    spent = np.concatenate([[0.0], np.cumsum(costs[order])])
    return float(sum(pass_cycles) + np.interp(needed, reached, spent))
