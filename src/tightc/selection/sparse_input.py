"""Selection from weights that are zero already in part: units of them hold fewer weights than they have places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.selection.aligned import ROUNDING
from tightc.selection.top_k import AnySaliency, Mask, Saliency

_LEAST = float(np.finfo(np.float64).tiny)
_TRIALS = 16  # of a bisection
_NEAR = 1e-3  # of the weights that may stay: so few fewer are near enough


def above_zeros(saliency: Saliency, weights: NDArray[Any]) -> Saliency:
    """`saliency` of `weights`, (filters, inputs) float64, of which only that of a zero is zero."""
    return np.where(weights != 0, np.maximum(saliency, _LEAST), 0.0)


def keep_nonzeros(
    keep: Callable[[float], list[Mask]], saliencies: Sequence[AnySaliency], fraction: float
) -> list[Mask]:
    """What `keep` keeps, (filters, inputs) bool each, so that a `fraction` of all weights is left and not zero.

    `keep`: the masks for a fraction of the places, which counts zeros as weights. `saliencies`: of each layer's
    weights, (filters, inputs) float64; that of a zero is zero. Where zeros are kept, more places are: as many as leave
    no more weights than the `fraction`, by bisection.
    """
    masks = keep(fraction)
    allowed = fraction * sum(saliency.size for saliency in saliencies) * (1 + ROUNDING)
    left, zeros = _counts(masks, saliencies)
    if not zeros:
        return masks
    whole = [np.ones(saliency.shape, bool) for saliency in saliencies]
    if _counts(whole, saliencies)[0] <= allowed:
        return whole
    low, high = fraction, 1.0
    for _ in range(_TRIALS):
        if left >= (1 - _NEAR) * allowed:
            break
        middle = (low + high) / 2
        found = keep(middle)
        count = _counts(found, saliencies)[0]
        if count > allowed:
            high = middle
        else:
            low, left, masks = middle, count, found
    return masks


def _counts(masks: Sequence[Mask], saliencies: Sequence[AnySaliency]) -> tuple[int, int]:
    """How many weights and how many zeros the `masks` keep."""
    weights = kept = 0
    for mask, saliency in zip(masks, saliencies, strict=True):
        weights += int(np.count_nonzero(mask & (np.asarray(saliency) != 0)))
        kept += int(np.count_nonzero(mask))
    return weights, kept - weights
