"""The sparsities that are tried, one after the other; no models, no files."""

from __future__ import annotations

import math
from collections.abc import Callable

_MOST = 100.0  # weights for each one that is kept, at most
_NEAR = 1.025  # ratio of kept weights below which two trials are not told apart
_STEP = 1.25  # so many times the weights are kept at a step back, and so many times fewer at a step on


def bisect(is_within: Callable[[float], bool], trials: int) -> float | None:
    """The largest sparsity tried that `is_within` the drop, None where none is.

    Bisects the logarithm of all weights / kept weights between 1 and 100, so that 0.9 comes first. At most `trials`
    sparsities are tried, fewer where two are near each other. After the first, if it is not within the drop, 0 is tried
    too: where even that is not, no other is.
    """
    low, high, best = 1.0, _MOST, None
    for number in range(trials):
        middle = math.sqrt(low * high)
        if middle / low < _NEAR:
            break
        sparsity = round(1 - 1 / middle, 4)
        if is_within(sparsity):
            low, best = middle, sparsity
        elif number == 0 and not is_within(0.0):
            return None
        else:
            high = middle
    return best


def sparser(sparsity: float) -> float:
    """The next sparsity on, which keeps a fifth fewer weights."""
    return round(1 - (1 - sparsity) / _STEP, 4)


def denser(sparsity: float) -> float:
    """The next sparsity back, which keeps a quarter more weights; at least 0."""
    return max(0.0, round(1 - (1 - sparsity) * _STEP, 4))
