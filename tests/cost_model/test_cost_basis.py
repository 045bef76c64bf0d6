"""What a layer costs by its segments, against plain counts, dense layers, random draws and packed layers."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from helpers.packings import PackingCase, packed_layer
from helpers.small_accelerator import hardware
from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.bank_network import BankNetwork
from tightc.accelerator.energy_table import default_table
from tightc.cost_model.cost_basis import CostBasis
from tightc.cost_model.expected_tiles import expected_passes, expected_tiles
from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.passes import dense_passes
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix

SIDES = st.integers(1, 6)
GEMMS = st.builds(
    GemmWorkload,
    filters=SIDES,
    inputs=st.integers(1, 40),
    groups=st.integers(1, 3),
    vectors=st.integers(1, 60),
)
ARRAYS = st.builds(ArrayShape, SIDES, SIDES)


def segments_of(gemm: GemmWorkload, array: ArrayShape) -> int:
    return gemm.filters * gemm.groups * ceil(gemm.inputs / array.rows)


@given(st.lists(GEMMS, min_size=1, max_size=2), ARRAYS)
def test_cycles_on_an_ideal_array_are_those_of_started_tiles(
    gemms: list[GemmWorkload], array: ArrayShape
) -> None:
    gemms = [replace(gemms[0], vectors=gemm.vectors) for gemm in gemms]  # layers that share a weight
    found = CostBasis("speedup", Accelerator(array), default_table()).of(gemms, 8)
    each = sum(2 * array.rows + array.columns - 2 + gemm.vectors for gemm in gemms)
    counts = range(segments_of(gemms[0], array) + 1)
    assert found.of_segments.tolist() == [each * ceil(count / array.columns) for count in counts]
    blocks = oracle.dense_blocks(gemms[0].filters, gemms[0].inputs, gemms[0].groups, array)
    assert found.dense == each * len(blocks)


def test_of_many_tiles_some_are_looked_at_and_all_are_right() -> None:
    gemm, array = GemmWorkload(40, 500, 1, 7), ArrayShape(2, 3)
    found = CostBasis("speedup", Accelerator(array), default_table()).of([gemm], 8)
    tiles = [ceil(count / 3) for count in range(10_001)]
    np.testing.assert_allclose(found.of_segments, [(7 + 5) * tile for tile in tiles], rtol=1e-12)


@settings(max_examples=60)
@given(GEMMS, ARRAYS, st.sampled_from([None, 1, 2, 5]), st.sampled_from(["speedup", "energy", "bits"]))
def test_costs_never_fall(gemm: GemmWorkload, array: ArrayShape, fan_in: int | None, kind: str) -> None:
    basis = CostBasis(kind, Accelerator(array, fan_in=fan_in), default_table())
    costs = basis.of([gemm], 8).of_segments
    assert costs.shape == (segments_of(gemm, array) + 1,)
    assert costs[0] == 0
    assert (np.diff(costs) >= 0).all()
    assert costs[1] > 0


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 30), st.booleans(), ARRAYS)
def test_a_layer_with_all_its_segments_asks_for_what_it_asks_dense(
    folds: int, blocks: int, vectors: int, bypass: bool, array: ArrayShape
) -> None:
    gemm = GemmWorkload(blocks * array.columns, folds * array.rows, 1, vectors)
    tiles = expected_passes(gemm, array, segments_of(gemm, array), 1)
    dense = dense_passes("ws", gemm, array)
    if bypass:
        tiles, dense = tiles.bypassing(), dense.bypassing()
    for name in ("lanes", "columns", "loaded_words", "activation_words", "edge_words", "sums", "macs"):
        assert getattr(tiles, name).tolist() == getattr(dense, name).tolist(), name
    for name in ("sums_read", "sums_written", "completed_sums"):
        assert getattr(tiles, name).sum() == getattr(dense, name).sum(), name


@pytest.mark.parametrize(("columns", "inputs"), [(4, 20), (12, 20), (9, 100)])
def test_a_tile_reads_as_many_inputs_as_random_columns_do(columns: int, inputs: int) -> None:
    random = np.random.default_rng(0)
    drawn = [
        len(set(np.concatenate([random.choice(inputs, 6, replace=False) for _ in range(columns)])))
        for _ in range(2000)
    ]
    gemm = GemmWorkload(filters=columns, inputs=inputs, groups=1, vectors=1)
    tiles = expected_tiles(gemm, ArrayShape(6, 12), columns, None)
    assert tiles.columns.tolist() == [columns]
    assert tiles.inputs[0] == pytest.approx(np.mean(drawn), abs=0.6)


def test_a_tile_has_as_many_columns_as_its_lanes_carry_inputs_for() -> None:
    """Four lanes carry 8 inputs: a column reads 4 of 40, two read 7.6, three 10.8."""
    gemm = GemmWorkload(filters=10, inputs=40, groups=1, vectors=5)
    assert expected_tiles(gemm, ArrayShape(4, 8), 10, 2).columns.tolist() == [2, 2, 2, 2, 2]
    assert expected_tiles(gemm, ArrayShape(4, 8), 10, None).columns.tolist() == [8, 2]
    assert expected_tiles(gemm, ArrayShape(4, 8), 10, 2).inputs.tolist() == [8] * 5


def test_groups_share_no_inputs() -> None:
    """One segment in each of five groups reads five times the three inputs of a group."""
    gemm = GemmWorkload(filters=1, inputs=3, groups=5, vectors=5)
    tiles = expected_tiles(gemm, ArrayShape(4, 8), 5, None)
    assert (tiles.lanes.tolist(), tiles.columns.tolist(), tiles.inputs.tolist()) == ([3], [5], [15])


@given(GEMMS, ARRAYS, st.integers(1, 5), st.sampled_from([1, 2]), st.integers(1, 100))
def test_lanes_carry_the_inputs_of_their_tile(
    gemm: GemmWorkload, array: ArrayShape, fan_in: int, slots: int, segments: int
) -> None:
    segments = min(segments, gemm.filters * gemm.groups * ceil(gemm.inputs * slots / array.rows))
    tiles = expected_tiles(gemm, array, segments, fan_in, slots)
    assert (tiles.inputs <= tiles.lanes * fan_in).all()
    assert (tiles.lanes <= array.rows).all()
    assert tiles.fan_in <= fan_in


@pytest.mark.parametrize(("fan_in", "slots"), [(1, 128), (4, 128), (8, 64)])
def test_slots_of_a_depthwise_layer_are_those_of_its_packing(fan_in: int, slots: int) -> None:
    """16 filters of 4 weights on 8 lanes share no input: up to a fan-in of 4 a tile needs all lanes for its inputs."""
    array = ArrayShape(8, 8)
    packing = packed_layer(LayerMatrix(np.ones((16, 4), np.float32), 16), "tight", array, fan_in)
    tiles = expected_tiles(GemmWorkload(filters=1, inputs=4, groups=16, vectors=5), array, 16, fan_in)
    assert sum(tile.area for tile in packing.tiles) == tiles.area.sum() == slots


def test_bits_are_those_of_slots_selects_and_lists() -> None:
    """Two columns of four int8 weights on lanes of two inputs: three lists of numbers beside the weights."""
    gemm = GemmWorkload(filters=2, inputs=8, groups=1, vectors=99)
    basis = CostBasis("bits", Accelerator(ArrayShape(4, 2), fan_in=2), default_table())
    found = basis.of([gemm], 8)
    inputs = round(8 * (1 - (1 / 2) ** 2))
    assert found.of_segments[2] == 8 * 8 + 8 * 1 + 4 * 2 + inputs * 3 + 2 * 1
    assert found.dense == 16 * 8


def test_subwords_take_their_slots_and_cost_their_part_of_a_multiplication() -> None:
    gemm = GemmWorkload(filters=4, inputs=8, groups=1, vectors=9)
    whole = CostBasis("speedup", Accelerator(ArrayShape(4, 4)), default_table(), 4).of([gemm], 8)
    assert len(whole.of_segments) - 1 == 4 * 4  # two slots for each of 8 weights, in segments of 4
    assert whole.of_segments[-1] == 4 * (9 + 8 + 4 - 2)
    assert whole.dense == 4 * (9 + 8 + 2 - 2)  # two multipliers for subwords make one for weights
    assert expected_passes(gemm, ArrayShape(4, 4), 16, None, 2).weight_fraction == 0.5


def test_low_tiles_have_replicas_on_an_array_that_replicates_them() -> None:
    """Two tiles of 4 x 4 lie on the diagonal of 8 x 8, and each has half of the vectors; one of 4 x 8 lies alone."""
    gemm, array = GemmWorkload(filters=4, inputs=8, groups=1, vectors=100), ArrayShape(8, 8)
    whole = CostBasis("speedup", Accelerator(array, replicate_tiles=True), default_table())
    low = replace(whole, segment_rows=4)
    assert whole.of([gemm], 8).of_segments.tolist() == [0, *[array.pass_cycles(100)] * 4]
    assert low.of([gemm], 8).of_segments.tolist() == [
        0,
        *[array.pass_cycles(50)] * 4,
        *[array.pass_cycles(100)] * 4,
    ]
    assert low.of([gemm], 8).dense == whole.of([gemm], 8).dense == array.pass_cycles(100)


def test_banks_are_left_out() -> None:
    gemm = GemmWorkload(filters=4, inputs=8, groups=1, vectors=9)
    own = Accelerator.of(hardware())
    basis = CostBasis("energy", own, default_table())
    banked = replace(basis, accelerator=replace(own, bank_network=BankNetwork(2)))
    assert banked.of([gemm], 8).of_segments.tolist() == basis.of([gemm], 8).of_segments.tolist()


@pytest.mark.parametrize(
    ("array", "per_filter"),
    [
        ("4x8", 12),
        ("8x8", 6),
        ("8x8", 9),
        ("32x8", 2),
        ("8x16", 6),
        ("16x16", 4),
        ("16x16", 6),
        ("32x32", 3),
        ("64x64", 2),
    ],
)
def test_a_packing_reads_about_the_inputs_of_the_estimate(array: str, per_filter: int) -> None:
    """64 filters of 288 inputs with so many segments each, their weights drawn at random, searched for energy."""
    size, random = ArrayShape.parse(array), np.random.default_rng(7)
    values = np.zeros((64, 288), np.float32)
    for row in values:
        row[random.choice(288, per_filter * size.rows, replace=False)] = 1
    packing = PackingCase(size, 8, objective="energy", vectors=256).pack(LayerMatrix(values, 1), "tight")
    read = sum(len(set(tile.inputs.tolist())) for tile in packing.tiles)
    tiles = expected_tiles(GemmWorkload(64, 288, 1, 256), size, 64 * per_filter, 8)
    assert read == pytest.approx(tiles.inputs.sum(), rel=0.2)
