"""The constructive start: filters cut into parts of at most `rows` weights, parts sorted into tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tightc.tiles.array import ArrayShape
from tightc.tiles.matrix import Ids
from tightc.tiles.packing import EMPTY

Cut = Literal["full", "even"]


@dataclass(frozen=True)
class Draft:
    """A tile under construction: `filters` (columns,) int32, `slots` (lanes, columns) int32 inputs or EMPTY."""

    filters: Ids
    slots: Ids


def draft_tiles(filters: Ids, inputs: Ids, array: ArrayShape, cut: Cut) -> list[Draft]:
    """Drafts that hold every weight once, in the fewest passes: passes_lower_bound of them.

    `filters`, `inputs`: (weights,) int32, sorted by filter, then input. Each filter is cut, in input order, into
    ceil(weights / rows) parts. `full`: all but the last have `rows` weights; full parts are sorted by mean input, so
    that parts of a tile share inputs, then come the remainders, longest first: tiles are no taller than they must be,
    so little area is wasted. `even`: parts of one filter are of one length, and all are sorted by mean input: filters
    of like length are cut at like places, so the parts of a tile share more inputs. The weights of a part go to lanes
    0, 1, 2, ... of its column.
    """
    if not len(filters):
        return []
    rank, size = _rank_within(filters)
    if cut == "even":
        parts = -(-size // array.rows)
        part_in_filter = (rank * parts) // size
        lane, _ = _rank_within(filters.astype(np.int64) * (int(parts.max()) + 1) + part_in_filter)
    else:
        lane = rank % array.rows
    part = np.cumsum(lane == 0) - 1
    sizes = np.bincount(part)
    means = np.bincount(part, inputs) / sizes
    is_rest = (sizes < array.rows) & (cut == "full")
    order = np.lexsort((means, np.where(is_rest, -sizes, 0), is_rest))
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    column = position[part]
    part_filters = filters[lane == 0]
    firsts = range(0, len(order), array.columns)
    by_tile = np.split(
        np.argsort(column, kind="stable"), np.cumsum(sizes[order])[np.array(firsts[1:], int) - 1]
    )
    drafts = []
    for first, weights in zip(firsts, by_tile, strict=True):
        members = order[first : first + array.columns]
        slots = np.full((int(sizes[members].max()), len(members)), EMPTY, np.int32)
        slots[lane[weights], column[weights] - first] = inputs[weights]
        drafts.append(Draft(part_filters[members], slots))
    return drafts


def beyond_fan_in(slots: Ids, fan_in: int) -> NDArray[np.bool_]:
    """Which slots must leave so that no lane carries more than `fan_in` inputs: (lanes, columns) bool.

    `slots`: (lanes, columns) int32 inputs or EMPTY. A lane keeps the inputs that most of its slots multiply.
    """
    leaving = np.zeros(slots.shape, bool)
    for lane, row in enumerate(slots):
        carried, uses = np.unique(row[row != EMPTY], return_counts=True)
        if len(carried) > fan_in:
            rarest = carried[np.argsort(-uses, kind="stable")[fan_in:]]
            leaving[lane] = np.isin(row, rarest)
    return leaving


def _rank_within(groups: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each element, its position among the equal elements around it and their number; `groups` is sorted."""
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    sizes = np.diff(np.r_[starts, len(groups)])
    return np.arange(len(groups)) - np.repeat(starts, sizes), np.repeat(sizes, sizes)
