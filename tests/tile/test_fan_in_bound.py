"""The pass bound that knows the fan-in: against exhaustive search, exact fractions, and all methods."""

from __future__ import annotations

from itertools import combinations, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from helpers.methods import LOSSLESS
from helpers.packings import arrays, matrices, packed_layer
from tightc.permutation.problem import LossySettings
from tightc.tile import fan_in_bound
from tightc.tile.array import ArrayShape
from tightc.tile.bounds import passes_lower_bound
from tightc.tile.fan_in_bound import (
    LaneInputs,
    lane_inputs_lower_bound_in_passes,
    passes_lower_bound_at_fan_in,
)
from tightc.tile.matrix import LayerMatrix

SIDES = st.integers(1, 3)


def bound(slots: np.ndarray, shape: tuple[int, int], fan_in: int, groups: int = 1) -> int:
    return passes_lower_bound_at_fan_in(slots.astype(np.int8), groups, ArrayShape(*shape), fan_in)


def by_sizes(slots: np.ndarray, shape: tuple[int, int]) -> int:
    return passes_lower_bound(slots.sum(axis=1, dtype=np.int64), ArrayShape(*shape))


def without_overlaps(slots: np.ndarray, shape: tuple[int, int], fan_in: int) -> int:
    """The bound by sizes, by lanes of inputs and by weights on a lane, whichever is largest; by plain loops."""
    (rows, columns), users = shape, [int(n) for n in slots.sum(axis=0)]
    fan_in = min(fan_in, columns)
    by_lanes = sum(-(-u // columns) for u in users)
    on_a_lane = min(columns, sum(sorted((min(u, columns) for u in users), reverse=True)[:fan_in]))
    return max(
        by_sizes(slots, shape), -(-by_lanes // (rows * fan_in)), -(-sum(users) // (rows * max(1, on_a_lane)))
    )


def all_of(filters: int, inputs: int) -> list[np.ndarray]:
    """Every 0/1 matrix of that size, but for the order of its rows and columns."""
    orders = list(product(permutations(range(filters)), permutations(range(inputs))))
    found = {}
    for bits in product((0, 1), repeat=filters * inputs):
        matrix = np.array(bits, np.int8).reshape(filters, inputs)
        key = min(matrix[np.ix_(rows, columns)].tobytes() for rows, columns in orders)
        found.setdefault(key, matrix)
    return list(found.values())


def each_pair_shares_an_input(filters: int) -> np.ndarray:
    """An input for each pair of filters, which only they read."""
    pairs = list(combinations(range(filters), 2))
    return np.array([[f in pair for pair in pairs] for f in range(filters)], np.int8)


def rows_of(text: str) -> np.ndarray:
    """A 0/1 matrix from its rows, written without spaces."""
    return np.array([[int(slot) for slot in row] for row in text.split()], np.int8)


def test_it_is_exact_for_every_layer_of_three_filters_and_inputs() -> None:
    cases = above = 0
    for slots in all_of(3, 3):
        for shape in product((1, 2, 3), repeat=2):
            for fan_in in (1, 2, 3):
                found = bound(slots, shape, fan_in)
                assert found == oracle.fewest_passes(slots, 1, shape, fan_in), (slots, shape, fan_in)
                cases += 1
                above += found > by_sizes(slots, shape)
    assert (cases, above) == (36 * 9 * 3, 60)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), SIDES, SIDES, SIDES)
def test_no_packing_at_all_beats_it(seed: int, weights: int, rows: int, columns: int, fan_in: int) -> None:
    rng = np.random.default_rng(seed)
    slots = np.zeros(rng.integers(1, 6, 2), np.int8)
    for place in rng.integers(0, slots.size, weights):
        slots.flat[place] = min(slots.flat[place] + 1, 1 + seed % 2)  # subwords: a weight may take two slots
    groups = int(rng.choice([n for n in (1, 2, 3) if slots.shape[0] % n == 0]))
    fewest = oracle.fewest_passes(slots, groups, (rows, columns), fan_in)
    found = bound(slots, (rows, columns), fan_in, groups)
    assert found <= fewest
    whole = oracle.block_diagonal(slots, groups)
    assert found >= without_overlaps(whole, (rows, columns), fan_in)


def test_it_is_mostly_exact_for_random_layers() -> None:
    rng = np.random.default_rng(0)
    exact = cases = raised = 0
    for _ in range(1000):
        slots = (rng.random(rng.integers(3, 7, 2)) < 0.4).astype(np.int8)
        shape, fan_in = (int(rng.integers(2, 4)), 2), int(rng.integers(1, 3))
        if slots.sum() <= 11:
            fewest, found = oracle.fewest_passes(slots, 1, shape, fan_in), bound(slots, shape, fan_in)
            assert found <= fewest
            cases, exact = cases + 1, exact + (found == fewest)
            raised += found > without_overlaps(slots, shape, fan_in)
    assert (cases, exact, raised) == (853, 846, 10)


@pytest.mark.parametrize(
    ("slots", "shape", "fan_in", "passes", "cheap", "sizes"),
    [
        # a tile of two filters shares one input, so twelve weights need ten lane inputs, or nine with more columns
        (each_pair_shares_an_input(4), (3, 2), 1, 3, 2, 2),
        # filters 0 and 1 share two inputs, which a pair of columns of two rows can hold once
        (rows_of("1110 1010 1000 0001 0010"), (2, 3), 1, 3, 2, 2),
        # the first input has five users, but three on a lane at most
        (rows_of("10000 01000 11000 10000 11100 10011 10001"), (2, 3), 1, 4, 3, 3),
        (np.eye(8, dtype=np.int8), (2, 4), 1, 4, 4, 2),  # an input for each filter
        (np.ones((3, 4), np.int8), (2, 3), 1, 2, 2, 2),  # all filters read all inputs
        (np.ones((3, 4), np.int8), (4, 2), 2, 2, 2, 2),
    ],
)
def test_layers_by_hand(
    slots: np.ndarray, shape: tuple[int, int], fan_in: int, passes: int, cheap: int, sizes: int
) -> None:
    assert bound(slots, shape, fan_in) == oracle.fewest_passes(slots, 1, shape, fan_in) == passes
    assert without_overlaps(slots, shape, fan_in) == cheap
    assert by_sizes(slots, shape) == sizes


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from([1, 2]),
)
def test_it_is_that_of_exact_fractions(seed: int, rows: int, columns: int, fan_in: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 4))
    size, inputs = int(rng.integers(1, 1 + 8 // groups)), int(rng.integers(1, 13))
    slots = rng.integers(1, most + 1, (groups * size, inputs)) * (
        rng.random((groups * size, inputs)) < rng.choice([0.2, 0.5, 1.0])
    )
    expected = oracle.passes_bound(slots, groups, (rows, columns), fan_in)
    assert bound(slots, (rows, columns), fan_in, groups) == expected


@settings(max_examples=150, deadline=None)
@given(matrices(), arrays(), st.integers(1, 6))
def test_it_never_rises_with_rows_columns_or_fan_in(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int
) -> None:
    slots, groups = matrix.slots(), matrix.groups
    found = bound(slots, array, fan_in, groups)
    assert found >= bound(slots, array, fan_in + 1, groups)
    assert found >= bound(slots, array._replace(rows=array.rows + 1), fan_in, groups)
    assert found >= bound(slots, array._replace(columns=array.columns + 1), fan_in, groups)
    assert bound(slots, array, 10_000, groups) >= by_sizes(slots, array)


@settings(max_examples=150, deadline=None)
@given(matrices(), arrays(), st.sampled_from([1, 2, 3, 16]), st.sampled_from(LOSSLESS))
def test_no_method_beats_it(matrix: LayerMatrix, array: ArrayShape, fan_in: int, method: str) -> None:
    packing = packed_layer(matrix, method, array, fan_in, lossy=LossySettings(fan_in))
    passes = len(packing.tiles)
    assert passes >= bound(matrix.slots(), array, packing.fan_in, matrix.groups)
    least = bound(matrix.slots(), array, fan_in, matrix.groups)
    assert passes >= least
    # that some packing is known saves time and changes nothing
    assert passes_lower_bound_at_fan_in(matrix.slots(), matrix.groups, array, fan_in, passes) == least


@settings(max_examples=60, deadline=None)
@given(matrices(), arrays(), st.integers(1, 6))
def test_what_fan_ins_have_in_common_is_computed_once(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int
) -> None:
    slots, groups = matrix.slots(), matrix.groups
    inputs = LaneInputs.of(slots, groups, array)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            fan_in_bound, "_MOST", -1 if inputs else fan_in_bound._MOST
        )  # none may be computed again
        again = passes_lower_bound_at_fan_in(slots, groups, array, fan_in, inputs=inputs)
        lanes = lane_inputs_lower_bound_in_passes(slots, groups, array, fan_in, inputs)
    assert again == passes_lower_bound_at_fan_in(slots, groups, array, fan_in)
    assert lanes == lane_inputs_lower_bound_in_passes(slots, groups, array, fan_in)


def test_groups_are_a_block_diagonal_layer() -> None:
    rng = np.random.default_rng(0)
    slots = (rng.random((12, 9)) < 0.5).astype(np.int8)
    whole = oracle.block_diagonal(slots, 3)
    for shape, fan_in in product(((2, 3), (8, 3), (4, 2)), (1, 2, 3)):
        assert bound(slots, shape, fan_in, 3) == bound(whole, shape, fan_in)


def test_where_overlaps_cost_too_much_the_rest_of_the_bound_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    slots, shape = each_pair_shares_an_input(4), (3, 2)
    assert bound(slots, shape, 1) == 3
    monkeypatch.setattr(fan_in_bound, "_MOST", 4 * 4 * (6 + 2048) - 1)
    assert bound(slots, shape, 1) == without_overlaps(slots, shape, 1) == 2


def test_a_layer_without_weights_takes_no_pass() -> None:
    assert bound(np.zeros((3, 4), np.int8), (2, 2), 1) == 0
