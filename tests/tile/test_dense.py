"""Dense layers on an ordinary array: three ways of cutting them into passes, and a plain one to compare with."""

from __future__ import annotations

from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import oracle
from helpers.packings import arrays, matrices, packed_layer
from tightc.permutation.methods import structured
from tightc.tile.array import ArrayShape
from tightc.tile.bounds import dense_passes, groups_per_pass
from tightc.tile.dense import Block, Blocks, dense_blocks, dense_packing, full_passes, full_tiles, merged
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import EMPTY, Tile

SIDES = st.integers(1, 14)
GROUPS = st.one_of(st.integers(1, 5), st.just(13))
Parts = list[tuple[int, list[int], list[int]]]


def parts_of(blocks: Blocks) -> list[Parts]:
    """Pass by pass (group, filters, inputs) of each block."""
    columns = zip(*(getattr(blocks, name).tolist() for name in Blocks.__dataclass_fields__), strict=True)
    return [
        [(g, list(range(f, f + n)), list(range(k, k + m))) for _, g, f, n, k, m in members]
        for _, members in groupby(columns, key=lambda block: block[0])
    ]


def parts_of_tile(tile: Tile, filters: int, inputs: int) -> Parts:
    """The same of a tile, from its slots alone; nothing may lie outside the blocks."""
    found: dict[int, tuple[set[int], set[int]]] = {}
    where = list(zip(*(ids.tolist() for ids in tile.slots()), strict=True))
    for f, k in where:
        own = found.setdefault(f // filters, (set(), set()))
        own[0].add(f % filters)
        own[1].add(k % inputs)
        assert f // filters == k // inputs
    assert len(where) == len(set(where)) == sum(len(fs) * len(ks) for fs, ks in found.values())
    return [(group, sorted(fs), sorted(ks)) for group, (fs, ks) in found.items()]


@settings(max_examples=200)
@given(SIDES, SIDES, GROUPS, arrays())
@example(1, 9, 8, ArrayShape(32, 32))
@example(1, 9, 8, ArrayShape(40, 2))
@example(5, 5, 3, ArrayShape(4, 4))
@example(9, 9, 7, ArrayShape(4, 4))
def test_blocks_tiles_and_counts_agree_with_the_plain_cut(
    filters: int, inputs: int, groups: int, array: ArrayShape
) -> None:
    expected = [
        [(part.group, list(part.filters), list(part.inputs)) for part in parts]
        for parts in oracle.dense_blocks(filters, inputs, groups, tuple(array))
    ]
    blocks = dense_blocks(filters, inputs, groups, array)
    packing = dense_packing(filters * groups, inputs, groups, array)
    assert parts_of(blocks) == expected
    assert [parts_of_tile(tile, filters, inputs) for tile in packing.tiles] == expected
    assert oracle.plain(packing) == oracle.dense_tiles(filters, inputs, tuple(array), groups)
    assert dense_passes(filters * groups, inputs, groups, array) == len(expected)
    assert full_passes([(filters, inputs)] * groups, array) == len(expected)
    assert blocks.tile.tolist() == sorted(blocks.tile.tolist())
    assert sorted(set(blocks.tile.tolist())) == list(range(len(expected)))


@settings(max_examples=100)
@given(SIDES, SIDES, GROUPS, arrays())
def test_every_weight_is_in_one_block_and_every_pass_fits(
    filters: int, inputs: int, groups: int, array: ArrayShape
) -> None:
    seen = np.zeros((groups, filters, inputs), int)
    for parts in parts_of(dense_blocks(filters, inputs, groups, array)):
        assert sum(len(own) for _, own, _ in parts) <= array.columns
        assert sum(len(own) for _, _, own in parts) <= array.rows
        assert len({group for group, _, _ in parts}) == len(parts)
        for group, own_filters, own_inputs in parts:
            seen[group][np.ix_(own_filters, own_inputs)] += 1
    assert (seen == 1).all()


@settings(max_examples=100)
@given(SIDES, SIDES, GROUPS, arrays())
def test_blocks_of_shared_passes_lie_on_a_diagonal(
    filters: int, inputs: int, groups: int, array: ArrayShape
) -> None:
    tiles = dense_packing(filters * groups, inputs, groups, array).tiles
    for tile in tiles:
        row = column = 0
        for _, own_filters, own_inputs in parts_of_tile(tile, filters, inputs):
            below, right = row + len(own_inputs), column + len(own_filters)
            block = tile.select[row:below, column:right]
            assert (block == 0).all()
            assert (tile.select[row:below] != EMPTY).sum() == block.size
            assert (tile.select[:, column:right] != EMPTY).sum() == block.size
            row, column = below, right
        assert (row, column) == tile.select.shape
    # as many share as can: no two passes of which every block is the last of its group fit into one
    shared = [tile for tile in tiles if len(parts_of_tile(tile, filters, inputs)) > 1]
    for one, other in pairwise(shared):
        member = [len(part) for part in parts_of_tile(other, filters, inputs)[0][1:]]
        assert one.columns + member[0] > array.columns or one.lanes + member[1] > array.rows


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=7), arrays())
@example([(0, 3), (3, 0), (0, 0)], ArrayShape(4, 4))
@example([(2, 2), (0, 5), (2, 2)], ArrayShape(4, 4))
def test_full_passes_counts_full_tiles_of_any_groups(sizes: list[tuple[int, int]], array: ArrayShape) -> None:
    groups, f, k = [], 0, 0
    for filters, inputs in sizes:
        groups.append((np.arange(f, f + filters, dtype=np.int32), np.arange(k, k + inputs, dtype=np.int32)))
        f, k = f + filters, k + inputs
    tiles = list(full_tiles(groups, array))
    assert full_passes(sizes, array) == len(tiles)
    wanted = {(int(a), int(b)) for own, inputs in groups for a in own for b in inputs}
    found = [pair for tile in tiles for pair in zip(*(ids.tolist() for ids in tile.slots()), strict=True)]
    assert len(found) == len(wanted) and set(found) == wanted
    assert all(0 < tile.lanes <= array.rows and 0 < tile.columns <= array.columns for tile in tiles)


@settings(max_examples=80)
@given(matrices(), arrays())
def test_structured_counts_its_passes_without_making_them(matrix: LayerMatrix, array: ArrayShape) -> None:
    assert structured.passes(matrix, array) == len(packed_layer(matrix, "structured", array).tiles)


@pytest.mark.parametrize(
    ("filters", "inputs", "groups", "array", "sharing", "passes"),
    [
        (1, 9, 8, (32, 32), 3, 3),  # 27 of 32 rows, 3 of 32 columns; 3 + 3 + 2 groups
        (1, 9, 32, (32, 32), 3, 11),
        (1, 9, 8, (9, 32), 1, 8),  # one group is as tall as the array
        (1, 9, 8, (32, 2), 2, 4),  # two columns
        (16, 16, 4, (32, 32), 2, 2),
        (17, 16, 4, (32, 32), 1, 4),  # too wide for two
        (16, 17, 4, (32, 32), 1, 4),  # too tall for two
        (32, 40, 2, (32, 32), 1, 4),  # the rest of 8 inputs takes all columns
        (33, 40, 2, (32, 32), 4, 2 * 3 + 1),  # rests of 8 inputs x 1 filter share
        (32, 32, 5, (32, 32), 1, 5),
    ],
)
def test_groups_that_fit_on_the_diagonal_share_a_pass(
    filters: int, inputs: int, groups: int, array: tuple[int, int], sharing: int, passes: int
) -> None:
    shape = ArrayShape(*array)
    assert groups_per_pass(filters, inputs, shape) == sharing
    assert dense_passes(filters * groups, inputs, groups, shape) == passes
    assert len(dense_packing(filters * groups, inputs, groups, shape).tiles) == passes


@pytest.mark.parametrize("method", ["column-combine", "nm"])
def test_groups_of_lossy_methods_share_passes_too(method: str) -> None:
    values = np.arange(1, 8 * 9 + 1, dtype=np.float32).reshape(
        8, 9
    )  # depthwise: 8 groups of 1 filter, 9 inputs
    packing = packed_layer(LayerMatrix(values, groups=8), method, ArrayShape(32, 32), fan_in=8)
    tiles = oracle.plain(packing)
    lanes = (
        9 if method == "column-combine" else 5
    )  # weights of a filter never share a lane; 2 of 4 inputs are kept
    assert len(tiles) == -(-8 // (32 // lanes))
    assert sum(len(tile["filters"]) for tile in tiles) == 8
    kept = np.zeros((8, 9), bool)
    for tile in tiles:
        for lane, selected in zip(tile["lanes"], tile["select"], strict=True):
            for f, choice in zip(tile["filters"], selected, strict=True):
                if choice != EMPTY:
                    assert lane[choice] // 9 == f
                    kept[f, lane[choice] % 9] = True
    assert kept.sum() == 8 * lanes
    assert oracle.packing_faults(tiles, values, 8, (32, 32), packing.fan_in, kept) == []


@pytest.mark.parametrize(
    ("rows", "columns", "passes"), [(4, 6, 1), (3, 6, 2), (4, 5, 2), (8, 12, 1), (6, 9, 1), (5, 7, 1)]
)
def test_tiles_merge_as_long_as_they_fit_on_the_diagonal(rows: int, columns: int, passes: int) -> None:
    single = [next(full_tiles([Block(ids(i, 3), ids(i, 2))], ArrayShape(2, 3))) for i in range(2)]
    found = list(merged(iter(single), ArrayShape(rows, columns)))
    assert len(found) == passes
    slots = [pair for tile in found for pair in zip(*(part.tolist() for part in tile.slots()), strict=True)]
    expected = [(3 * i + f, 2 * i + k) for i in range(2) for k in range(2) for f in range(3)]
    assert sorted(slots) == sorted(expected)
    assert found[0].select.shape == ((4, 6) if passes == 1 else (2, 3))


def test_a_third_tile_begins_a_new_pass_at_its_corner() -> None:
    single = [next(full_tiles([Block(ids(i, 1), ids(i, 1))], ArrayShape(1, 1))) for i in range(5)]
    found = list(merged(iter(single), ArrayShape(2, 2)))
    assert [tile.select.tolist() for tile in found] == [[[0, -1], [-1, 0]], [[0, -1], [-1, 0]], [[0]]]
    assert [tile.filters.tolist() for tile in found] == [[0, 1], [2, 3], [4]]


def ids(group: int, size: int) -> np.ndarray:
    return np.arange(group * size, (group + 1) * size, dtype=np.int32)
