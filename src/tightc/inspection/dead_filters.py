"""Dead filters: those whose weights are all zero, or so small that they change no output."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

DEAD_BELOW = (
    1e-8  # of the layer's largest weight; float32 keeps 6e-8 of a sum, so such a weight is lost in it
)


def dead_filters(values: NDArray[Any]) -> int:
    """The number of rows of `values`, (filters, inputs), in which no magnitude is above DEAD_BELOW of the largest.

    Rows of zeros count too. `values` are real numbers: those of integers with their scales.
    """
    magnitudes = np.abs(values.astype(np.float64))
    largest = magnitudes.max(axis=1, initial=0.0)
    return int(np.count_nonzero(largest <= DEAD_BELOW * largest.max(initial=0.0)))
