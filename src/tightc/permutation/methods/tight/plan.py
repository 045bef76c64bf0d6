"""Plans: the height of each tile and the filters of its columns, before any weight has its lane."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.permutation.methods.tight.filter_clustering import cluster_filters, group_inputs
from tightc.permutation.methods.tight.filter_set import FilterSet
from tightc.permutation.methods.tight.rebalance import rebalance
from tightc.permutation.methods.tight.tile_heights import Sizes, cut, search_heights
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import Ids


@dataclass(frozen=True)
class Plan:
    """The tiles of a layer and their columns.

    `heights`: (tiles,) int64, lanes of each tile. A cell is one column of one tile, given to one filter: `filters` and
    `tiles`, (cells,) int32, sorted by tile, then filter. The cells of a tile are its columns from the left.
    """

    heights: Sizes
    filters: Ids
    tiles: Ids


def min_area_plan(
    filters: FilterSet, array: ArrayShape, passes: int, room: float, seed: np.random.SeedSequence
) -> Plan | None:
    """A plan of little area in `passes` tiles; None if the search for heights finds none.

    Large filters fill tiles of full height, and their remainders lower ones. If a full tile of
    small filters would read more than `room` inputs, they are spread evenly over as many lanes as they need.
    """
    large = _large(filters, array, passes, room)
    above, below = filters.part(0, large), filters.part(large, len(filters.sizes))
    rest = _passes(below.sizes, array)
    searching, grouping = seed.spawn(2)
    plans = []
    if large:
        heights = search_heights(above.sizes, array, passes - rest, searching)
        plan = plan_of_heights(above, heights, array.columns)
        if plan is None:
            return None
        plans.append(plan)
    if rest:
        balanced = balanced_plan(
            below, array, rest, room, np.uint64(grouping.generate_state(1, np.uint64)[0])
        )
        plans.append(_lowered(balanced, below, array))
    return _joined(plans)


def _passes(sizes: Sizes, array: ArrayShape) -> int:
    return -(-int(np.sum(-(-sizes // array.rows))) // array.columns)


def _large(filters: FilterSet, array: ArrayShape, passes: int, room: float) -> int:
    """How many of the largest filters fill tiles: as many as possible without a further pass."""
    if passes == 1:
        return len(filters.sizes)
    group_of = (np.arange(len(filters.sizes)) // array.columns).astype(np.int32)
    reads = group_inputs(filters, group_of)
    means = np.bincount(group_of, filters.sizes) / np.bincount(group_of)
    overfull = np.flatnonzero(reads * array.rows > room * means)
    if not len(overfull):
        return len(filters.sizes)
    for large in range(int(overfull[0]) * array.columns, 0, -1):
        if _passes(filters.sizes[:large], array) + _passes(filters.sizes[large:], array) <= passes:
            return large
    return 0


def _lowered(plan: Plan, filters: FilterSet, array: ArrayShape) -> Plan:
    """The plan with tiles as low as their filters allow."""
    owner = np.searchsorted(np.sort(filters.ids), plan.filters)
    sizes = filters.sizes[np.argsort(filters.ids)]
    cells = np.bincount(owner, minlength=len(sizes))
    heights = np.zeros(len(plan.heights), np.int64)
    np.maximum.at(heights, plan.tiles, (-(-sizes // cells))[owner])
    return Plan(np.minimum(heights, array.rows), plan.filters, plan.tiles)


def _joined(plans: list[Plan]) -> Plan:
    """The tiles of all plans, one after the other."""
    first = np.cumsum([0, *(len(plan.heights) for plan in plans)])
    return Plan(
        np.concatenate([plan.heights for plan in plans]),
        np.concatenate([plan.filters for plan in plans]),
        np.concatenate(
            [(plan.tiles + base).astype(np.int32) for plan, base in zip(plans, first, strict=False)]
        ),
    )


def plan_of_heights(filters: FilterSet, heights: Sizes, columns: int) -> Plan | None:
    """The plan that fills tiles of `heights`, (tiles,) int64, with little waste; None if the filters do not fit."""
    found = cut(filters.sizes, heights, columns)
    if found is None:
        return None
    class_heights, counts = found
    cells, tall, first = [], [], 0
    for height, count in zip(class_heights, counts.T, strict=True):
        tiles = int(np.count_nonzero(heights == height))
        numbers, rows = stack(count, tiles, columns)
        cells.append((filters.ids[numbers], rows + first))
        tall.append(np.full(tiles, height))
        first += tiles
    return _plan(
        np.concatenate(tall), np.concatenate([c[0] for c in cells]), np.concatenate([c[1] for c in cells])
    )


def balanced_plan(filters: FilterSet, array: ArrayShape, passes: int, room: float, seed: np.uint64) -> Plan:
    """The plan that spreads filters evenly over `passes` tiles of full height, at least as many as the bound.

    `room`: distinct inputs that a tile should read at most. Filters of similar size share tiles, `columns` of them in a
    group. Groups with most inputs for their lanes get the spare columns; then filters change groups until no group
    reads more than its tiles have room for. Groups that still do are spread over more tiles, together with columns of
    filters so large that the inputs of these tiles are enough for them.
    """
    counts = -(-filters.sizes // array.rows)
    group_of = (np.arange(len(counts)) // array.columns).astype(np.int32)
    reads = group_inputs(filters, group_of)
    widths = np.bincount(group_of)
    tall = np.bincount(group_of, counts) / widths
    spare = passes * array.columns - int(counts.sum())
    more = np.zeros(len(widths), np.int64)
    queue = [(-reads[g] / tall[g], g) for g in range(len(widths))]
    heapq.heapify(queue)
    while queue:
        _, g = heapq.heappop(queue)
        if widths[g] <= spare:
            more[g] += 1
            spare -= int(widths[g])
            heapq.heappush(queue, (-reads[g] / (tall[g] + more[g]), g))
    counts += more[group_of]
    budgets = (room * (tall + more)).astype(np.int64)
    if (reads <= budgets).all():
        order = np.lexsort((-counts, group_of, -(tall + more)[group_of]))
        return _stacked(filters, order, counts[order], passes, array)
    widest_first = np.argsort(-counts, kind="stable")
    filters, counts, group_of = filters.ordered(widest_first), counts[widest_first], group_of[widest_first]
    group_of = cluster_filters(filters, counts, group_of, budgets, seed)
    order = np.lexsort((-counts, group_of, -(tall + more)[group_of]))
    overfull = group_inputs(filters, group_of) > budgets
    calm = order[~overfull[group_of[order]]]
    groups = rebalance(
        filters,
        counts,
        np.flatnonzero(overfull[group_of]).tolist(),
        calm.tolist(),
        width=array.columns,
        room=room,
    )
    cells = [cell for group in groups for cell in group]
    members = np.array([cell.filter for cell in cells], np.int64)
    columns = np.array([cell.columns for cell in cells], np.int64)
    given = np.bincount(members, columns, minlength=len(counts)).astype(np.int64)
    rest = counts[calm] - given[calm]
    return _stacked(filters, np.r_[calm, members], np.r_[rest, columns], passes, array)


def narrow_plan(filters: FilterSet, array: ArrayShape, passes: int) -> Plan:
    """The plan in which filters have as few columns as possible, in tiles as low as that allows."""
    counts = -(-filters.sizes // array.rows)
    return _lowered(_stacked(filters, np.arange(len(counts)), counts, passes, array), filters, array)


def _stacked(filters: FilterSet, order: Sizes, counts: Sizes, passes: int, array: ArrayShape) -> Plan:
    """The plan of full height in which the filters `order` are stacked in this order, with `counts` columns each."""
    entries, tiles = stack(counts, passes, array.columns)
    return _plan(np.full(passes, array.rows), filters.ids[order[entries]], tiles)


def passes_for(filters: FilterSet, array: ArrayShape, fan_in: float) -> tuple[int, int]:
    """Two estimates of the passes needed, with filters of similar size in groups.

    In the first, all lanes together can carry the inputs of all groups; in the second, the lanes of each group can
    carry its own.
    """
    counts = -(-filters.sizes // array.rows)
    group_of = (np.arange(len(counts)) // array.columns).astype(np.int32)
    reads = group_inputs(filters, group_of)
    widths = np.bincount(group_of)
    needed = reads / (fan_in * array.rows) * widths
    own = np.maximum(np.bincount(group_of, counts), needed)
    together, apart = (int(np.ceil(part.sum() / array.columns - 1e-9)) for part in (needed, own))
    return together, apart


def stack(counts: Sizes, tiles: int, columns: int) -> tuple[Sizes, Sizes]:
    """(filter, tile) of every cell when each filter takes `counts` of them in a row: two (cells,) int64.

    `counts`: (filters,) int64, in all at most tiles * columns. Each filter goes to the column that is filled least. So
    neighbors in the list share most of their tiles. Cells beyond the last tile go to the next such column (after
    McNaughton 1959).
    """
    lowest = [(0, column) for column in range(columns)]
    filters, rows = [], []
    for filter_, count in enumerate(counts.tolist()):
        while count:
            filled, column = heapq.heappop(lowest)
            run = min(count, tiles - filled)
            filters.append(np.full(run, filter_))
            rows.append(np.arange(filled, filled + run))
            count -= run
            if filled + run < tiles:
                heapq.heappush(lowest, (filled + run, column))
    if not filters:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate(filters), np.concatenate(rows)


def _plan(heights: Sizes, filters: NDArray[Any], tiles: Sizes) -> Plan:
    order = np.lexsort((filters, tiles))
    used, numbered = np.unique(tiles[order], return_inverse=True)
    return Plan(heights[used].astype(np.int64), filters[order].astype(np.int32), numbered.astype(np.int32))
