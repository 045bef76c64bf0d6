"""Windows of adjacent inputs against every cut into windows."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.packings import arrays, matrices, packed_layer
from tightc.permutation.methods.vusa import _lanes_of, longest_windows
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix


def random_used(seed: int, inputs: int = 8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random((int(rng.integers(1, 5)), inputs)) < rng.choice([0.2, 0.5, 0.8])


def is_window(block: np.ndarray, lanes: int, longest: int) -> bool:
    return block.shape[1] <= longest and block.sum(axis=1).max() <= lanes


@pytest.mark.kernel
@pytest.mark.parametrize(("lanes", "fan_in"), [(1, 1), (1, 3), (2, 2), (2, 5), (4, 8)])
@pytest.mark.parametrize("seed", range(12))
def test_no_cut_has_fewer_windows(seed: int, lanes: int, fan_in: int) -> None:
    used, longest = random_used(seed), lanes + fan_in - 1
    firsts = longest_windows(used, lanes, longest)
    cuts = sorted(set(firsts.tolist()))
    assert firsts.tolist() == [max(cut for cut in cuts if cut <= k) for k in range(used.shape[1])]
    assert all(is_window(block, lanes, longest) for block in np.split(used, cuts[1:], axis=1))
    for fewer in range(len(cuts) - 1):
        for chosen in combinations(range(1, used.shape[1]), fewer):
            blocks = np.split(used, chosen, axis=1)
            assert not all(is_window(block, lanes, longest) for block in blocks)


@pytest.mark.kernel
@pytest.mark.parametrize(("lanes", "fan_in"), [(1, 1), (1, 3), (2, 2), (2, 5), (4, 8)])
@pytest.mark.parametrize("seed", range(12))
def test_every_weight_has_a_lane_of_its_window_that_carries_it(seed: int, lanes: int, fan_in: int) -> None:
    used = random_used(seed, inputs=20)
    firsts = longest_windows(used, lanes, lanes + fan_in - 1)
    column, place = np.nonzero(used)
    found = _lanes_of(column, place, firsts, np.array([lanes, fan_in]))
    numbers = {first: number for number, first in enumerate(sorted(set(firsts.tolist())))}
    for weight, k in enumerate(place.tolist()):
        own = int(found[weight]) - numbers[int(firsts[k])] * lanes
        assert 0 <= own < lanes
        assert 0 <= k - int(firsts[k]) - own < fan_in
    slots = list(zip(column.tolist(), found.tolist(), strict=True))
    assert len(set(slots)) == len(slots)


@settings(max_examples=60)
@given(matrices(), arrays(), st.sampled_from([1, 2, 4]))
def test_inputs_of_a_lane_are_adjacent_among_those_that_are_used(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int
) -> None:
    if matrix.groups > 1:
        return  # groups share tiles
    live = np.flatnonzero(matrix.values.any(axis=1))
    for tile in packed_layer(matrix, "vusa", array, fan_in).tiles:
        block = live.tolist().index(int(tile.filters[0])) // array.columns * array.columns
        own = np.flatnonzero(matrix.values[live[block : block + array.columns]].any(axis=0)).tolist()
        for lane in np.split(tile.inputs, tile.lane_starts[1:-1]):
            places = [own.index(int(k)) for k in lane]
            assert max(places) - min(places) < fan_in


@pytest.mark.parametrize(("fan_in", "lanes"), [(1, 12), (2, 6), (3, 4), (7, 4)])
def test_of_equal_passes_the_fewest_lanes_decide(fan_in: int, lanes: int) -> None:
    """Three filters of twelve inputs, filter f with the f-th of every three; all fit one tile of 16x4."""
    values = np.zeros((3, 12), np.float32)
    for f in range(3):
        values[f, f::3] = 1
    (tile,) = packed_layer(LayerMatrix(values), "vusa", ArrayShape(16, 4), fan_in).tiles
    assert tile.lanes == lanes


def greedy_windows(block: np.ndarray, lanes: int, longest: int) -> int:
    """How many windows there are if each takes inputs as long as it may, in plain loops."""
    count, first = 0, 0
    while first < block.shape[1]:
        end = first + 1
        while end < block.shape[1] and is_window(block[:, first : end + 1], lanes, longest):
            end += 1
        count, first = count + 1, end
    return count


@settings(max_examples=80)
@given(matrices(), arrays(), st.sampled_from([1, 2, 4, 8]))
def test_no_number_of_shared_lanes_takes_fewer_passes(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int
) -> None:
    if matrix.groups > 1:
        return  # groups share tiles
    passes = len(packed_layer(matrix, "vusa", array, fan_in).tiles)
    live = matrix.values[matrix.values.any(axis=1)] != 0
    blocks = [live[first : first + array.columns] for first in range(0, len(live), array.columns)]
    blocks = [block[:, block.any(axis=0)] for block in blocks]
    for lanes in {1, 2, 4, 8, array.rows}:
        if lanes <= array.rows:
            windows = [greedy_windows(block, lanes, lanes + fan_in - 1) for block in blocks]
            assert passes <= sum(-(-lanes * count // array.rows) for count in windows)
