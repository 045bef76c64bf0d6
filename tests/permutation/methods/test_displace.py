"""Displacement by one step against every choice of which weights move."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.packings import arrays, matrices, packed_layer
from tightc.permutation.methods.displace import _fewest_lanes, _lanes_alone
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix


def every_load(counts: list[int], moves: bool) -> set[tuple[int, ...]]:
    """What the groups of a filter may hold if some weights of each but the last are on the next one's lanes."""
    found = set()
    for moved in product(*(range(count + 1) if moves else (0,) for count in counts[:-1]), (0,)):
        before = (0, *moved[:-1])
        found.add(tuple(n - m + b for n, m, b in zip(counts, moved, before, strict=True)))
    return found


def fewest(counts: np.ndarray, moves: bool) -> int:
    """The smallest sum of the lanes of all groups, each with as many as the fullest filter needs, of all choices."""
    needed = {(0,) * counts.shape[1]}
    for row in counts.tolist():
        loads = every_load(row, moves)
        needed = {tuple(map(max, one, load)) for one in needed for load in loads}
    return min(map(sum, needed))


def random_counts(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    filters, groups = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    return rng.integers(0, 4, (filters, groups)).astype(np.int64)


@pytest.mark.kernel
@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("seed", range(25))
def test_no_choice_takes_fewer_lanes(seed: int, moves: bool) -> None:
    counts = random_counts(seed)
    lanes, moved = _fewest_lanes(counts, moves)
    assert lanes.sum() == fewest(counts, moves)
    assert (moved >= 0).all() and (moved <= counts).all() and not moved[:, -1].any()
    held = counts - moved + np.pad(moved, ((0, 0), (1, 0)))[:, :-1]
    assert (held <= lanes).all()
    assert moves or not moved.any()


@pytest.mark.kernel
@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize("seed", range(25))
def test_lanes_of_a_filter_alone_are_those_of_the_best_choice(seed: int, moves: bool) -> None:
    counts = random_counts(seed)
    expected = [min(max(load) for load in every_load(row, moves)) for row in counts.tolist()]
    assert _lanes_alone(counts, moves).tolist() == expected


@settings(max_examples=80)
@given(matrices(), arrays(), st.sampled_from([1, 2, 3, 4, 8]))
def test_a_lane_carries_inputs_of_its_group_and_the_one_before(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int
) -> None:
    size = max(1, fan_in // 2)
    for tile in packed_layer(matrix, "displace", array, fan_in).tiles:
        for lane in np.split(tile.inputs, tile.lane_starts[1:-1]):
            assert len({int(k) // matrix.inputs for k in lane}) == 1
            groups = {int(k) % matrix.inputs // size for k in lane}
            assert max(groups) - min(groups) <= (fan_in > 1)


def test_weights_move_to_lanes_that_are_vacant() -> None:
    """Eight filters of four inputs, two on inputs 0 and 2, the others on 1 and 3: two lanes hold them all."""
    values = np.zeros((8, 4), np.float32)
    values[:2, [0, 2]] = 1
    values[2:, [1, 3]] = 1
    (tile,) = packed_layer(LayerMatrix(values), "displace", ArrayShape(4, 8), 2).tiles
    assert tile.lanes == 2 and tile.fan_in == 2
    (alone,) = packed_layer(LayerMatrix(values), "displace", ArrayShape(4, 8), 1).tiles
    assert alone.lanes == 4
