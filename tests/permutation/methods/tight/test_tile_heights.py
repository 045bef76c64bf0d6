"""How tall tiles are: the cut of filters into pieces against the same greedy choice over sorted lists."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tightc.permutation.methods.tight.tile_heights import (
    IMPOSSIBLE,
    _cut,
    _search_heights,
    cut,
    search_heights,
)
from tightc.tile.array import ArrayShape

SIZES = st.lists(st.integers(1, 14), min_size=1, max_size=9)
HEIGHTS = st.lists(st.integers(1, 8), min_size=1, max_size=5)
COLUMNS = st.integers(1, 5)


def plain_cut(sizes: list[int], heights: list[int], columns: int) -> int | None:
    """Area of tiles of falling heights that filters are cut into, None where they do not fit.

    Each column of a tile goes to the filter with most weights left, as long as those fill it; then, to such filters
    still, as long as the tiles to come have too few columns for all that is left, were they all as tall as the next.
    """
    left, area = sorted(sizes), 0
    for tile, height in enumerate(heights):
        later = heights[tile + 1 :]
        for _ in range(columns):
            most = max(left)
            if most == 0:
                break
            needed = sum(-(-size // later[0]) if later else min(size, 1) for size in left)
            if most < height and needed <= len(later) * columns:
                break
            left.remove(most)
            left.append(max(0, most - height))
            area += height
    return None if any(left) else area


def areas(sizes: list[int], heights: list[int], columns: int) -> list[int]:
    """Areas of all ways to give filters columns of tiles of these heights so that their weights fit. Tiny cases."""
    found = []

    def give(number: int, room: tuple[int, ...], area: int) -> None:
        if number == len(sizes):
            found.append(area)
            return
        for taken in np.ndindex(*(free + 1 for free in room)):
            lanes = sum(count * height for count, height in zip(taken, heights, strict=True))
            if lanes >= sizes[number]:
                rest = tuple(free - count for free, count in zip(room, taken, strict=True))
                give(number + 1, rest, area + lanes)

    give(0, (columns,) * len(heights), 0)
    return found


def kernel_cut(sizes: list[int], heights: list[int], columns: int) -> int:
    falling = np.array(sorted(heights, reverse=True), np.int64)
    counts = np.zeros((len(sizes), 1), np.int64)
    classes = np.zeros(len(falling), np.int64)
    return int(_cut(np.array(sizes, np.int64), falling, columns, classes, counts))


@pytest.mark.kernel
@settings(max_examples=150)
@given(SIZES, HEIGHTS, COLUMNS)
def test_the_kernel_cuts_as_sorted_lists_do(sizes: list[int], heights: list[int], columns: int) -> None:
    expected = plain_cut(sizes, sorted(heights, reverse=True), columns)
    assert kernel_cut(sizes, heights, columns) == (IMPOSSIBLE if expected is None else expected)


@pytest.mark.kernel
@settings(max_examples=150)
@given(SIZES, HEIGHTS, COLUMNS)
def test_the_columns_of_a_cut_hold_all_weights_within_the_tiles(
    sizes: list[int], heights: list[int], columns: int
) -> None:
    found = cut(np.array(sizes, np.int64), np.array(heights, np.int64), columns)
    if found is None:
        assert kernel_cut(sizes, heights, columns) == IMPOSSIBLE
        return
    classes, counts = found
    assert classes.tolist() == sorted(set(heights), reverse=True)
    assert counts.min() >= 0
    assert (counts @ classes >= np.array(sizes)).all()
    assert (counts.sum(axis=0) <= [columns * heights.count(height) for height in classes]).all()
    assert int((counts @ classes).sum()) == kernel_cut(sizes, heights, columns)


@settings(max_examples=80)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=3),
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.integers(1, 2),
)
def test_no_cut_has_less_area_than_the_best_of_all(
    sizes: list[int], heights: list[int], columns: int
) -> None:
    found, possible = kernel_cut(sizes, heights, columns), areas(sizes, heights, columns)
    assert found == IMPOSSIBLE or min(possible) <= found <= max(possible)


@settings(max_examples=80)
@given(SIZES, st.integers(1, 12), COLUMNS)
def test_equal_heights_are_cut_wherever_there_are_columns_enough(
    sizes: list[int], rows: int, columns: int
) -> None:
    needed = sum(-(-size // rows) for size in sizes)
    tiles = -(-needed // columns)
    assert kernel_cut(sizes, [rows] * tiles, columns) == needed * rows
    if tiles > 1:
        assert kernel_cut(sizes, [rows] * (tiles - 1), columns) == IMPOSSIBLE


@settings(max_examples=80)
@given(SIZES, st.integers(1, 12), COLUMNS, st.integers(0, 3), st.integers(0, 99))
def test_the_heights_found_waste_no_more_than_full_ones(
    sizes: list[int], rows: int, columns: int, more: int, seed: int
) -> None:
    needed = sum(-(-size // rows) for size in sizes)
    passes = -(-needed // columns) + more
    found = search_heights(
        np.array(sizes, np.int64), ArrayShape(rows, columns), passes, np.random.SeedSequence(seed)
    )
    assert len(found) == passes
    assert found.tolist() == sorted(found, reverse=True)
    assert found.min() >= 1 and found.max() <= rows
    assert kernel_cut(sizes, found.tolist(), columns) <= needed * rows


@settings(max_examples=80)
@given(SIZES, st.integers(1, 12), st.integers(1, 20), st.integers(0, 99))
def test_a_single_tile_is_as_low_as_can_be(sizes: list[int], rows: int, columns: int, seed: int) -> None:
    possible = [
        height * sum(-(-size // height) for size in sizes)
        for height in range(1, rows + 1)
        if sum(-(-size // height) for size in sizes) <= columns
    ]
    (found,) = search_heights(
        np.array(sizes, np.int64), ArrayShape(rows, columns), 1, np.random.SeedSequence(seed)
    )
    if possible:
        assert kernel_cut(sizes, [int(found)], columns) == min(possible)
    else:
        assert found == rows and kernel_cut(sizes, [int(found)], columns) == IMPOSSIBLE


@pytest.mark.parametrize("sizes", [[5, 5, 3, 3, 2, 1], [4, 4, 4, 1], [7, 2, 2, 2]])
def test_two_tiles_come_near_the_best_heights_of_all(sizes: list[int]) -> None:
    array, columns = ArrayShape(5, 4), 4
    found = search_heights(np.array(sizes, np.int64), array, 2, np.random.SeedSequence(1))
    best = min(
        kernel_cut(sizes, list(heights), columns)
        for heights in combinations_with_replacement(range(1, array.rows + 1), 2)
    )
    assert kernel_cut(sizes, found.tolist(), columns) == best


def test_the_same_seed_gives_the_same_heights() -> None:
    sizes = np.random.default_rng(0).integers(1, 40, 50)
    one, two = (
        search_heights(sizes, ArrayShape(16, 8), 20, np.random.SeedSequence(4)).tolist() for _ in range(2)
    )
    assert one == two


@pytest.mark.kernel
@pytest.mark.parametrize("sizes", [[5, 5, 3, 3, 2, 1], [4, 4, 4, 1], [7, 2, 2, 2]])
def test_a_short_search_comes_near_the_best_heights_of_all_and_says_their_area(sizes: list[int]) -> None:
    rows, columns = 5, 4
    area, found = _search_heights(
        np.array(sizes, np.int64),
        np.full(2, rows, np.int64),
        rows=rows,
        columns=columns,
        tail=2,
        tries=150,
        rng=np.uint64(7),
    )
    best = min(
        kernel_cut(sizes, list(heights), columns)
        for heights in combinations_with_replacement(range(1, rows + 1), 2)
    )
    assert area == kernel_cut(sizes, found.tolist(), columns) == best
