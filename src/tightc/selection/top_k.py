"""The weights worth most: kernels on flat arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Saliency = NDArray[np.float64]
Kept = NDArray[np.bool_]


def largest(saliency: Saliency, count: int) -> Kept:
    """Marks the `count` largest: (weights,) bool. Of equal ones the later stays, so the count is exact.

    `saliency`: (weights,) float64, without NaN.
    """
    kept = np.zeros(len(saliency), bool)
    if count <= 0:
        return kept
    if count >= len(saliency):
        return ~kept
    threshold = np.partition(saliency, len(saliency) - count)[len(saliency) - count]
    kept[saliency > threshold] = True
    equal = np.flatnonzero(saliency == threshold)
    kept[equal[len(equal) - (count - int(kept.sum())) :]] = True
    return kept


def largest_with_floors(saliency: Saliency, count: int, sizes: Sequence[int], floors: Sequence[int]) -> Kept:
    """Marks the `count` largest, but of each layer at least its floor, its own largest: (weights,) bool.

    The floors come out of `count`; where they ask for more, they alone are kept. `sizes`: weights of each layer, in
    the order in which they lie in `saliency`, (weights,) float64 without NaN; `floors`: at most those. A layer that
    is crowded out of a ranking over the network is cut through: nothing that comes after it can be right.
    """
    ends = np.cumsum(sizes)
    kept = np.zeros(len(saliency), bool)
    for begin, end, floor in zip(ends - sizes, ends, floors, strict=True):
        kept[begin:end] = largest(saliency[begin:end], floor)
    others = np.flatnonzero(~kept)
    kept[others[largest(saliency[others], count - int(kept.sum()))]] = True
    return kept
