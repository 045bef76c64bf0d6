"""Events against words counted one by one on the stepped array, and traffic to DRAM cell by cell of the map."""

from __future__ import annotations

from dataclasses import asdict, replace
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import oracle
from helpers.accelerators import (
    DATAFLOWS,
    accelerators,
    accelerators_with_modes,
    gemm_of,
    layers,
    levels_of,
    machine,
    packed,
    tile_passes,
    tiles_of,
    vectors_for,
)
from helpers.methods import METHODS
from tightc.accelerator.accelerator import Accelerator, BufferPort
from tightc.cost_model.cycles import layer_cycles
from tightc.cost_model.events import Events, count_events
from tightc.cost_model.gemm import FeatureMaps, GemmWorkload
from tightc.cost_model.memory import LayerSchedule, Traffic, dram_stalls, dram_traffic
from tightc.cost_model.passes import Passes, dense_passes
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix

SIZES = st.sampled_from([1, 7, 30, 100, 1000, float("inf")])
DEPTHWISE = LayerMatrix(np.ones((3, 2), np.int32), 3)
NARROW = LayerMatrix(np.ones((2, 1), np.int32), 2)
ROW = LayerMatrix(np.array([[1, 2, 0, 4]], np.int32))
REPLICATED = Accelerator(
    ArrayShape(5, 4), replicate_tiles=True
)  # room for two replicas of a pass that two groups share
SMALL = Accelerator(ArrayShape(4, 4), activations=BufferPort(usable=9), dram_bytes_per_cycle=1.0)
BUFFERS = st.builds(
    BufferPort,
    size=st.sampled_from([None, 7, 60, 100, 800]),
    usable=SIZES,
    words_per_cycle=st.just(float("inf")),
    double_buffered=st.booleans(),
)


@st.composite
def accelerators_with_dram(draw: st.DrawFn, of: st.SearchStrategy[Accelerator] | None = None) -> Accelerator:
    """Buffers of any size without stalls; activation, weight and sum buffers differ."""
    accelerator = draw(accelerators() if of is None else of)
    return replace(
        accelerator,
        activations=draw(BUFFERS),
        weights=draw(BUFFERS),
        sums=draw(BUFFERS),
        dram_bytes_per_cycle=draw(st.sampled_from([None, 0.5, 3, 100])),
        keeps_feature_maps=draw(st.booleans()),
    )


@st.composite
def feature_maps(draw: st.DrawFn) -> FeatureMaps:
    """Feature maps of any size, unrelated to the layer."""
    count = st.integers(1, 400)
    return FeatureMaps(draw(count), draw(count), draw(st.booleans()), draw(st.booleans()))


def schedule_of(
    passes: Passes, gemm: GemmWorkload, accelerator: Accelerator, temporal_tiles: int
) -> LayerSchedule:
    cycles = layer_cycles(passes, accelerator, temporal_tiles)
    moved = dram_traffic(passes, gemm, accelerator, temporal_tiles)
    stalls = dram_stalls(moved, cycles.total, accelerator)
    return LayerSchedule(
        temporal_tiles, cycles, moved, stalls, accelerator.arrays, accelerator.replicate_tiles
    )


def expected_traffic(
    dataflow: str,
    gemm: GemmWorkload,
    accelerator: Accelerator,
    temporal_tiles: int,
    tiles: Any,
    run: oracle.Run,
) -> tuple[int, int, int]:
    """Bytes of activations, weights and outputs, by the words of `dram_traffic`."""
    if accelerator.dram_bytes_per_cycle is None:
        return 0, 0, 0
    size, room, built = (
        accelerator.operand_bytes,
        accelerator.activations.usable,
        accelerator.activations.size,
    )
    shape = (gemm.filters, gemm.inputs, gemm.groups)
    cells = oracle.map_cells(dataflow, shape, gemm.vectors, gemm.positions, tiles)
    read, written = gemm.feature_maps.read * size, gemm.feature_maps.written * size
    fits = read <= room
    if dataflow == "ws":  # it needs room for the temporal tiles that are on the arrays at the same time
        together = max(1, accelerator.arrays // max(1, len(tiles)))
        fits = -(-read // temporal_tiles) * min(temporal_tiles, together) <= room
    total = gemm.channels * gemm.vectors
    activations = oracle.map_bytes_fetched(
        cells, total, read, fits, temporal_tiles if dataflow == "is" else 1
    )
    # a map has half of the buffer, however that is divided otherwise
    if (
        accelerator.keeps_feature_maps
        and not gemm.feature_maps.from_model_input
        and (built is None or read <= built / 2)
    ):
        activations = 0
    if (
        accelerator.keeps_feature_maps
        and not gemm.feature_maps.to_model_output
        and (built is None or written <= built / 2)
    ):
        written = 0
    if dataflow == "ws":
        once = oracle.stored_words(tiles) * size + -(-sum(tile.get("index_bits", 0) for tile in tiles) // 8)
        again = once * temporal_tiles
    else:
        once = gemm.filters * gemm.inputs * gemm.groups * size
        again = run.counts["streamed" if dataflow == "is" else "from_above"] * size
    return activations, once if once <= accelerator.weights.usable else again, written


def waiting_for_dram(accelerator: Accelerator, moved: tuple[int, int, int], busy: int) -> int:
    """Cycles of transfers through single buffers, and of those through double buffers beyond the `busy` cycles."""
    rate = accelerator.dram_bytes_per_cycle
    if rate is None:
        return 0
    buffers = (accelerator.activations, accelerator.weights, accelerator.activations)
    hidden = sum(size for size, buffer in zip(moved, buffers, strict=True) if buffer.double_buffered)
    return max(0, ceil(Fraction(hidden) / Fraction(rate)) - busy) + ceil(
        Fraction(sum(moved) - hidden) / Fraction(rate)
    )


def kernel_of(choice: int, inputs: int) -> int:
    """One of the sizes that a kernel can have, so that the inputs of a group come from whole channels."""
    sizes = [size for size in range(1, inputs + 1) if inputs % size == 0]
    return sizes[choice % len(sizes)]


def check(
    dataflow: str,
    passes: Passes,
    gemm: GemmWorkload,
    accelerator: Accelerator,
    temporal_tiles: int,
    tiles: Any,
    run: oracle.Run,
) -> None:
    schedule = schedule_of(passes, gemm, accelerator, temporal_tiles)
    if accelerator.accumulator_bypass:  # then what is read is what was stored
        assert run.counts["sum_read"] == run.counts["sum_written"]
    moved = expected_traffic(dataflow, gemm, accelerator, temporal_tiles, tiles, run)
    assert schedule.traffic == Traffic(*moved)
    found = asdict(count_events(passes, gemm, accelerator, schedule))
    pes = accelerator.arrays * accelerator.array.rows * accelerator.array.columns
    pe_cycles = pes * (run.cycles + waiting_for_dram(accelerator, moved, run.cycles))
    expected = oracle.events(dataflow, run, gemm.outputs, accelerator.operand_bytes, moved, pe_cycles)
    assert found == {**expected, "network_bytes": 0}  # no banks: test_banks.py


@settings(max_examples=150)
@example(ROW, 5, REPLICATED, "tight", 2, FeatureMaps(60, 1), 0)
@example(ROW, 5, REPLICATED, "nm", 1, FeatureMaps(60, 1), 0)
@given(
    layers(),
    st.integers(1, 5),
    accelerators_with_dram(),
    st.sampled_from(METHODS),
    st.integers(1, 3),
    feature_maps(),
    st.integers(0, 9),
)
def test_events_of_packings(
    matrix: LayerMatrix,
    count: int,
    accelerator: Accelerator,
    method: str,
    temporal_tiles: int,
    shape: FeatureMaps,
    kernel: int,
) -> None:
    check_packing(matrix, count, accelerator, method, temporal_tiles, shape, kernel)


@settings(max_examples=80)
@example(ROW, 5, replace(REPLICATED, columns_per_lane_register=2), "tight", 2)
@given(
    layers(),
    st.integers(1, 5),
    accelerators_with_dram(accelerators_with_modes()),
    st.sampled_from(METHODS),
    st.integers(1, 3),
)
def test_events_of_packings_in_any_mode(
    matrix: LayerMatrix, count: int, accelerator: Accelerator, method: str, temporal_tiles: int
) -> None:
    check_packing(matrix, count, accelerator, method, temporal_tiles, FeatureMaps(60, 1), 0)


def check_packing(
    matrix: LayerMatrix,
    count: int,
    accelerator: Accelerator,
    method: str,
    temporal_tiles: int,
    shape: FeatureMaps,
    kernel: int,
) -> None:
    temporal_tiles = min(temporal_tiles, count)
    packing = packed(matrix, method, accelerator.array, 3)
    gemm = gemm_of(matrix, count, kernel_of(kernel, matrix.inputs), shape)
    tiles = tiles_of(packing)
    run = oracle.run_packing(
        tiles,
        matrix.values,
        matrix.groups,
        vectors_for(matrix, count),
        machine(accelerator, "ws"),
        temporal_tiles,
        levels_of(packing),
    )
    check("ws", tile_passes(packing, gemm), gemm, accelerator, temporal_tiles, tiles, run)


@settings(max_examples=200)
@given(
    layers(),
    st.integers(1, 6),
    accelerators_with_dram(),
    st.sampled_from(DATAFLOWS),
    st.integers(1, 3),
    feature_maps(),
    st.integers(0, 9),
)
@example(DEPTHWISE, 2, SMALL, "ws", 1, FeatureMaps(60, 1), 0)
@example(DEPTHWISE, 2, SMALL, "os", 1, FeatureMaps(60, 1), 0)
@example(DEPTHWISE, 2, SMALL, "is", 1, FeatureMaps(60, 1), 0)
@example(NARROW, 5, REPLICATED, "ws", 1, FeatureMaps(60, 1), 0)
@example(NARROW, 5, REPLICATED, "is", 1, FeatureMaps(60, 1), 0)
def test_events_of_dense_layers(
    matrix: LayerMatrix,
    count: int,
    accelerator: Accelerator,
    dataflow: str,
    temporal_tiles: int,
    shape: FeatureMaps,
    kernel: int,
) -> None:
    check_dense(matrix, count, accelerator, dataflow, temporal_tiles, shape, kernel)


@settings(max_examples=80)
@given(
    layers(),
    st.integers(1, 6),
    st.sampled_from(DATAFLOWS).flatmap(
        lambda dataflow: st.tuples(
            st.just(dataflow), accelerators_with_dram(accelerators_with_modes(dataflow))
        )
    ),
    st.integers(1, 3),
)
@example(DEPTHWISE, 2, ("os", replace(SMALL, columns_per_lane_register=2, accumulator_bypass=True)), 1)
@example(NARROW, 5, ("is", replace(REPLICATED, columns_per_lane_register=3)), 1)
def test_events_of_dense_layers_in_any_mode(
    matrix: LayerMatrix, count: int, where: tuple[str, Accelerator], temporal_tiles: int
) -> None:
    dataflow, accelerator = where
    check_dense(matrix, count, accelerator, dataflow, temporal_tiles, FeatureMaps(60, 1), 0)


def check_dense(
    matrix: LayerMatrix,
    count: int,
    accelerator: Accelerator,
    dataflow: str,
    temporal_tiles: int,
    shape: FeatureMaps,
    kernel: int,
) -> None:
    filters, inputs, groups = matrix.filters_per_group, matrix.inputs, matrix.groups
    temporal_tiles = min(temporal_tiles, {"ws": count, "is": filters, "os": 1}[dataflow])
    gemm = gemm_of(matrix, count, kernel_of(kernel, inputs), shape)
    tiles = {
        "ws": lambda: oracle.with_groups(
            oracle.dense_tiles(filters, inputs, tuple(accelerator.array), groups), filters, inputs
        ),
        "is": lambda: oracle.dense_tiles(count, inputs, tuple(accelerator.array), groups),
        "os": lambda: oracle.dense_blocks(filters, count, groups, tuple(accelerator.array)),
    }[dataflow]()
    run = oracle.run_dense(
        dataflow,
        matrix.values,
        groups,
        vectors_for(matrix, count),
        machine(accelerator, dataflow),
        temporal_tiles,
    )
    check(
        dataflow,
        dense_passes(dataflow, gemm, accelerator.array),
        gemm,
        accelerator,
        temporal_tiles,
        tiles,
        run,
    )


# --- by hand


def events_by_hand(size: int) -> Events:
    """2 filters x 3 inputs on 2x2, 4 vectors: a pass of 2 lanes and one of 1, both of 2 columns."""
    return Events(
        macs=(4 + 2) * 4,
        multiplied_words=(4 + 2) * 4,
        # two passes of 2 + 4 + 2 + 2 - 2 cycles, on 4 PEs
        idle_pe_cycles=4 * 2 * 8 - (4 + 2) * 4,
        register_bytes=4 * (4 + 2) * (size + 4) + ((2 + 4) + 2) * size,
        lane_bytes=4 * (2 + 1) * size + (4 + 2) * size,
        activation_buffer_bytes=4 * (2 + 1) * size + 8 * size,
        weight_buffer_bytes=(4 + 2) * size,
        partial_sum_buffer_bytes=4 * 4 * (2 + (2 + 2) + 2),
    )


@pytest.mark.parametrize("size", [1, 4])
def test_events_by_hand(size: int) -> None:
    gemm, accelerator = GemmWorkload(2, 3, 1, 4), Accelerator(ArrayShape(2, 2), operand_bytes=size)
    passes = dense_passes("ws", gemm, accelerator.array)
    assert count_events(
        passes, gemm, accelerator, schedule_of(passes, gemm, accelerator, 1)
    ) == events_by_hand(size)


def test_output_stationary_sums_by_hand() -> None:
    """3 filters x 3 inputs on 2x3, 4 vectors: 12 sums stay in two passes, leave after their pass, and are read once."""
    gemm, accelerator = GemmWorkload(3, 3, 1, 4), Accelerator(ArrayShape(2, 3))
    passes = dense_passes("os", gemm, accelerator.array)
    events = count_events(passes, gemm, accelerator, schedule_of(passes, gemm, accelerator, 1))
    assert events.partial_sum_buffer_bytes == (12 + 12) * 4
    assert events.macs == 3 * 3 * 4
    # in each step, 2 words from the left pass 3 PEs, 3 from above 2, and 6 sums change
    assert events.register_bytes == 2 * 3 * (2 * 3 + 3 * 2 + 6 * 4)


def test_replicas_that_a_schedule_does_without_cost_nothing() -> None:
    gemm, accelerator = GemmWorkload(1, 1, 1, 4), Accelerator(ArrayShape(2, 2), replicate_tiles=True)
    passes = dense_passes("ws", gemm, accelerator.array)
    schedule = schedule_of(passes, gemm, accelerator, 1)
    replicated, single = (
        count_events(passes, gemm, accelerator, replace(schedule, replicate_tiles=replicate))
        for replicate in (True, False)
    )
    assert (replicated.weight_buffer_bytes, single.weight_buffer_bytes) == (2, 1)
    # one weight moves up a row, its replica two; steps of the second pass the first's column, its sums the other's lane
    assert single.register_bytes == 1 + 4 * (1 + 4)
    assert replicated.register_bytes == (1 + 2) + (2 * 1 + 2 * 2) + (2 * 2 + 2 * 1) * 4


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_a_product_without_feature_maps_moves_its_weights_alone(dataflow: str) -> None:
    gemm, accelerator = GemmWorkload(2, 3, 1, 4), Accelerator(ArrayShape(2, 2), dram_bytes_per_cycle=1.0)
    passes = dense_passes(dataflow, gemm, accelerator.array)
    assert dram_traffic(passes, gemm, accelerator, 1) == Traffic(0, 2 * 3, 0)


@pytest.mark.parametrize(("bits", "size"), [(0, 6), (1, 7), (8, 7), (9, 8)])
def test_selects_and_lists_are_fetched_with_the_weights(bits: int, size: int) -> None:
    """2 filters x 3 inputs of a byte each, and bits that share bytes."""
    gemm, accelerator = GemmWorkload(2, 3, 1, 4), Accelerator(ArrayShape(4, 4), dram_bytes_per_cycle=1.0)
    passes = replace(dense_passes("ws", gemm, accelerator.array), loaded_bits=np.array([bits]))
    assert dram_traffic(passes, gemm, accelerator, 1).weight_bytes == size


def test_a_replica_with_a_step_less_moves_less() -> None:
    """3 vectors through one weight and its replica on the diagonal: two in the first, one in the second."""
    gemm, accelerator = GemmWorkload(1, 1, 1, 3), Accelerator(ArrayShape(2, 2), replicate_tiles=True)
    passes = dense_passes("ws", gemm, accelerator.array)
    events = count_events(passes, gemm, accelerator, schedule_of(passes, gemm, accelerator, 1))
    # its step also crosses the column of the first, and the sums of the first its lane
    assert events.register_bytes == (1 + 2) + (2 * 1 + 1 * 2) + (2 * 2 + 1 * 1) * 4


def test_each_temporal_tile_loads_again_and_nothing_else_changes() -> None:
    gemm, accelerator = GemmWorkload(2, 3, 1, 4), Accelerator(ArrayShape(2, 2))
    passes = dense_passes("ws", gemm, accelerator.array)
    once, thrice = (
        count_events(passes, gemm, accelerator, schedule_of(passes, gemm, accelerator, n)) for n in (1, 3)
    )
    assert thrice == replace(
        once,
        idle_pe_cycles=once.idle_pe_cycles
        + 2 * 2 * 4 * 4,  # two more times two passes load and drain for 4 cycles
        register_bytes=once.register_bytes + 2 * 8,
        lane_bytes=once.lane_bytes + 2 * 6,
        weight_buffer_bytes=3 * 6,
    )


def test_a_register_for_two_columns_and_a_bypass() -> None:
    gemm = GemmWorkload(2, 3, 1, 4)
    accelerator = Accelerator(ArrayShape(2, 2), columns_per_lane_register=2, accumulator_bypass=True)
    passes = dense_passes("ws", gemm, accelerator.array)
    assert count_events(passes, gemm, accelerator, schedule_of(passes, gemm, accelerator, 1)) == replace(
        events_by_hand(1),
        idle_pe_cycles=4 * 2 * 7 - (4 + 2) * 4,  # a cycle less for the last column
        register_bytes=4 * ((2 + 1) + (4 + 2) * 4) + ((2 + 4) + 2),
        partial_sum_buffer_bytes=4 * 4 * (2 + 2),
    )


def test_events_add_up() -> None:
    one = events_by_hand(1)
    assert asdict(one + one) == {name: 2 * count for name, count in asdict(one).items()}
