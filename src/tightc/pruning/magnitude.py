"""Which weights to zero: kernels on flat arrays of magnitudes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def smallest(magnitudes: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """Marks the `count` smallest: (weights,) bool. Of equal ones the earlier goes first, so the count is exact.

    `magnitudes`: (weights,) float64.
    """
    marked = np.zeros(len(magnitudes), bool)
    marked[np.argsort(magnitudes, kind="stable")[:count]] = True
    return marked


def spare_largest(
    marked: NDArray[np.bool_], magnitudes: NDArray[np.float64], layer_sizes: list[int]
) -> NDArray[np.bool_]:
    """`marked` with the largest weight of each layer spared where all of the layer's were marked: (weights,) bool.

    `layer_sizes`: weights of each layer, in the order in which they lie in the two (weights,) arrays.
    """
    spared = marked.copy()
    ends = np.cumsum(layer_sizes)
    for begin, end in zip(ends - layer_sizes, ends, strict=True):
        if marked[begin:end].all():
            spared[begin + int(np.argmax(magnitudes[begin:end]))] = False
    return spared
