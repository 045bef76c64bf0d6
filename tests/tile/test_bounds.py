"""Bounds against all packings that tiny layers have, and against every packing that a method makes."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from helpers.every_packing import every_packing
from helpers.methods import LOSSLESS
from helpers.packings import arrays, matrices, packed_layer
from tightc.permutation.problem import LossySettings
from tightc.tile.array import ArrayShape
from tightc.tile.bounds import (
    area_lower_bound,
    fan_in_lower_bound,
    lane_inputs_lower_bound,
    passes_lower_bound,
)
from tightc.tile.matrix import LayerMatrix

SHAPES = st.sampled_from([(1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1), (3, 2), (2, 3)])


def users_of(values: np.ndarray) -> np.ndarray:
    return np.count_nonzero(values, axis=0).astype(np.int64)


def sizes_of(values: np.ndarray) -> np.ndarray:
    return np.count_nonzero(values, axis=1).astype(np.int64)


def tiny(seed: int, weights: int) -> np.ndarray:
    """A layer of at most 4x4 with so many weights, rows and columns that are empty among them."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 5, 2)
    values = np.zeros(shape, np.float32)
    count = min(weights, values.size)
    values.flat[rng.choice(values.size, count, replace=False)] = 1
    return values


@settings(max_examples=150)
@given(st.integers(0, 2**20), st.integers(0, 6), SHAPES)
def test_no_packing_at_all_beats_a_bound(seed: int, weights: int, shape: tuple[int, int]) -> None:
    values, array = tiny(seed, weights), ArrayShape(*shape)
    users, sizes = users_of(values), sizes_of(values)
    found = every_packing(values, shape)
    for packing in found:
        assert packing.passes >= passes_lower_bound(sizes, array)
        assert packing.lane_inputs >= lane_inputs_lower_bound(users, array)
        assert packing.fan_in >= fan_in_lower_bound(users, array, packing.passes)
        assert packing.area >= area_lower_bound(sizes, array, packing.passes)
    # without a limit on inputs the first is met, and the area of a single tile is exact
    assert min(packing.passes for packing in found) == passes_lower_bound(sizes, array)
    ones = [packing.area for packing in found if packing.passes == 1]
    if ones:
        assert min(ones) == area_lower_bound(sizes, array, 1)


@settings(max_examples=150)
@given(matrices(), arrays(), st.sampled_from([1, 2, 3, 16]), st.sampled_from(LOSSLESS))
def test_no_method_beats_a_bound(matrix: LayerMatrix, array: ArrayShape, fan_in: int, method: str) -> None:
    tiles = oracle.plain(packed_layer(matrix, method, array, fan_in, lossy=LossySettings(fan_in)))
    whole = oracle.block_diagonal(matrix.values, matrix.groups)
    users, sizes, passes = users_of(whole), sizes_of(whole), len(tiles)
    found = oracle.measures(tiles, matrix.values, matrix.groups, tuple(array))
    assert passes >= passes_lower_bound(sizes, array)
    assert found["lane_inputs"] >= lane_inputs_lower_bound(users, array)
    assert found["fan_in_max"] >= (fan_in_lower_bound(users, array, passes) if passes else 0)
    area = sum(len(tile["lanes"]) * len(tile["filters"]) for tile in tiles)
    assert area >= area_lower_bound(sizes, array, passes)


@settings(max_examples=150)
@given(matrices(), arrays(), st.integers(0, 3))
def test_bounds_are_what_plain_loops_give(matrix: LayerMatrix, array: ArrayShape, more: int) -> None:
    whole = oracle.block_diagonal(matrix.values, matrix.groups)
    users = users_of(whole)
    passes = oracle.lower_bound(matrix.values, tuple(array)) + more
    inputs = sum(ceil(u / array.columns) for u in users.tolist())
    assert lane_inputs_lower_bound(users, array) == inputs
    if not passes:
        return
    weights, lanes = int(users.sum()), passes * array.rows
    fan_in = 0
    while (
        fan_in * lanes < inputs
        or lanes * sum(sorted((min(u, array.columns) for u in users.tolist()), reverse=True)[:fan_in])
        < weights
    ):
        fan_in += 1
    assert fan_in_lower_bound(users, array, passes) == fan_in


def test_bounds_of_a_layer_without_weights_are_nought() -> None:
    none = np.zeros(3, np.int64)
    for array in (ArrayShape(1, 1), ArrayShape(4, 4)):
        assert passes_lower_bound(none, array) == 0
        assert lane_inputs_lower_bound(none, array) == 0
        assert fan_in_lower_bound(none, array, 0) == fan_in_lower_bound(none, array, 2) == 0
        assert area_lower_bound(none, array, 0) == area_lower_bound(none, array, 1) == 0


@pytest.mark.parametrize(
    ("shape", "passes", "fan_in"),
    [((4, 4), 1, 4), ((4, 4), 2, 2), ((4, 4), 3, 2), ((4, 4), 4, 1), ((8, 2), 1, 2)],
)
def test_the_fan_in_of_a_diagonal_is_exact(shape: tuple[int, int], passes: int, fan_in: int) -> None:
    users = np.ones(16, np.int64)  # sixteen filters of an input each
    assert fan_in_lower_bound(users, ArrayShape(*shape), passes) == fan_in
