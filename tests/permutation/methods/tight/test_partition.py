"""Blocks: the tiles and weights of a plan, each once, wherever it is cut."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from helpers import annealing_blocks
from helpers.annealing_blocks import place_faults, state_faults
from helpers.packings import arrays, matrices
from tightc.permutation.annealing.block import Block, starting_state
from tightc.permutation.methods.tight import partition as partition_module
from tightc.permutation.methods.tight.filter_set import FilterSet
from tightc.permutation.methods.tight.partition import _choose, partition, with_heights
from tightc.permutation.methods.tight.plan import Plan, balanced_plan, plan_of_heights
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix

SMALL = {"_LEAST_TILES": 1, "_LARGEST_COUNTS": 1}  # blocks of a tile or two


def cut(plan: Plan, matrix: LayerMatrix, small: bool) -> list[Block]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items() if small else ():
            patch.setattr(partition_module, name, value)
        return partition(plan, *matrix.nonzeros())


def faults(blocks: list[Block], plan: Plan, matrix: LayerMatrix) -> list[str]:
    """What is wrong with the blocks of a plan for a layer."""
    found = []
    if np.concatenate([block.heights for block in blocks]).tolist() != plan.heights.tolist():
        found.append("other tiles than those of the plan")
    cells, tiles = [], 0
    for block in blocks:
        cells += [(tiles + int(t), int(f)) for t, f in zip(block.cell_tiles, block.cell_filters, strict=True)]
        tiles += len(block.heights)
    if cells != list(zip(plan.tiles.tolist(), plan.filters.tolist(), strict=True)):
        found.append("other cells than those of the plan")
    weights: Counter[tuple[int, int]] = Counter()
    for number, block in enumerate(blocks):
        pairs = list(zip(block.filters.tolist(), block.inputs.tolist(), strict=True))
        weights.update(pairs)
        if pairs != sorted(pairs):
            found.append(f"block {number}: weights out of order")
        found += [f"block {number}: {fault}" for fault in place_faults(block, block.lanes, block.columns)]
        found += [f"block {number}: {fault}" for fault in state_faults(starting_state(block), block)]
    whole = oracle.block_diagonal(matrix.values, matrix.groups)
    if weights != Counter((int(f), int(k)) for f, k in np.argwhere(whole)):
        found.append("not every weight once")
    return found


def starts(block: Block) -> dict[int, list[tuple[int, int]]]:
    """(lane, column) of each filter's weights where they are spread evenly over its slots, cell after cell."""
    bases = np.r_[0, np.cumsum(block.heights)].tolist()
    slots: dict[int, list[tuple[int, int]]] = {}
    for cell, (f, tile) in enumerate(
        zip(block.cell_filters.tolist(), block.cell_tiles.tolist(), strict=True)
    ):
        column = cell - block.cell_tiles.tolist().index(tile)
        slots.setdefault(f, []).extend(
            (bases[tile] + lane, column) for lane in range(int(block.heights[tile]))
        )
    counts = Counter(block.filters.tolist())
    return {f: [slots[f][rank * len(slots[f]) // n] for rank in range(n)] for f, n in counts.items()}


def places(block: Block) -> dict[int, list[tuple[int, int]]]:
    """(lane, column) of each filter's weights."""
    found: dict[int, list[tuple[int, int]]] = {}
    for f, lane, column in zip(block.filters, block.lanes, block.columns, strict=True):
        found.setdefault(int(f), []).append((int(lane), int(column)))
    return found


def check(plan: Plan, matrix: LayerMatrix, small: bool) -> list[Block]:
    blocks = cut(plan, matrix, small)
    assert faults(blocks, plan, matrix) == []
    room: Counter[tuple[int, int]] = Counter()
    edges = np.cumsum([0, *(len(block.heights) for block in blocks)])
    for number, (first, last) in enumerate(pairwise(edges)):
        for f, tile in zip(plan.filters.tolist(), plan.tiles.tolist(), strict=True):
            room[number, f] += int(plan.heights[tile]) if first <= tile < last else 0
    sizes = dict(zip(*np.unique(matrix.nonzeros()[0], return_counts=True), strict=True))
    for number, block in enumerate(blocks):
        held = Counter(block.filters.tolist())
        for f, size in sizes.items():
            even = size * room[number, f] / sum(room[other, f] for other in range(len(blocks)))
            assert abs(held[f] - even) < 1  # as many of its weights as of its lanes
        assert places(block) == starts(block)
    return blocks


@settings(max_examples=150)
@given(matrices(), arrays(), st.integers(0, 9), st.booleans(), st.integers(0, 2**63))
def test_blocks_of_balanced_plans_hold_every_weight_once(
    matrix: LayerMatrix, array: ArrayShape, more: int, small: bool, seed: int
) -> None:
    if not matrix.values.any():
        return
    passes = oracle.lower_bound(matrix.values, tuple(array)) + more
    plan = balanced_plan(FilterSet.of(*matrix.nonzeros()), array, passes, 3.0 * array.rows, np.uint64(seed))
    check(plan, matrix, small)


@settings(max_examples=100)
@given(matrices(), arrays(), st.booleans(), st.integers(0, 2**20))
def test_blocks_of_unbalanced_plans_hold_every_weight_once(
    matrix: LayerMatrix, array: ArrayShape, small: bool, seed: int
) -> None:
    if not matrix.values.any():
        return
    passes = oracle.lower_bound(matrix.values, tuple(array)) + 2
    heights = np.random.default_rng(seed).integers(1, array.rows + 1, passes)
    plan = plan_of_heights(FilterSet.of(*matrix.nonzeros()), heights, array.columns)
    if plan is not None:
        check(plan, matrix, small)


@settings(max_examples=100)
@given(annealing_blocks.blocks(), st.integers(0, 2**20))
def test_a_taller_block_holds_the_same_weights_at_their_start(block: Block, seed: int) -> None:
    heights = block.heights + np.random.default_rng(seed).integers(0, 3, len(block.heights))
    higher = with_heights(block, heights)
    assert higher.heights.tolist() == heights.tolist()
    assert place_faults(higher, higher.lanes, higher.columns) == []
    assert state_faults(starting_state(higher), higher) == []
    for name in ("cell_filters", "cell_tiles", "filters", "inputs"):
        assert getattr(higher, name).tolist() == getattr(block, name).tolist()
    assert places(higher) == starts(higher)


def test_small_blocks_are_a_tile_or_two_and_filters_lie_in_several() -> None:
    values = (np.random.default_rng(0).random((6, 40)) < 0.5).astype(np.float32)
    matrix = LayerMatrix(values)
    plan = plan_of_heights(FilterSet.of(*matrix.nonzeros()), np.full(8, 4), 5)
    assert plan is not None
    blocks = check(plan, matrix, small=True)
    assert {len(block.heights) for block in blocks} <= {1, 2}
    assert max(Counter(f for block in blocks for f in set(block.filters.tolist())).values()) > 3
    assert len(check(plan, matrix, small=False)) <= 2


def test_large_layers_are_cut_into_blocks_of_some_tiles() -> None:
    rng = np.random.default_rng(1)
    matrix = LayerMatrix((rng.random((200, 300)) < 0.1 + 0.2 * rng.random((200, 1))).astype(np.float32))
    array = ArrayShape(8, 10)
    passes = oracle.lower_bound(matrix.values, tuple(array))
    plan = balanced_plan(FilterSet.of(*matrix.nonzeros()), array, passes, 1000.0, np.uint64(1))
    blocks = check(plan, matrix, small=False)
    assert min(len(block.heights) for block in blocks) >= 2
    assert 5 <= len(blocks) <= passes // 3


def test_a_filter_of_two_blocks_reads_in_each_what_others_read_there() -> None:
    readers = np.array([[5, 5, 5, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 5, 5, 5]], np.int32)
    chosen = _choose(readers, np.array([0, 2, 3, 5, 6], np.int32), np.array([2, 3]), np.array([4, 7]))
    assert chosen.tolist() == [4, 4, 7, 7, 7]
    chosen = _choose(readers, np.array([0, 2, 3, 5, 6], np.int32), np.array([3, 2]), np.array([4, 7]))
    assert chosen.tolist() == [4, 4, 4, 7, 7]


@pytest.mark.parametrize(("columns", "dtype"), [(254, np.uint8), (255, np.uint16), (300, np.uint16)])
def test_counts_hold_as_many_uses_as_there_are_columns(columns: int, dtype: type) -> None:
    matrix = LayerMatrix(np.ones((columns, 1), np.float32))
    plan = plan_of_heights(FilterSet.of(*matrix.nonzeros()), np.array([1]), columns)
    assert plan is not None
    (block,) = check(plan, matrix, small=False)
    state = starting_state(block)
    assert state.counts.dtype == dtype
    assert state.counts.tolist() == [[columns], [2]]


def test_a_filter_of_two_blocks_is_split_by_what_the_others_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_module, "_edges", lambda *_: np.array([0, 1, 2]))
    values = np.zeros((3, 8), np.float32)
    values[0] = values[1, 4:] = values[2, :4] = 1
    matrix = LayerMatrix(values)
    ids = [np.array(numbers, np.int32) for numbers in ([0, 1, 0, 2], [0, 0, 1, 1])]
    first, second = partition(Plan(np.array([4, 4]), *ids), *matrix.nonzeros())
    assert first.inputs[first.filters == 0].tolist() == [4, 5, 6, 7]
    assert second.inputs[second.filters == 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("size", [4, 5, 6])
def test_blocks_end_where_no_filter_goes_on(size: int) -> None:
    """Five groups of filters, each with a column in all of its `size` tiles and none elsewhere."""
    tiles = np.repeat(np.arange(5 * size, dtype=np.int32), 2)
    filters = (tiles // size * 2 + np.tile([0, 1], 5 * size)).astype(np.int32)
    plan = Plan(np.full(5 * size, 4), filters, tiles)
    # what is left at the end is too short for two
    assert partition_module._edges(plan, inputs=8).tolist() == [0, size, 2 * size, 3 * size, 5 * size]


@pytest.mark.parametrize(("inputs", "shortest", "longest"), [(10, 24, 24), (100_000, 5, 12), (10**7, 1, 2)])
def test_the_counts_of_a_block_stay_small_but_not_the_block(inputs: int, shortest: int, longest: int) -> None:
    """Every filter has a column in each of 24 tiles, so that all cuts are equally good."""
    tiles = np.repeat(np.arange(24, dtype=np.int32), 2)
    plan = Plan(np.full(24, 16), np.tile([0, 1], 24).astype(np.int32), tiles)
    edges = partition_module._edges(plan, inputs).tolist()
    assert edges[0] == 0 and edges[-1] == 24
    assert {shortest <= last - first <= longest for first, last in pairwise(edges)} == {True}


def test_a_block_is_longer_than_its_filters_reach_where_others_go_on() -> None:
    """Four times two filters of four tiles, the second two tiles after the first."""
    first = np.concatenate([[6 * group, 6 * group + 2] for group in range(4)])
    cells = sorted((tile, number) for number, begin in enumerate(first) for tile in range(begin, begin + 4))
    tiles, filters = np.array(cells, np.int32).T
    plan = Plan(np.full(24, 4), filters, tiles)
    assert partition_module._edges(plan, inputs=8).tolist() == [0, 6, 12, 18, 24]
