"""The most salient weights: kernels on the weights of one layer or of several, a block of filters at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.selection.ties import Numbers, marked_places, tie_shares

Saliency = NDArray[np.float64]
Mask = NDArray[np.bool_]  # true for what is kept

_BLOCK = 2**20  # weights that are looked at together
_COLLECTED = 2**22  # values that are sorted in memory
_FEW = 2**16  # values of which the largest are kept while they are read
_RADIX = 16  # bits of a float64 that one pass over the values decides


class SaliencyBlocks:
    """The saliency of a layer, (filters, inputs) float64, computed a block of filters at a time.

    `load` reads the layer and returns a function: (first filter, last filter + 1) gives their saliency.
    """

    def __init__(self, shape: tuple[int, int], load: Callable[[], Callable[[int, int], Saliency]]) -> None:
        self.shape = shape
        self.size = shape[0] * shape[1]
        self._load = load

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self._load()(0, len(self)), dtype)

    def times(self, flags: Mask, factor: float) -> SaliencyBlocks:
        """The same with the saliency of the weights in `flags`, (filters, inputs), multiplied by `factor`."""

        def load() -> Callable[[int, int], Saliency]:
            rows = self._load()
            return lambda first, last: np.where(flags[first:last], factor, 1.0) * rows(first, last)

        return SaliencyBlocks(self.shape, load)

    def blocks(self) -> Iterator[tuple[int, Saliency]]:
        """(the first filter, the saliency) of each block."""
        rows = self._load()
        step = max(1, _BLOCK // max(1, self.shape[1]))
        for first in range(0, len(self), step):
            yield first, rows(first, min(len(self), first + step))


AnySaliency = Saliency | SaliencyBlocks


@dataclass(frozen=True)
class KeptWeights:
    """The weights of a layer that are kept: all above a `threshold`, and of those equal to it some of each filter.

    `ties`, `taken`, `starts`: (filters,) int64, how many equal ones a filter has, keeps, and from which place on.
    `earlier`: what was kept before, of which nothing counts.
    """

    saliency: AnySaliency
    threshold: float
    ties: Numbers
    taken: Numbers
    starts: Numbers
    earlier: KeptWeights | None = None

    def mask(self) -> Mask:
        """All that is kept: (filters, inputs) bool."""
        mask = np.empty(self.saliency.shape, bool)
        for first, block in _blocks(self.saliency):
            mask[first : first + len(block)] = self.kept(first, block)
        return mask

    def kept(self, first: int, block: Saliency) -> Mask:
        """The part of the mask for a `block` of saliencies whose first filter is `first`."""
        open_ones = np.ones(block.shape, bool) if self.earlier is None else ~self.earlier.kept(first, block)
        kept: Mask = (block > self.threshold) & open_ones
        rows = slice(first, first + len(block))
        if self.taken[rows].any():
            tied = (block == self.threshold) & open_ones
            kept |= marked_places(tied, self.ties[rows], self.taken[rows], self.starts[rows])
        return kept | ~open_ones


def largest(saliencies: Sequence[Saliency], count: int) -> list[Mask]:
    """Mark the `count` largest weights of all layers: (filters, inputs) bool each.

    `saliencies`: (filters, inputs) float64 of each layer, without NaN. The count is exact: ties at the threshold are
    spread over layers and filters.
    """
    return largest_with_minimums(saliencies, count, [0] * len(saliencies))


def largest_with_minimums(saliencies: Sequence[Saliency], count: int, minimums: Sequence[int]) -> list[Mask]:
    """As `choose_largest`, as masks: (filters, inputs) bool each."""
    return [kept.mask() for kept in choose_largest(saliencies, count, minimums)]


def choose_largest(
    saliencies: Sequence[AnySaliency], count: int, minimums: Sequence[int]
) -> list[KeptWeights]:
    """Keep the `count` largest weights of all layers, but at least the minimum of each.

    `saliencies`: (filters, inputs) float64 of each layer, at least 0, without NaN; `minimums`: weights to keep in each
    layer, at most its size. The minimums count towards `count`; if they exceed it, only they are kept. They prevent
    layer collapse: a layer without weights cuts the network in two.
    """
    least = [_choose([_Open(own)], minimum)[0] for own, minimum in zip(saliencies, minimums, strict=True)]
    layers = [_Open(own, kept) for own, kept in zip(saliencies, least, strict=True)]
    kept = sum(min(minimum, own.size) for own, minimum in zip(saliencies, minimums, strict=True))
    return _choose(layers, count - kept, sum(own.size for own in saliencies) - kept)


@dataclass(frozen=True)
class _Open:
    """The weights of a layer that are not kept yet."""

    saliency: AnySaliency
    earlier: KeptWeights | None = None

    def values(self) -> Iterator[Saliency]:
        """Their saliencies, (values,) each."""
        for first, block in _blocks(self.saliency):
            yield (
                np.ravel(block) if self.earlier is None else block[~self.earlier.kept(first, block)]
            ) + 0.0  # no -0.0

    def ties(self, threshold: float) -> Numbers:
        """How many of them equal the `threshold` in each filter: (filters,) int64."""
        found = np.zeros(len(self.saliency), np.int64)
        for first, block in _blocks(self.saliency):
            tied = block == threshold
            if self.earlier is not None and tied.any():
                tied &= ~self.earlier.kept(first, block)
            found[first : first + len(block)] = np.count_nonzero(tied, axis=1)
        return found


def _choose(layers: Sequence[_Open], count: int, total: int | None = None) -> list[KeptWeights]:
    """The `count` largest of the weights of `layers`, whose number is `total`."""
    total = sum(layer.saliency.size for layer in layers) if total is None else total
    if count <= 0 or count >= total:
        return [_all_or_none(layer, keeps=count > 0) for layer in layers]
    threshold, from_ties = _threshold(layers, count, total)
    ties = [layer.ties(threshold) for layer in layers]
    taken, starts = tie_shares(np.concatenate(ties), from_ties)
    ends = np.cumsum([len(own) for own in ties])[:-1]
    parts = zip(layers, ties, np.split(taken, ends), np.split(starts, ends), strict=True)
    return [
        KeptWeights(layer.saliency, threshold, own, some, first, layer.earlier)
        for layer, own, some, first in parts
    ]


def _all_or_none(layer: _Open, *, keeps: bool) -> KeptWeights:
    none = np.zeros(len(layer.saliency), np.int64)
    return KeptWeights(layer.saliency, -1.0 if keeps else np.inf, none, none, none, layer.earlier)


def _threshold(layers: Sequence[_Open], count: int, total: int) -> tuple[float, int]:
    """(the `count`-th largest of the `total` values, how many values equal to it are among the largest).

    Floats of at least 0 have the order of their bits, so that a histogram of the first bits tells which next ones to
    look at (radix selection).
    """
    if count <= _FEW:
        best = np.empty(0)
        for values in _values(layers):
            best = np.append(best, values if len(best) < count else values[values >= best.min()])
            best = np.partition(best, len(best) - count)[len(best) - count :] if len(best) > count else best
        return float(best.min()), int(np.count_nonzero(best == best.min()))
    prefix, shift, among = 0, 64, total
    while among > _COLLECTED and shift:
        shift -= _RADIX
        histogram = np.zeros(1 << _RADIX, np.int64)
        for keys in _keys(layers, prefix, shift + _RADIX):
            parts = (keys >> np.uint64(shift) & np.uint64((1 << _RADIX) - 1)).astype(np.int64)
            histogram += np.bincount(parts, minlength=1 << _RADIX)
        at_least = np.cumsum(histogram[::-1])[::-1]
        part = int(np.flatnonzero(at_least >= count)[-1])
        count -= int(at_least[part] - histogram[part])
        prefix, among = prefix << _RADIX | part, int(histogram[part])
    if not shift:
        return float(np.array(prefix, np.uint64).view(np.float64)), count
    found = np.concatenate(list(_keys(layers, prefix, shift))).view(np.float64)
    threshold = np.partition(found, len(found) - count)[len(found) - count]
    return float(threshold), count - int(np.count_nonzero(found > threshold))


def _keys(layers: Sequence[_Open], prefix: int, shift: int) -> Iterator[NDArray[np.uint64]]:
    """The bits of all values that begin with `prefix`, the bits from `shift` on: (values,) uint64 each."""
    for values in _values(layers):
        keys = values.view(np.uint64)
        yield keys if shift == 64 else keys[keys >> np.uint64(shift) == prefix]


def _values(layers: Sequence[_Open]) -> Iterator[Saliency]:
    for layer in layers:
        yield from layer.values()


def _blocks(saliency: AnySaliency) -> Iterator[tuple[int, Saliency]]:
    if isinstance(saliency, SaliencyBlocks):
        yield from saliency.blocks()
    else:
        yield 0, saliency
