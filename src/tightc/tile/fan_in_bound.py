"""A lower bound on passes that knows how many inputs a lane carries. Proof: docs/design/search.md."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from math import ceil
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tightc.tile.array import ArrayShape
from tightc.tile.bounds import folds, lane_inputs_lower_bound, passes_lower_bound

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_MOST = 2e10  # multiplications for overlaps and their sorting, under a second on a core
_SORT = 2048  # multiplications that take as long as to sort an overlap
_ROUNDING = 1e-9  # of all weights: well above the rounding of sums over filters and columns


@dataclass(frozen=True)
class LaneInputs:
    """The fewest lane inputs of a lossless packing on an array, by its columns: any fan-in, any number of passes.

    `columns`: those that the filters need. `fewest`: lane inputs in so many. `gains`: (further columns,) float64, what
    each saves at most; they fall.
    """

    columns: int
    fewest: float
    gains: Floats

    @classmethod
    def of(cls, slots: NDArray[Any], groups: int, array: ArrayShape) -> Self | None:
        """Of `slots`, as in `passes_lower_bound_at_fan_in`; None for a layer of so many filters that it takes long."""
        by_group = slots.reshape(groups, -1, slots.shape[1])
        users = by_group.sum(axis=1, dtype=np.int64).ravel()
        if not users.any() or array.columns == 1 or _overlap_cost(slots, by_group) > _MOST:
            return None
        columns = -(-by_group.sum(axis=2, dtype=np.int64).ravel() // array.rows)
        overlaps = _Overlaps.of(by_group, array)
        inputs = _lane_inputs(by_group, overlaps, columns, np.minimum(users, array.columns))
        gains = np.sort((inputs[:, :-1] - inputs[:, 1:]).ravel())[::-1]
        return cls(int(columns.sum()), float(inputs[:, 0].sum()), gains)


def passes_lower_bound_at_fan_in(
    slots: NDArray[Any],
    groups: int,
    array: ArrayShape,
    fan_in: int,
    known: int | None = None,
    inputs: LaneInputs | None = None,
) -> int:
    """Fewest passes of any lossless packing with lanes of up to `fan_in` inputs; 0 if there is no weight.

    `slots`: (filters, inputs of a group) integers, the slots that each weight takes, as of LayerMatrix.slots(). The
    result never rises with rows, columns or fan-in. In layers of very many filters it leaves overlaps out and is
    weaker. `known`: passes of a lossless packing for that fan-in, if there is one; where simpler counts need as many,
    overlaps are not looked at. `inputs`: those of the slots, where they are known. docs/design/search.md.
    """
    sizes = slots.sum(axis=1, dtype=np.int64)
    users = slots.reshape(groups, -1, slots.shape[1]).sum(axis=1, dtype=np.int64).ravel()
    passes = max(passes_lower_bound(sizes, array), _passes_by_inputs(users, array, fan_in))
    weights, each = int(sizes.sum()), array.rows * fan_in
    if passes == known or weights <= passes * each:
        return passes
    inputs = inputs or LaneInputs.of(slots, groups, array)
    if inputs is None:
        return passes
    columns, fewest, saved = inputs.columns, inputs.fewest, np.append(0.0, np.cumsum(inputs.gains))

    def fits(tried: int) -> bool:
        spare = min(tried * array.columns - columns, len(saved) - 1)
        return bool(fewest - saved[spare] <= tried * each + _ROUNDING * weights)

    return passes + bisect_left(range(passes, folds(weights, each)), True, key=fits)


def lane_inputs_lower_bound_in_passes(
    slots: NDArray[Any], groups: int, array: ArrayShape, passes: int, inputs: LaneInputs | None = None
) -> int:
    """Fewest lane inputs of any lossless packing in up to `passes` passes; as many are read by its tiles, each once.

    `slots`, `groups`, `inputs`: as in `passes_lower_bound_at_fan_in`. The result never rises with `passes`. Where its
    overlaps are not looked at, it is `lane_inputs_lower_bound`. docs/design/search.md.
    """
    users = slots.reshape(groups, -1, slots.shape[1]).sum(axis=1, dtype=np.int64).ravel()
    least = lane_inputs_lower_bound(users, array)
    inputs = inputs or LaneInputs.of(slots, groups, array)
    if inputs is None:
        return least
    spare = min(max(0, passes * array.columns - inputs.columns), len(inputs.gains))
    found = inputs.fewest - float(inputs.gains[:spare].sum())
    return max(least, ceil(found - _ROUNDING * int(slots.sum(dtype=np.int64))))


def _overlap_cost(slots: NDArray[Any], by_group: NDArray[Any]) -> int:
    """Multiplications for the overlaps of all filters, and their sorting."""
    return int(slots.shape[0] * by_group.shape[1] * (slots.shape[1] + _SORT))


def _passes_by_inputs(users: Counts, array: ArrayShape, fan_in: int) -> int:
    """Fewest passes by two counts: lanes of each input, and weights on a lane.

    `users`: (inputs,) int64, non-zeros of each input.
    """
    if not users.any():
        return 0
    on_a_lane = np.sort(np.minimum(users, array.columns))[::-1][:fan_in].sum()
    by_lanes = folds(lane_inputs_lower_bound(users, array), array.rows * fan_in)
    return max(by_lanes, folds(int(users.sum()), array.rows * int(on_a_lane)))


@dataclass(frozen=True)
class _Overlaps:
    """How many pairs of weights with the same input a filter can have on lanes, given the columns that it sees.

    A column of the filter and one of another share at most `rows` inputs, so an overlap counts as pieces of `rows`
    and a rest. `own`: (filters,) int64, pairs of subwords of one weight. `full`: (filters,) int64, pieces of `rows`.
    `rests`: (filters, filters of a group + 1) int64, sums of the largest rests.
    """

    array: ArrayShape
    own: Counts
    full: Counts
    rests: Counts

    @classmethod
    def of(cls, by_group: NDArray[Any], array: ArrayShape) -> _Overlaps:
        """Of the slots (groups, filters of a group, inputs of a group)."""
        counts = by_group.astype(np.float32)  # sums stay below 2**24, so they are exact
        overlaps = (counts @ counts.transpose(0, 2, 1)).astype(np.int32)
        size = by_group.shape[1]
        squares = overlaps[:, range(size), range(size)].ravel().astype(np.int64)
        overlaps[:, range(size), range(size)] = 0
        overlaps = overlaps.reshape(-1, size)
        rests = np.zeros((len(overlaps), size + 1), np.int64)
        np.cumsum(np.sort(overlaps % array.rows, axis=1)[:, ::-1], axis=1, out=rests[:, 1:])
        own = squares - by_group.sum(axis=2, dtype=np.int64).ravel()
        return cls(array, own, (overlaps // array.rows).sum(axis=1, dtype=np.int64), rests)

    def pairs(self, columns: Counts) -> Counts:
        """Most pairs of each filter in (filters, n) `columns`: same shape. Concave in the columns."""
        seen = columns * (self.array.columns - 1)
        full = self.full[:, None]
        rests = np.take_along_axis(self.rests, np.clip(seen - full, 0, self.rests.shape[1] - 1), axis=1)
        pairs: Counts = self.own[:, None] + self.array.rows * np.minimum(seen, full) + rests
        return pairs

    def enough(self, sharing: Counts) -> Counts:
        """Columns beyond which a filter of at most `sharing` pairs has no use for more: (filters,).

        Where pieces alone are enough, the columns that hold its weights see as many.
        """
        seen = np.where(self.full * self.array.rows >= sharing, 0, self.full + self.rests.shape[1] - 1)
        enough: Counts = -(-seen // (self.array.columns - 1))
        return enough


def _lane_inputs(by_group: NDArray[Any], overlaps: _Overlaps, columns: Counts, most: Counts) -> Floats:
    """Fewest lane inputs of each filter, at (f, n) in `columns` + n columns: convex and falling along n.

    A weight that shares its lane input with c - 1 others counts as 1/c. `most`: (inputs,) int64, the largest c.
    """
    groups, size, width = by_group.shape
    top = int(most.max())
    levels = np.zeros((groups * size, top + 1), np.int64)  # weights of each filter by their largest c
    for f, row in enumerate(by_group.reshape(-1, width)):
        reads = np.flatnonzero(row)
        limits = most[f // size * width + reads]
        levels[f] = np.bincount(limits, row[reads], minlength=top + 1)
    beyond = levels.sum(axis=1, keepdims=True) - np.cumsum(levels, axis=1)  # weights whose largest c is above
    c = np.arange(1, top)
    knots = np.zeros((groups * size, top), np.int64)
    np.cumsum(beyond[:, 1:top], axis=1, out=knots[:, 1:])
    inputs = np.zeros(knots.shape)
    np.cumsum(beyond[:, 1:top] / (c * (c + 1)), axis=1, out=inputs[:, 1:])
    inputs = levels.sum(axis=1, keepdims=True) - inputs
    more = int((overlaps.enough(knots[:, -1]) - columns).max(initial=0))
    pairs = overlaps.pairs(columns[:, None] + np.arange(more + 1))
    return np.array([np.interp(*of_filter) for of_filter in zip(pairs, knots, inputs, strict=True)])
