"""How far trials prune, one after the other; no models, no files.

A factor is weights / kept weights, or a gain; 1 prunes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

MOST = 100.0  # weights for each one that is kept, at most
_NEAR = 1.025  # ratio of factors below which two trials are not told apart
_STEP = 1.25  # between the factors of two full trainings


def bisect(is_within: Callable[[float], bool], trials: int, most: float = MOST) -> float | None:
    """The largest factor tried that `is_within` the drop, None where none is.

    Bisects the logarithm of the factor between 1 and `most`, so that 10 comes first with 100. At most `trials` factors
    are tried, fewer where two are near each other. After the first, if it is not within the drop, 1 is tried too: where
    even that is not, no other is.
    """
    if math.sqrt(most) < _NEAR:  # nothing to gain; the trial of 1 says what remains
        is_within(1.0)
        return None
    low, high, best = 1.0, most, None
    for number in range(trials):
        middle = math.sqrt(low * high)
        if middle / low < _NEAR:
            break
        if is_within(middle):
            low = best = middle
        elif number == 0 and not is_within(1.0):
            return None
        else:
            high = middle
    return best


def further(factor: float) -> float:
    """The next factor on: a fifth fewer weights are kept."""
    return factor * _STEP


def nearer(factor: float) -> float:
    """The next factor back: a quarter more weights are kept; at least 1."""
    return max(1.0, factor / _STEP)
