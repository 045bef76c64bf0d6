"""Insertion: lossless, within array and fan-in, no more tiles, and no weight left out for which a slot is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tightc.permutation.methods.first_fit import fill_tiles
from tightc.permutation.methods.tight.insertion import insert
from tightc.tile.array import ArrayShape
from tightc.tile.packing import EMPTY, Tile

TESTS = Path(__file__).parents[3]
NONE = np.empty(0, np.int32)
Weights = list[tuple[int, int]]


@dataclass(frozen=True)
class Case:
    """Tiles with some of the weights, and those that are left, sorted by filter, then input."""

    array: ArrayShape
    fan_in: int
    tiles: list[Tile]
    left: Weights


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Tiles that first-fit made of some weights; a weight may come twice, as one of two subwords does."""
    array = ArrayShape(draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    weight = st.tuples(st.integers(0, 5), st.integers(0, 6))
    tiles: list[Tile] = []
    fan_in = draw(st.integers(1, 3))
    for _ in range(draw(st.integers(0, 3))):
        held = draw(st.lists(weight, min_size=1, max_size=6))
        tiles += fill_tiles(*ids(sorted(held)), array, fan_in)
    return Case(array, fan_in, tiles, sorted(draw(st.lists(weight, max_size=12))))


def ids(weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    filters, inputs = np.array(weights, np.int32).reshape(-1, 2).T
    return filters.copy(), inputs.copy()


def held(tiles: list[Tile]) -> Counter[tuple[int, int]]:
    """The weights in the slots."""
    found: Counter[tuple[int, int]] = Counter()
    for tile in tiles:
        for lane, row in enumerate(tile.select.tolist()):
            carried = tile.inputs[tile.lane_starts[lane] : tile.lane_starts[lane + 1]].tolist()
            for filter_, choice in zip(tile.filters.tolist(), row, strict=True):
                if choice != EMPTY:
                    found[filter_, carried[choice]] += 1
    return found


def has_room(tile: Tile, array: ArrayShape, fan_in: int, filter_: int, item: int) -> bool:
    """Whether the tile has a slot for one more weight, in a column of the filter or in a free one."""
    lists = [tile.inputs[a:b].tolist() for a, b in zip(tile.lane_starts, tile.lane_starts[1:], strict=False)]
    lists += [[] for _ in range(array.rows - tile.lanes)]
    free = [lane for lane, carried in enumerate(lists) if item in carried or len(carried) < fan_in]
    if tile.columns < array.columns:
        return bool(free)
    columns = [column for column, owner in enumerate(tile.filters.tolist()) if owner == filter_]
    return any(
        lane >= tile.lanes or tile.select[lane, column] == EMPTY for lane in free for column in columns
    )


@pytest.mark.kernel
@settings(max_examples=400)
@given(cases())
def test_weights_are_inserted_wherever_a_slot_is_there(case: Case) -> None:
    array, fan_in = case.array, case.fan_in
    tiles, placed = insert(case.tiles, *ids(case.left), array, fan_in)
    assert len(tiles) == len(case.tiles)
    inserted = [weight for weight, has_slot in zip(case.left, placed, strict=True) if has_slot]
    assert held(tiles) == held(case.tiles) + Counter(inserted)
    for tile in tiles:
        assert 0 < tile.lanes <= array.rows and 0 < tile.columns <= array.columns
        assert tile.fan_in <= fan_in
        assert (tile.select != EMPTY).any(axis=0).all() and (tile.select != EMPTY).any(axis=1).all()
    for filter_, item in set(case.left) - set(inserted):
        assert not any(has_room(tile, array, fan_in, filter_, item) for tile in tiles), (filter_, item)


@settings(max_examples=100)
@given(cases())
def test_lanes_that_carry_an_input_take_it_first(case: Case) -> None:
    """No lane takes an input where a slot of the filter's own columns was free on a lane that carries it."""
    for filter_, item in case.left[:1]:
        before = sum(len(tile.inputs) for tile in case.tiles)
        own = any(
            item in tile.inputs[tile.lane_starts[lane] : tile.lane_starts[lane + 1]]
            and tile.filters[column] == filter_
            and tile.select[lane, column] == EMPTY
            for tile in case.tiles
            for lane in range(tile.lanes)
            for column in range(tile.columns)
        )
        tiles, _ = insert(case.tiles, *ids([(filter_, item)]), case.array, case.fan_in)
        if own:
            assert sum(len(tile.inputs) for tile in tiles) == before
            assert sum(tile.columns for tile in tiles) == sum(tile.columns for tile in case.tiles)


def test_nothing_is_inserted_where_nothing_is_left_or_no_tile_is() -> None:
    (tile,) = fill_tiles(*ids([(0, 1), (2, 3)]), ArrayShape(2, 2), 1)
    tiles, placed = insert([tile], NONE, NONE, ArrayShape(2, 2), 1)
    assert held(tiles) == held([tile]) and placed.tolist() == []
    tiles, placed = insert([], *ids([(0, 1)]), ArrayShape(2, 2), 1)
    assert tiles == [] and placed.tolist() == [False]


SCRIPT = """
import json, sys
import numpy as np
from tightc.permutation.methods.first_fit import fill_tiles
from tightc.permutation.methods.tight.insertion import insert
from tightc.tile.array import ArrayShape
rng = np.random.default_rng(5)
filters, inputs = np.nonzero(rng.random((12, 20)) < 0.3)
filters, inputs = filters.astype(np.int32), inputs.astype(np.int32)
leaves = rng.random(len(filters)) < 0.3
array = ArrayShape(4, 5)
tiles = fill_tiles(filters[~leaves], inputs[~leaves], array, 2)
tiles, placed = insert(tiles, filters[leaves], inputs[leaves], array, 2)
lists = [[part.tolist() for part in (t.filters, t.lane_starts, t.inputs, t.select)] for t in tiles]
print(json.dumps([lists, placed.tolist()]))
"""


def test_insertion_is_the_same_without_jit() -> None:
    found = []
    for disabled in ("0", "1"):
        environment = {
            **os.environ,
            "NUMBA_DISABLE_JIT": disabled,
            "PYTHONPATH": str(TESTS.parent / "src"),
            "PYTHONWARNINGS": "ignore",
        }
        done = subprocess.run(
            [sys.executable, "-B", "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]
    assert any(found[0][1]) and not all(found[0][1])
