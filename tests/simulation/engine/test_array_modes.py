"""Shared lane registers, overlapped draining and the bypass: engine and closed forms against the stepped array."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import oracle
from helpers.accelerators import (
    DATAFLOWS,
    accelerators_with_modes,
    gemm_of,
    kept,
    layers,
    machine,
    packed,
    tile_passes,
    tiles_of,
    vectors_for,
)
from helpers.methods import METHODS
from tightc.accelerator.accelerator import Accelerator, BufferPort
from tightc.cost_model.cycles import layer_cycles, start_cycles
from tightc.cost_model.passes import Passes, dense_passes, packed_passes
from tightc.simulation.engine.cycle_log import Traces
from tightc.simulation.engine.loaded_tile import Operands
from tightc.simulation.engine.run import EngineResult, run_dense, run_packing
from tightc.simulation.engine.stationary import LOG_COLUMNS, STEPS_BEGUN
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix

ROWS = LayerMatrix(np.arange(1, 22, dtype=np.int32).reshape(3, 7))
DEPTHWISE = LayerMatrix(np.arange(1, 25, dtype=np.int32).reshape(6, 4), 6)
NARROW = LayerMatrix(np.array([[3, 5], [0, 7]], np.int32))
# two replicas of two columns, one of which has no fifth step
REPLICATED = Accelerator(
    ArrayShape(5, 4), prefetch=True, replicate_tiles=True, columns_per_lane_register=2, arrays=1
)
# as many passes in flight as there are columns
FLAT = Accelerator(ArrayShape(1, 5), prefetch=True, overlap_drain=True)
SLOW = Accelerator(
    ArrayShape(4, 3),
    arrays=2,
    prefetch=True,
    activations=BufferPort(words_per_cycle=1.5),
    weights=BufferPort(words_per_cycle=2),
    sums=BufferPort(words_per_cycle=0.5),
    columns_per_lane_register=2,
    overlap_drain=True,
    accumulator_bypass=True,
)


def first_steps(traces: Traces, passes: int, temporal_tiles: int) -> list[int]:
    """For each pass of each temporal tile the cycle in which its first step enters."""
    found = [-1] * (passes * temporal_tiles)
    clocks: dict[int, int] = {}
    for trace in traces:
        clock = clocks.get(trace.array, 0)
        if trace.phase == "stream":
            number = trace.temporal_tile * passes + trace.tile
            found[number] = clock + int(np.flatnonzero(trace.log[:, STEPS_BEGUN])[0])
        clocks[trace.array] = clock + len(trace.log)
    return found


def check(
    result: EngineResult,
    stepped: oracle.Run,
    passes: Passes,
    accelerator: Accelerator,
    temporal_tiles: int,
    traces: Traces,
) -> None:
    """Outputs, cycles, starts and traces of the engine are those of the stepped array and of the closed form."""
    assert result.outputs.tolist() == stepped.outputs
    assert result.cycles == stepped.cycles == layer_cycles(passes, accelerator, temporal_tiles).total
    assert result.pe_steps == stepped.all_cycles * accelerator.array.rows * accelerator.array.columns
    starts = first_steps(traces, len(passes), temporal_tiles)
    assert starts == start_cycles(passes, accelerator, temporal_tiles).tolist()
    is_stationary = passes.dataflow != "os"
    if is_stationary:
        assert starts == list(stepped.starts)
    found = dict(zip(LOG_COLUMNS, sum(trace.log.sum(axis=0) for trace in traces).tolist(), strict=True))
    assert found == {
        "rows_loaded": accelerator.array.rows * len(passes) * temporal_tiles * is_stationary,
        "steps_begun": stepped.counts["begun"],
        "lane_words": stepped.counts["edge"],
        "macs": stepped.counts["mac"],
        "sums_out": stepped.counts["sum_out"],
    }
    assert sum(len(trace.log) for trace in traces) == stepped.all_cycles


def check_dense(
    matrix: LayerMatrix,
    count: int,
    accelerator: Accelerator,
    dataflow: str,
    temporal_tiles: int = 1,
    overlaps: bool = False,
) -> None:
    temporal_tiles = min(temporal_tiles, {"ws": count, "is": matrix.filters_per_group, "os": 1}[dataflow])
    vectors, traces = vectors_for(matrix, count), []
    operands = Operands(matrix, vectors, overlaps=overlaps)
    result = run_dense(dataflow, operands, accelerator, temporal_tiles, traces)
    stepped = oracle.run_dense(
        dataflow,
        matrix.values,
        matrix.groups,
        vectors,
        machine(accelerator, dataflow, overlaps),
        temporal_tiles,
    )
    assert stepped.outputs == (vectors @ oracle.block_diagonal(matrix.values, matrix.groups).T).tolist()
    gemm = replace(gemm_of(matrix, count), overlaps=overlaps)
    passes = dense_passes(dataflow, gemm, accelerator.array)
    check(result, stepped, passes, accelerator, temporal_tiles, traces)


def check_packing(
    matrix: LayerMatrix,
    count: int,
    accelerator: Accelerator,
    method: str,
    fan_in: int = 3,
    temporal_tiles: int = 1,
    overlaps: bool = False,
) -> None:
    temporal_tiles = min(temporal_tiles, count)
    packing = packed(matrix, method, accelerator.array, fan_in)
    vectors, traces = vectors_for(matrix, count), []
    operands = Operands(matrix, vectors, overlaps=overlaps)
    result = run_packing(packing, operands, accelerator, temporal_tiles, traces)
    stepped = oracle.run_packing(
        tiles_of(packing),
        matrix.values,
        matrix.groups,
        vectors,
        machine(accelerator, "ws", overlaps),
        temporal_tiles,
    )
    assert stepped.outputs == (vectors @ kept(packing, matrix).T).tolist()
    if not packing.tiles:
        assert (result.cycles, traces) == (0, [])
        return
    gemm = replace(gemm_of(matrix, count), overlaps=overlaps)
    passes = tile_passes(packing, gemm) if method == "dense" else packed_passes(packing, gemm)
    check(result, stepped, passes, accelerator, temporal_tiles, traces)


@settings(max_examples=120)
@given(
    st.sampled_from(DATAFLOWS).flatmap(
        lambda dataflow: st.tuples(st.just(dataflow), accelerators_with_modes(dataflow))
    ),
    layers(),
    st.integers(1, 6),
    st.integers(1, 3),
    st.booleans(),
)
@example(("ws", FLAT), ROWS, 1, 1, False)
@example(("is", FLAT), ROWS, 2, 1, False)
@example(("ws", SLOW), DEPTHWISE, 3, 2, False)
@example(("is", SLOW), DEPTHWISE, 3, 1, True)
@example(("os", replace(SLOW, overlap_drain=False)), DEPTHWISE, 3, 1, False)
def test_dense_layers_of_any_dataflow(
    where: tuple[str, Accelerator], matrix: LayerMatrix, count: int, temporal_tiles: int, overlaps: bool
) -> None:
    dataflow, accelerator = where
    check_dense(matrix, count, accelerator, dataflow, temporal_tiles, overlaps)


@settings(max_examples=150)
@given(
    layers(),
    st.integers(1, 5),
    accelerators_with_modes(),
    st.sampled_from(METHODS),
    st.sampled_from([1, 2, 3, 5]),
    st.integers(1, 3),
    st.booleans(),
)
@example(ROWS, 1, FLAT, "tight", 2, 1, False)
@example(ROWS, 3, SLOW, "tight", 2, 1, True)
@example(NARROW, 5, REPLICATED, "tight", 1, 1, False)
@example(NARROW, 5, replace(REPLICATED, overlap_drain=True), "tight", 1, 1, False)
def test_packings_of_any_method(
    matrix: LayerMatrix,
    count: int,
    accelerator: Accelerator,
    method: str,
    fan_in: int,
    temporal_tiles: int,
    overlaps: bool,
) -> None:
    check_packing(matrix, count, accelerator, method, fan_in, temporal_tiles, overlaps)


@settings(max_examples=40)
@given(layers(), accelerators_with_modes(), st.sampled_from(METHODS))
def test_floats_with_integer_values_give_the_same(
    matrix: LayerMatrix, accelerator: Accelerator, method: str
) -> None:
    floats = LayerMatrix(matrix.values.astype(np.float32), matrix.groups)
    packing = packed(floats, method, accelerator.array, 3)
    vectors = vectors_for(matrix, 3)
    found, expected = (
        run_packing(packing, Operands(each, vectors.astype(each.values.dtype)), accelerator)
        for each in (floats, matrix)
    )
    assert found.outputs.dtype == np.float32
    assert (found.outputs.tolist(), found.cycles) == (expected.outputs.tolist(), expected.cycles)


@pytest.mark.kernel
@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_a_small_depthwise_layer_on_slow_buffers(dataflow: str) -> None:
    accelerator = replace(SLOW, overlap_drain=dataflow != "os")
    check_dense(LayerMatrix(DEPTHWISE.values[:3, :2].copy(), 3), 2, accelerator, dataflow)


@pytest.mark.kernel
@pytest.mark.parametrize("group", [1, 2, 3])
def test_a_small_packing(group: int) -> None:
    for overlaps in (False, True):
        accelerator = replace(FLAT, array=ArrayShape(2, 3), columns_per_lane_register=group)
        check_packing(ROWS, 2, replace(accelerator, overlap_drain=overlaps), "tight")


# --- closed forms by hand


@settings(max_examples=60)
@given(*(st.integers(1, 6) for _ in range(3)), st.integers(1, 30), st.integers(1, 7))
def test_full_tiles_take_what_the_formulas_say(
    rows: int, columns: int, passes: int, steps: int, group: int
) -> None:
    gemm = gemm_of(LayerMatrix(np.ones((columns, rows * passes), np.int32)), steps)
    dense = dense_passes("ws", gemm, ArrayShape(rows, columns))
    plain = Accelerator(ArrayShape(rows, columns), columns_per_lane_register=group)
    hops = (columns - 1) // group
    whole = rows + steps + rows - 1 + hops
    assert layer_cycles(dense, plain).total == passes * whole
    assert start_cycles(dense, plain).tolist() == [rows + k * whole for k in range(passes)]
    early = replace(plain, prefetch=True)
    assert layer_cycles(dense, early).total == rows + passes * (whole - rows)
    assert start_cycles(dense, early).tolist() == [rows + k * (whole - rows) for k in range(passes)]
    overlapped = replace(early, overlap_drain=True)
    each = max(steps, 2 * rows - 1)
    assert layer_cycles(dense, overlapped).total == (rows + (passes - 1) * each + steps + rows - 1 + hops)
    assert start_cycles(dense, overlapped).tolist() == [rows + k * each for k in range(passes)]


def test_stalls_delay_the_first_step() -> None:
    # 4 words a step at 1.5 a cycle: in cycles 2, 5 and 7; the load of 16 words takes 8 cycles, of the second 12
    passes = dense_passes("ws", gemm_of(LayerMatrix(np.ones((4, 8), np.int32)), 3), ArrayShape(4, 4))
    accelerator = Accelerator(
        ArrayShape(4, 4),
        prefetch=True,
        overlap_drain=True,
        activations=BufferPort(words_per_cycle=1.5),
        weights=BufferPort(words_per_cycle=2),
    )
    assert start_cycles(passes, accelerator).tolist() == [8 + 2, 8 + max(8, 3 + 8) + 2]
    assert layer_cycles(passes, accelerator).total == 8 + 11 + 8 + 6
    assert start_cycles(passes, replace(accelerator, arrays=2)).tolist() == [16 + 5, 16 + 5]
    assert start_cycles(passes, replace(accelerator, arrays=2), 2).tolist() == [
        21,
        21,
        16 + max(11, 3 + 16) + 5,
        16 + max(11, 3 + 16) + 5,
    ]


def test_no_passes_have_no_starts() -> None:
    packing = packed(LayerMatrix(np.zeros((3, 4), np.float32)), "tight", ArrayShape(4, 4), 2)
    passes = tile_passes(packing, gemm_of(LayerMatrix(np.zeros((3, 4), np.float32)), 7))
    assert start_cycles(passes, FLAT, 2).tolist() == []


def test_output_stationary_passes_start_behind_one_another() -> None:
    # 6 vectors x 4 filters on 4x4 with 2 inputs: passes of 4 and 2 rows; 2 + 3 + 3 // 2 cycles each
    passes = dense_passes("os", gemm_of(LayerMatrix(np.ones((4, 2), np.int32)), 6), ArrayShape(4, 4))
    accelerator = Accelerator(ArrayShape(4, 4), columns_per_lane_register=2)
    assert start_cycles(passes, accelerator).tolist() == [0, 6]
    # 16 sums at 1 a cycle; with the bypass they pass that buffer by
    slow = replace(accelerator, sums=BufferPort(words_per_cycle=1))
    assert start_cycles(passes, slow).tolist() == [0, 16]
    assert start_cycles(passes, replace(slow, accumulator_bypass=True)).tolist() == [0, 6]


def test_complete_sums_are_not_stored() -> None:
    # filters 0 and 1 in tile 0, 1 and 2 in tile 1: the sums of 1 are stored once and read once
    values = np.array([[1, 2, 0, 0], [0, 3, 4, 0], [0, 0, 5, 6]], np.int32)
    gemm = gemm_of(LayerMatrix(values), 5)
    dense = dense_passes("ws", gemm, ArrayShape(2, 2))
    # blocks: filters 0 1 x inputs 0 1, then inputs 2 3; filter 2 likewise
    assert dense.completed_sums.tolist() == [0, 2, 0, 1]
    assert dense.bypassing().sums_written.tolist() == [2, 0, 1, 0]
    assert dense.sums_read.tolist() == [0, 2, 0, 1]
    overlapping = dense_passes("ws", replace(gemm, overlaps=True), ArrayShape(2, 2))
    assert overlapping.bypassing().sums_written.tolist() == [2, 2, 1, 1]
    kept_sums = dense_passes("os", gemm, ArrayShape(2, 2))
    assert kept_sums.unloaded_sums.sum() == 15 and not kept_sums.bypassing().unloaded_sums.any()
    again = dense_passes("os", replace(gemm, overlaps=True), ArrayShape(2, 2)).bypassing()
    assert again.unloaded_sums.sum() == 15
