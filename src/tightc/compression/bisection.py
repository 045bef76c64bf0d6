"""The sparsities that are tried, one after the other; no models, no files."""

from __future__ import annotations

import math
from collections.abc import Callable

MOST = 100.0  # weights for each one that is kept, at most
_NEAR = 1.05  # ratio of kept weights below which two trials are not told apart
_STEP = 1.25  # more weights are kept at each step back


def sparsity_of(weights_per_kept: float) -> float:
    """The sparsity that keeps one weight of so many, to three decimals."""
    return round(1 - 1 / weights_per_kept, 3)


def bisect(is_within: Callable[[float], bool], trials: int) -> float | None:
    """The largest sparsity tried that `is_within` the drop, None where none is.

    Bisects the logarithm of all weights / kept weights between 1 and 100, so that 0.9 comes first. At most `trials`
    sparsities are tried, fewer where the last two are near each other.
    """
    low, high, best = 1.0, MOST, None
    for _ in range(trials):
        middle = math.sqrt(low * high)
        if best is not None and middle / low < math.sqrt(_NEAR):
            break
        sparsity = sparsity_of(middle)
        if is_within(sparsity):
            low, best = middle, sparsity
        else:
            high = middle
    return best


def denser(sparsity: float) -> float:
    """The next sparsity back, which keeps a quarter more weights; at least 0."""
    return max(0.0, round(1 - (1 - sparsity) * _STEP, 3))
