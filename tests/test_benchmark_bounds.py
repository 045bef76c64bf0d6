"""The bounds of the benchmarks: no packing costs less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.energy_bound import least_energy_pj
from benchmarks.saliency_bound import least_cycles
from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.energy_table import EnergyTable, default_table
from tightc.api.files import configs
from tightc.config.yaml import read_options
from tightc.cost_model.gemm import GemmWorkload
from tightc.permutation.packing_costs import PackingCosts
from tightc.tile.array import ArrayShape
from tightc.tile.packing import EMPTY, Packing, tile_of_slots

NANGATE = read_options(configs() / "energy" / "nangate45.yaml", EnergyTable)


@st.composite
def packings(draw: st.DrawFn) -> tuple[np.ndarray, Packing]:
    """Weights put into tiles of a small array in any order, with any columns left empty."""
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    filters, inputs = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    bits = draw(st.lists(st.booleans(), min_size=filters * inputs, max_size=filters * inputs))
    weights = np.array(bits, np.int64).reshape(filters, inputs)
    parts = []  # a filter and up to `rows` of its inputs: a column
    for number in range(filters):
        reads = draw(st.permutations(np.flatnonzero(weights[number]).tolist()))
        while reads:
            size = draw(st.integers(1, min(rows, len(reads))))
            parts.append((number, reads[:size]))
            reads = reads[size:]
    parts = draw(st.permutations(parts))
    tiles = []
    while parts:
        size = draw(st.integers(1, min(columns, len(parts))))
        slots = np.full((rows, size), EMPTY, np.int32)
        for column, (_, reads) in enumerate(parts[:size]):
            places = draw(st.permutations(range(rows)))[: len(reads)]
            slots[places, column] = reads
        tiles.append(tile_of_slots(np.array([number for number, _ in parts[:size]], np.int32), slots))
        parts = parts[size:]
    array = ArrayShape(rows, columns)
    return weights, Packing("tight", array, 32, filters, inputs, 1, tuple(tiles))


@settings(max_examples=300)
@given(
    packings(),
    st.integers(1, 40),
    st.sampled_from([default_table(), NANGATE]),
    st.booleans(),
    st.integers(1, 4),
    st.sampled_from([{}, {"prefetch": True}, {"replicate_tiles": True}, {"arrays": 2}]),
)
def test_no_packing_takes_less_energy(
    packed: tuple[np.ndarray, Packing],
    vectors: int,
    table: EnergyTable,
    bypass: bool,
    every: int,
    others: dict[str, int],
) -> None:
    weights, packing = packed
    gemm = GemmWorkload(packing.filters, packing.inputs, 1, vectors)
    accelerator = Accelerator(packing.array, accumulator_bypass=bypass, columns_per_lane_register=every)
    accelerator = replace(accelerator, **others)
    found = PackingCosts(gemm, accelerator, table).of(packing).energy_pj
    assert least_energy_pj(weights, gemm, accelerator, table) <= found * (1 + 1e-12)


def test_a_full_tile_that_reads_each_input_once_takes_the_least() -> None:
    array, vectors = ArrayShape(2, 3), 10
    weights = np.ones((3, 2), np.int64)
    tile = tile_of_slots(np.arange(3, dtype=np.int32), np.array([[0, 0, 0], [1, 1, 1]], np.int32))
    packing = Packing("tight", array, 1, 3, 2, 1, (tile,))
    gemm = GemmWorkload(3, 2, 1, vectors)
    accelerator = Accelerator(array, accumulator_bypass=True, columns_per_lane_register=4)
    found = PackingCosts(gemm, accelerator, NANGATE).of(packing).energy_pj
    least = least_energy_pj(weights, gemm, accelerator, NANGATE)
    index = 0.02 * found  # selects and lists of lanes and columns; the way of loaded weights through the PEs
    assert found - index < least <= found


def test_of_no_weights_only_the_outputs_are_written() -> None:
    gemm, accelerator = GemmWorkload(2, 3, 1, 5), Accelerator(ArrayShape(4, 4))
    least = least_energy_pj(np.zeros((2, 3), np.int64), gemm, accelerator, NANGATE)
    assert least == pytest.approx(gemm.outputs * NANGATE.sram.energy)


@settings(max_examples=300)
@given(st.lists(st.tuples(packings(), st.integers(1, 40)), min_size=1, max_size=3), st.data())
def test_no_packing_of_weights_with_so_much_saliency_takes_fewer_cycles(
    layers: list[tuple[tuple[np.ndarray, Packing], int]], data: st.DataObject
) -> None:
    array = layers[0][0][1].array
    layers = [layer for layer in layers if layer[0][1].array == array and layer[0][0].any()]
    saliency, found, kept = [], 0.0, 0.0
    for (weights, packing), vectors in layers:
        gemm = GemmWorkload(packing.filters, packing.inputs, 1, vectors)
        found += PackingCosts(gemm, Accelerator(array), default_table()).of(packing).cycles
        values = data.draw(st.lists(st.integers(0, 9), min_size=weights.size, max_size=weights.size))
        saliency.append(np.array(values, np.float64).reshape(weights.shape))
        kept += float(saliency[-1][weights > 0].sum())
    cycles = [array.pass_cycles(vectors) for _, vectors in layers]
    if layers:
        assert least_cycles(saliency, cycles, array.rows * array.columns, kept) <= found * (1 + 1e-12)


def test_saliency_beyond_the_first_passes_costs_its_part_of_a_pass() -> None:
    """Passes of 10 and 20 cycles hold two weights each: of the others, 4 for 5 cycles come before 6 for 10."""
    layers = [np.array([[9.0, 1.0], [4.0, 8.0]]), np.array([7.0, 6.0, 8.0])]
    assert least_cycles(layers, [10, 20], 2, 32.0) == 30
    assert least_cycles(layers, [10, 20], 2, 36.0) == 35
    assert least_cycles(layers, [10, 20], 2, 39.0) == 40
    assert least_cycles(layers, [10, 20], 2, 42.0) == 45
    assert least_cycles(layers, [10, 20], 2, 43.0) == 50
