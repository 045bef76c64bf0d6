"""The most salient weights: kernels on flat arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Saliency = NDArray[np.float64]
Mask = NDArray[np.bool_]  # true for what is kept


def largest(saliency: Saliency, count: int) -> Mask:
    """Mark the `count` largest: (weights,) bool. Ties go to the later weight, so the count is exact.

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


def largest_with_minimums(
    saliency: Saliency, count: int, sizes: Sequence[int], minimums: Sequence[int]
) -> Mask:
    """Mark the `count` largest of all layers, but at least the minimum of each layer: (weights,) bool.

    `saliency`: (weights,) float64, without NaN, layer after layer; `sizes`: weights of each layer; `minimums`: weights
    to keep in each layer, at most its size. The minimums count towards `count`; if they exceed it, only they are kept.
    They prevent layer collapse: a layer without weights cuts the network in two.
    """
    ends = np.cumsum(sizes)
    kept = np.zeros(len(saliency), bool)
    for begin, end, minimum in zip(ends - sizes, ends, minimums, strict=True):
        kept[begin:end] = largest(saliency[begin:end], minimum)
    others = np.flatnonzero(~kept)
    kept[others[largest(saliency[others], count - int(kept.sum()))]] = True
    return kept
