"""Plans: columns for every filter, none beyond the array, and what is said of them, by loops over cells."""

from __future__ import annotations

from collections import Counter
from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from helpers.packings import arrays, matrices
from tightc.permutation.methods.tight import plan as plan_module
from tightc.permutation.methods.tight.filter_set import FilterSet
from tightc.permutation.methods.tight.plan import (
    Plan,
    balanced_plan,
    min_area_plan,
    passes_for,
    plan_of_heights,
    stack,
)
from tightc.permutation.methods.tight.rebalance import rebalance
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix

FAN_INS = st.sampled_from([1, 2, 4, 1000])


def area_of(plan: Plan) -> int:
    return sum(int(plan.heights[tile]) for tile in plan.tiles)


def filter_set_of(matrix: LayerMatrix) -> FilterSet:
    return FilterSet.of(*matrix.nonzeros())


def read_of(matrix: LayerMatrix) -> dict[int, list[int]]:
    """The inputs of every filter that has weights."""
    whole = oracle.block_diagonal(matrix.values, matrix.groups)
    return {f: np.flatnonzero(row).tolist() for f, row in enumerate(whole) if row.any()}


def plan_faults(plan: Plan, matrix: LayerMatrix, array: ArrayShape, passes: int) -> list[str]:
    """What is wrong with a plan for a layer in at most so many passes."""
    faults = []
    cells = list(zip(plan.tiles.tolist(), plan.filters.tolist(), strict=True))
    heights = plan.heights.tolist()
    if cells != sorted(cells):
        faults.append("cells out of order")
    if len(heights) > passes:
        faults.append(f"{len(heights)} tiles in {passes} passes")
    if any(not 1 <= height <= array.rows for height in heights):
        faults.append(f"heights {heights}")
    widths = Counter(tile for tile, _ in cells)
    if set(widths) != set(range(len(heights))):
        faults.append("a tile without cells, or cells without a tile")
    if max(widths.values(), default=0) > array.columns:
        faults.append("more cells than columns")
    room: Counter[int] = Counter()
    for tile, filter_ in cells:
        room[filter_] += heights[tile]
    read = read_of(matrix)
    if set(room) != set(read):
        faults.append("filters without cells, or cells without a filter")
    faults += [f"filter {f} has no room" for f in read if room[f] < len(read[f])]
    return faults


@settings(max_examples=100)
@given(matrices())
def test_a_filter_set_is_all_filters_with_weights_largest_first(matrix: LayerMatrix) -> None:
    found = filter_set_of(matrix)
    assert found.sizes.tolist() == sorted(found.sizes, reverse=True)
    read = {
        int(f): found.inputs[a:b].tolist()
        for f, a, b in zip(found.ids, found.starts[:-1], found.starts[1:], strict=True)
    }
    assert read == read_of(matrix)
    assert [len(read[f]) for f in found.ids.tolist()] == found.sizes.tolist()


@settings(max_examples=150)
@given(matrices(), arrays(), st.integers(0, 4), st.floats(0.3, 50), st.integers(0, 2**63))
def test_balanced_plans_have_columns_for_all_weights(
    matrix: LayerMatrix, array: ArrayShape, more: int, share: float, seed: int
) -> None:
    passes = oracle.lower_bound(matrix.values, tuple(array)) + more
    if not matrix.values.any():
        return
    plan = balanced_plan(filter_set_of(matrix), array, passes, share * array.rows, np.uint64(seed))
    assert plan_faults(plan, matrix, array, passes) == []
    assert (plan.heights == array.rows).all()


@settings(max_examples=150)
@given(matrices(), arrays(), st.integers(-1, 3), st.integers(0, 2**20))
def test_plans_of_any_heights_have_columns_for_all_weights_or_are_none(
    matrix: LayerMatrix, array: ArrayShape, more: int, seed: int
) -> None:
    bound = oracle.lower_bound(matrix.values, tuple(array))
    if not matrix.values.any() or bound + more < 1:
        return
    heights = np.random.default_rng(seed).integers(1, array.rows + 1, bound + more)
    plan = plan_of_heights(filter_set_of(matrix), heights, array.columns)
    if plan is None:
        return
    assert more >= 0
    assert plan_faults(plan, matrix, array, bound + more) == []
    assert not Counter(plan.heights.tolist()) - Counter(heights.tolist())


@settings(max_examples=100)
@given(matrices(), arrays(), st.integers(0, 2))
def test_full_heights_fit_from_the_bound_on(matrix: LayerMatrix, array: ArrayShape, more: int) -> None:
    bound = oracle.lower_bound(matrix.values, tuple(array))
    if not matrix.values.any():
        return
    plan = plan_of_heights(filter_set_of(matrix), np.full(bound + more, array.rows), array.columns)
    assert plan is not None
    assert plan_faults(plan, matrix, array, bound + more) == []
    assert area_of(plan) == array.rows * sum(
        ceil(len(read) / array.rows) for read in read_of(matrix).values()
    )


@pytest.mark.parametrize("share", [0.05, 0.3, 100.0])
@pytest.mark.parametrize("shape", [(33, 70, 7, 5), (64, 40, 8, 8), (9, 200, 13, 1), (1, 90, 4, 3)])
def test_balanced_plans_of_odd_sizes_however_full(shape: tuple[int, ...], share: float) -> None:
    filters, inputs, rows, columns = shape
    rng = np.random.default_rng(shape)
    density = rng.random((filters, 1)) ** 2
    matrix = LayerMatrix((rng.random((filters, inputs)) < density).astype(np.float32))
    array = ArrayShape(rows, columns)
    bound = oracle.lower_bound(matrix.values, tuple(array))
    for passes in (bound, bound + 1, 2 * bound):
        plan = balanced_plan(filter_set_of(matrix), array, passes, share * inputs, np.uint64(5))
        assert plan_faults(plan, matrix, array, passes) == []
        again = balanced_plan(filter_set_of(matrix), array, passes, share * inputs, np.uint64(5))
        assert again.filters.tolist() == plan.filters.tolist()


@pytest.mark.parametrize("more", [0, 2])
@pytest.mark.parametrize("seed", [2, 18, 39])
def test_filters_that_lend_columns_to_overfull_groups_keep_the_rest(
    seed: int, more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few dense filters among many sparse ones, and tiles that can carry a tenth of the inputs."""
    rng = np.random.default_rng(seed)
    filters, inputs, rows, columns = (
        int(rng.integers(*ends)) for ends in ((6, 60), (20, 200), (3, 12), (2, 9))
    )
    density = rng.random((filters, 1)) ** rng.integers(1, 5)
    matrix = LayerMatrix((rng.random((filters, inputs)) < density).astype(np.float32))
    array, lent = ArrayShape(rows, columns), []

    def watched(filters: FilterSet, counts: Any, members: Any, donors: list[int], **room: Any) -> Any:
        groups = rebalance(filters, counts, members, donors, **room)
        lent.extend(cell for group in groups for cell in group if cell.filter in donors)
        return groups

    monkeypatch.setattr(plan_module, "rebalance", watched)
    passes = oracle.lower_bound(matrix.values, tuple(array)) + more
    plan = balanced_plan(filter_set_of(matrix), array, passes, 0.1 * inputs, np.uint64(5))
    assert lent
    assert plan_faults(plan, matrix, array, passes) == []


@settings(max_examples=200)
@given(matrices(), arrays(), st.integers(0, 4), st.sampled_from([0.3, 1, 3, np.inf]), st.integers(0, 99))
def test_min_area_plans_have_columns_for_all_weights(
    matrix: LayerMatrix, array: ArrayShape, more: int, share: float, seed: int
) -> None:
    passes = oracle.lower_bound(matrix.values, tuple(array)) + more
    if not matrix.values.any():
        return
    plan = min_area_plan(
        filter_set_of(matrix), array, passes, share * array.rows, np.random.SeedSequence(seed)
    )
    assert plan is not None  # full tiles always fit
    assert plan_faults(plan, matrix, array, passes) == []
    full = array.rows * sum(ceil(len(read) / array.rows) for read in read_of(matrix).values())
    if share == np.inf:
        assert area_of(plan) <= full


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(33, 70, 7, 5), (64, 40, 8, 8), (100, 200, 13, 9)])
def test_min_area_plans_of_large_and_small_filters(shape: tuple[int, ...], share: float) -> None:
    filters, inputs, rows, columns = shape
    rng = np.random.default_rng(shape)
    density = rng.random((filters, 1)) ** 2
    matrix = LayerMatrix((rng.random((filters, inputs)) < density).astype(np.float32))
    array = ArrayShape(rows, columns)
    passes = oracle.lower_bound(matrix.values, tuple(array)) + 1
    seeds = (np.random.SeedSequence(5) for _ in range(2))
    one, two = (min_area_plan(filter_set_of(matrix), array, passes, share * inputs, seed) for seed in seeds)
    assert one is not None and two is not None
    assert plan_faults(one, matrix, array, passes) == []
    assert one.filters.tolist() == two.filters.tolist() and one.heights.tolist() == two.heights.tolist()


@settings(max_examples=200)
@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 6), st.integers(0, 5))
def test_a_stack_gives_every_filter_its_cells_within_the_columns(
    counts: list[int], columns: int, more: int
) -> None:
    tiles = max(1, ceil(sum(counts) / columns)) + more
    filters, rows = stack(np.array(counts, np.int64), tiles, columns)
    cells = Counter(filters.tolist())
    assert [cells[f] for f in range(len(counts))] == counts
    assert all(0 <= row < tiles for row in rows.tolist())
    assert max(Counter(rows.tolist()).values(), default=0) <= columns


@pytest.mark.parametrize(("columns", "count", "groups"), [(1, 3, 4), (4, 2, 3), (5, 1, 6), (3, 7, 1)])
def test_filters_that_follow_one_another_share_their_tiles(columns: int, count: int, groups: int) -> None:
    filters, rows = stack(np.full(columns * groups, count), count * groups, columns)
    for group in range(groups):
        for f in range(group * columns, (group + 1) * columns):
            assert sorted(rows[filters == f]) == list(range(group * count, (group + 1) * count))


def needed(matrix: LayerMatrix, array: ArrayShape, fan_in: float) -> float:
    """Tiles that groups of `columns` filters, the largest first, take if they fill what they take."""
    read = read_of(matrix)
    order = sorted(read, key=lambda f: -len(read[f]))
    total = 0.0
    for first in range(0, len(order), array.columns):
        group = order[first : first + array.columns]
        tall = sum(ceil(len(read[f]) / array.rows) for f in group) / len(group)
        inputs = len({k for f in group for k in read[f]})
        total += len(group) * max(tall, inputs / (fan_in * array.rows))
    return total / array.columns


@settings(max_examples=150)
@given(matrices(), arrays(), FAN_INS)
def test_passes_are_those_in_which_lanes_hold_what_groups_read(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int
) -> None:
    if not matrix.values.any():
        return
    together, passes = passes_for(filter_set_of(matrix), array, 1.05 * fan_in)
    assert together <= passes
    assert 0 <= passes - needed(matrix, array, 1.05 * fan_in) < 1 or passes == pytest.approx(
        needed(matrix, array, 1.05 * fan_in)
    )
    if fan_in == 1000:
        assert passes == oracle.lower_bound(matrix.values, tuple(array))


@pytest.mark.parametrize(
    ("passes", "columns"), [(2, [1, 1, 1, 1]), (3, [2, 2, 1, 1]), (4, [3, 3, 1, 1]), (5, [3, 3, 2, 2])]
)
def test_spare_columns_go_where_most_is_read_for_the_lanes_there_are(passes: int, columns: list[int]) -> None:
    values = np.zeros((4, 12), np.float32)
    values[0, :4] = values[1, 4:8] = 1  # two filters that read eight inputs
    values[2:, 8:] = 1  # and two that read four
    plan = balanced_plan(filter_set_of(LayerMatrix(values)), ArrayShape(4, 2), passes, 1000.0, np.uint64(1))
    assert np.bincount(plan.filters, minlength=4).tolist() == columns


@pytest.mark.parametrize(
    ("same", "fan_in", "passes"), [(False, 1, 2), (False, 2, 1), (True, 1, 1), (False, 0.5, 4)]
)
def test_passes_of_two_filters_by_hand(same: bool, fan_in: float, passes: int) -> None:
    values = np.zeros((2, 8), np.float32)
    values[0, :4] = values[1, 0 if same else 4 : 4 if same else 8] = 1
    # a group of two columns reads 8 inputs, or 4, and a pass has 4 lanes
    found = passes_for(filter_set_of(LayerMatrix(values)), ArrayShape(4, 2), fan_in)
    assert found == (passes, passes)
