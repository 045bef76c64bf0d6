"""Column combining against the same greedy choice in plain loops."""

from __future__ import annotations

from concurrent.futures import CancelledError
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from helpers.packings import arrays, matrices, packed_layer
from tightc.errors import OptionError
from tightc.permutation.methods.column_combine import _count_bits, combine
from tightc.permutation.problem import LossySettings
from tightc.permutation.search_context import SearchContext
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix
from tightc.tile.measures import measure
from tightc.tile.packing import EMPTY

GAMMAS = st.sampled_from([0.0, 0.1, 0.29, 0.5, 1.75, 100.0])
ALPHAS = st.sampled_from([1, 2, 3, 8])


def blocks(matrix: LayerMatrix) -> list[np.ndarray]:
    return np.split(matrix.values, matrix.groups)


def lanes_of(matrix: LayerMatrix, lossy: LossySettings) -> list[list[list[int]]]:
    return [[lane.tolist() for lane in combine(block, lossy, SearchContext())] for block in blocks(matrix)]


@settings(max_examples=150)
@given(matrices(), ALPHAS, GAMMAS)
def test_lanes_are_those_of_a_plain_greedy_search(matrix: LayerMatrix, alpha: int, gamma: float) -> None:
    expected = [oracle.combined_inputs(block, alpha, gamma) for block in blocks(matrix)]
    assert lanes_of(matrix, LossySettings(alpha, gamma)) == expected


@settings(max_examples=150)
@given(matrices(), arrays(), ALPHAS, GAMMAS)
def test_only_the_largest_of_a_conflict_is_kept_and_nothing_else(
    matrix: LayerMatrix, array: ArrayShape, alpha: int, gamma: float
) -> None:
    lossy = LossySettings(alpha, gamma)
    kept = oracle.combined_kept(matrix.values, matrix.groups, lanes_of(matrix, lossy))
    packing = packed_layer(matrix, "column-combine", array, fan_in=alpha, lossy=lossy)
    tiles = oracle.plain(packing)
    assert oracle.packing_faults(tiles, matrix.values, matrix.groups, tuple(array), alpha, kept) == []
    assert packing.fan_in == alpha


@settings(max_examples=100)
@given(matrices(), ALPHAS, GAMMAS)
def test_alpha_and_gamma_are_respected(matrix: LayerMatrix, alpha: int, gamma: float) -> None:
    for block, lanes in zip(blocks(matrix), lanes_of(matrix, LossySettings(alpha, gamma)), strict=True):
        for lane in lanes:
            weights = np.count_nonzero(block[:, lane], axis=1)
            assert 1 <= len(lane) <= alpha
            assert (weights - (weights > 0)).sum() <= gamma * len(block) + 1e-9
        carried = sorted(k for lane in lanes for k in lane)
        assert carried == np.flatnonzero(block.any(axis=0)).tolist()


@settings(max_examples=100)
@given(matrices(), arrays(), ALPHAS)
def test_without_gamma_nothing_is_dropped(matrix: LayerMatrix, array: ArrayShape, alpha: int) -> None:
    packing = packed_layer(matrix, "column-combine", array, fan_in=alpha, lossy=LossySettings(alpha))
    tiles = oracle.plain(packing)
    assert oracle.packing_faults(tiles, matrix.values, matrix.groups, tuple(array), alpha) == []
    assert measure(packing, matrix).dropped_weights == 0


def test_passes_are_lanes_and_filters_cut_into_tiles() -> None:
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(20, 60)) * (rng.random((20, 60)) < 0.2)).astype(np.float32)
    lossy = LossySettings(4, 0.2)
    packing = packed_layer(LayerMatrix(values), "column-combine", ArrayShape(8, 6), 4, lossy=lossy)
    lanes = combine(values, lossy, SearchContext())
    assert len(lanes) == 15
    assert len(packing.tiles) == ceil(15 / 8) * ceil(20 / 6)


def test_of_equal_weights_the_first_is_kept() -> None:
    values = np.array([[2, -2, 2, 0], [0, 1, -3, 3]], np.float32)
    packing = packed_layer(LayerMatrix(values), "column-combine", fan_in=4, lossy=LossySettings(4, 9.0))
    filters, inputs = packing.slots()
    assert dict(zip(filters.tolist(), inputs.tolist(), strict=True)) == {0: 0, 1: 2}


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_every_float_type_is_combined(dtype: str) -> None:
    values = np.random.default_rng(1).normal(size=(9, 12)).astype(dtype)
    packing = packed_layer(LayerMatrix(values), "column-combine", fan_in=8, lossy=LossySettings(8, 2.0))
    assert all((tile.select != EMPTY).any(axis=1).all() for tile in packing.tiles)


def test_an_alpha_beyond_the_fan_in_is_refused_with_the_remedy() -> None:
    with pytest.raises(OptionError) as refused:
        packed_layer(
            LayerMatrix(np.ones((2, 2), np.float32)), "column-combine", fan_in=3, lossy=LossySettings(8)
        )
    assert refused.value.sentence == "expected alpha up to 3, the fan-in of the array, got 8"
    assert refused.value.remedy == "lower alpha to 3 or raise the fan-in to 8"


def test_an_interrupt_ends_it() -> None:
    context = SearchContext()
    context.time.deadline.interrupt()
    with pytest.raises(CancelledError):
        combine(np.ones((2, 2), np.float32), LossySettings(), context)


@pytest.mark.kernel
@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
def test_the_kernel_fills_lanes_as_plain_loops_do(gamma: float) -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(size=(70, 25)) * (rng.random((70, 25)) < 0.15)  # two words
    lanes = [lane.tolist() for lane in combine(values, LossySettings(4, gamma), SearchContext())]
    assert lanes == oracle.combined_inputs(values, 4, gamma)


@pytest.mark.kernel
@pytest.mark.parametrize(
    "word", [0, 1, 0xFF, 0x8000_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF, 0x1234_5678_9ABC_DEF0]
)
def test_bits_are_counted(word: int) -> None:
    assert _count_bits(np.uint64(word)) == word.bit_count()


@pytest.mark.parametrize(
    ("clashes", "gamma", "lanes"), [(29, 0.29, 1), (29, 0.28, 2), (30, 0.29, 2), (57, 0.57, 1)]
)
def test_a_fraction_of_the_filters_is_counted_as_it_is_written(
    clashes: int, gamma: float, lanes: int
) -> None:
    values = np.zeros((100, 2), np.float32)
    values[:clashes] = 1
    values[clashes:60, 0] = values[60:, 1] = 1
    # 0.29 x 100 is 28.999999999999996 in binary
    assert len(combine(values, LossySettings(2, gamma), SearchContext())) == lanes


def test_progress_is_the_fraction_of_the_inputs_that_have_a_lane() -> None:
    seen: list[tuple[str, float, dict[str, str]]] = []
    context = SearchContext(layer="one", progress=lambda *report: seen.append(report))
    values = np.eye(70, dtype=np.float32)
    values[0] = 1  # all inputs clash, so that each has a lane of its own
    lanes = combine(values, LossySettings(8, 0.0), context, done=0.25, fraction=0.5)
    assert len(lanes) == 70
    assert {layer for layer, _, _ in seen} == {"one"}
    assert [figures["lanes"] for _, _, figures in seen][-1] == "70"
    for _, done, figures in seen:
        assert done == pytest.approx(0.25 + 0.5 * 0.9 * int(figures["lanes"]) / 70)
