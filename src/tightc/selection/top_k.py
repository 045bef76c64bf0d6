"""The most salient weights: kernels on the weights of one layer or of several, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tightc.selection.ties import even_shares

Saliency = NDArray[np.float64]
Mask = NDArray[np.bool_]  # true for what is kept


def largest(saliencies: Sequence[Saliency], count: int) -> list[Mask]:
    """Mark the `count` largest weights of all layers: (filters, inputs) bool each.

    `saliencies`: (filters, inputs) float64 of each layer, without NaN. The count is exact: ties at the threshold are
    spread over layers and filters.
    """
    return largest_with_minimums(saliencies, count, [0] * len(saliencies))


def largest_with_minimums(saliencies: Sequence[Saliency], count: int, minimums: Sequence[int]) -> list[Mask]:
    """Mark the `count` largest weights of all layers, but at least the minimum of each: (filters, inputs) bool each.

    `saliencies`: (filters, inputs) float64 of each layer, without NaN; `minimums`: weights to keep in each layer, at
    most its size. The minimums count towards `count`; if they exceed it, only they are kept. They prevent layer
    collapse: a layer without weights cuts the network in two.
    """
    sizes = [saliency.size for saliency in saliencies]
    ends = np.cumsum(sizes)
    flat = np.concatenate([saliency.ravel() for saliency in saliencies])
    starts = _filter_starts(saliencies)
    kept = np.zeros(len(flat), bool)
    for begin, end, minimum in zip(ends - sizes, ends, minimums, strict=True):
        _keep_largest(kept, flat, np.arange(begin, end), minimum, starts)
    _keep_largest(kept, flat, np.flatnonzero(~kept), count - int(kept.sum()), starts)
    masks = np.split(kept, ends[:-1])
    return [mask.reshape(saliency.shape) for mask, saliency in zip(masks, saliencies, strict=True)]


def _filter_starts(saliencies: Sequence[Saliency]) -> NDArray[np.int64]:
    """The place of the first weight of each filter among those of all layers: (all filters,) int64."""
    lengths = np.concatenate([np.full(len(s), s.shape[1], np.int64) for s in saliencies])
    starts: NDArray[np.int64] = np.cumsum(lengths) - lengths
    return starts


def _keep_largest(
    kept: Mask, flat: Saliency, among: NDArray[np.int64], count: int, starts: NDArray[np.int64]
) -> None:
    """Mark in `kept` the `count` largest weights of `flat` at the places `among`, which rise."""
    if count <= 0:
        return
    if count >= len(among):
        kept[among] = True
        return
    values = flat[among]
    threshold = np.partition(values, len(values) - count)[len(values) - count]
    above = among[values > threshold]
    kept[above] = True
    equal = among[values == threshold]
    filters = np.searchsorted(starts, equal, side="right") - 1
    kept[equal[even_shares(filters, count - len(above))]] = True
