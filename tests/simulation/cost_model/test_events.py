"""Events against words counted one by one on the stepped array, and traffic to DRAM cell by cell of the map."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import oracle
from helpers.accelerators import (
    DATAFLOWS,
    METHODS,
    chips,
    hall,
    layers,
    levels_of,
    packed,
    tile_passes,
    tiles_of,
    vectors_for,
    work_of,
)
from tightc.simulation.accelerator.accelerator import Accelerator, BufferPort
from tightc.simulation.cost_model.cycles import layer_cycles
from tightc.simulation.cost_model.events import Events, count_events
from tightc.simulation.cost_model.gemm import FeatureMaps, GemmWorkload
from tightc.simulation.cost_model.memory import LayerSchedule, Traffic, dram_stalls, traffic
from tightc.simulation.cost_model.passes import Passes, dense_passes
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix

SIZES = st.sampled_from([1, 7, 30, 100, 1000, float("inf")])
DEPTHWISE = LayerMatrix(np.ones((3, 2), np.int32), 3)
NARROW = LayerMatrix(np.ones((2, 1), np.int32), 2)
ROW = LayerMatrix(np.array([[1, 2, 0, 4]], np.int32))
BESIDE = Accelerator(
    ArrayShape(5, 4), replicate_tiles=True
)  # room for two copies of a pass that two groups share
SMALL = Accelerator(ArrayShape(4, 4), activations=BufferPort(usable=9), dram=1.0)
STORES = st.builds(
    BufferPort,
    size=st.sampled_from([None, 7, 60, 100, 800]),
    usable=SIZES,
    words=st.just(float("inf")),
    hidden=st.booleans(),
)


@st.composite
def chips_with_dram(draw: st.DrawFn) -> Accelerator:
    """Buffers of any size that keep up; activation, weight and sum stores differ."""
    accelerator = draw(chips())
    return replace(
        accelerator,
        activations=draw(STORES),
        weights=draw(STORES),
        sums=draw(STORES),
        dram=draw(st.sampled_from([None, 0.5, 3, 100])),
        keeps_feature_maps=draw(st.booleans()),
    )


@st.composite
def maps(draw: st.DrawFn) -> FeatureMaps:
    """Feature maps that have nothing to do with the size of the layer."""
    count = st.integers(1, 400)
    return FeatureMaps(draw(count), draw(count), draw(st.booleans()), draw(st.booleans()))


def way_of(passes: Passes, work: GemmWorkload, accelerator: Accelerator, pieces: int) -> LayerSchedule:
    cycles = layer_cycles(passes, accelerator, pieces)
    moved = traffic(passes, work, accelerator, pieces)
    stalls = dram_stalls(moved, cycles.total, accelerator)
    return LayerSchedule(pieces, cycles, moved, stalls, accelerator.arrays, accelerator.replicate_tiles)


def expected_traffic(
    dataflow: str, work: GemmWorkload, accelerator: Accelerator, pieces: int, tiles: Any, run: oracle.Run
) -> tuple[int, int, int]:
    """Bytes of activations, weights and outputs, by the words of `traffic`."""
    if accelerator.dram is None:
        return 0, 0, 0
    size, room, built = (
        accelerator.operand_bytes,
        accelerator.activations.usable,
        accelerator.activations.size,
    )
    shape = (work.filters, work.inputs, work.groups)
    cells = oracle.map_cells(dataflow, shape, work.vectors, work.positions, tiles)
    read, written = work.maps.read * size, work.maps.written * size
    fits = read <= room
    if dataflow == "ws":  # it needs room for the pieces that are on the arrays at the same time
        together = max(1, accelerator.arrays // max(1, len(tiles)))
        fits = -(-read // pieces) * min(pieces, together) <= room
    total = work.channels * work.vectors
    activations = oracle.map_bytes_fetched(cells, total, read, fits, pieces if dataflow == "is" else 1)
    # a map has half of the buffer, however that is divided otherwise
    if accelerator.keeps_feature_maps and not work.maps.from_outside and (built is None or read <= built / 2):
        activations = 0
    if (
        accelerator.keeps_feature_maps
        and not work.maps.to_outside
        and (built is None or written <= built / 2)
    ):
        written = 0
    if dataflow == "ws":
        once = oracle.stored_words(tiles) * size + -(-sum(tile.get("index_bits", 0) for tile in tiles) // 8)
        again = once * pieces
    else:
        once = work.filters * work.inputs * work.groups * size
        again = run.counts["streamed" if dataflow == "is" else "from_above"] * size
    return activations, once if once <= accelerator.weights.usable else again, written


def kernel_of(choice: int, inputs: int) -> int:
    """One of the sizes that a kernel can have, so that the inputs of a group come from whole channels."""
    sizes = [size for size in range(1, inputs + 1) if inputs % size == 0]
    return sizes[choice % len(sizes)]


def check(
    dataflow: str,
    passes: Passes,
    work: GemmWorkload,
    accelerator: Accelerator,
    pieces: int,
    tiles: Any,
    run: oracle.Run,
) -> None:
    way = way_of(passes, work, accelerator, pieces)
    moved = expected_traffic(dataflow, work, accelerator, pieces, tiles, run)
    assert way.traffic == Traffic(*moved)
    found = asdict(count_events(passes, work, accelerator, way))
    assert found == oracle.events(dataflow, run, work.outputs, accelerator.operand_bytes, moved)


@settings(max_examples=150)
@example(ROW, 5, BESIDE, "tight", 2, FeatureMaps(60, 1), 0)
@example(ROW, 5, BESIDE, "nm", 1, FeatureMaps(60, 1), 0)
@given(
    layers(),
    st.integers(1, 5),
    chips_with_dram(),
    st.sampled_from(METHODS),
    st.integers(1, 3),
    maps(),
    st.integers(0, 9),
)
def test_events_of_packings(
    matrix: LayerMatrix,
    count: int,
    accelerator: Accelerator,
    method: str,
    pieces: int,
    shape: FeatureMaps,
    kernel: int,
) -> None:
    pieces = min(pieces, count)
    packing = packed(matrix, method, accelerator.array, 3)
    work = work_of(matrix, count, kernel_of(kernel, matrix.inputs), shape)
    tiles = tiles_of(packing)
    run = oracle.run_packing(
        tiles,
        matrix.values,
        matrix.groups,
        vectors_for(matrix, count),
        hall(accelerator, "ws"),
        pieces,
        levels_of(packing),
    )
    check("ws", tile_passes(packing, work), work, accelerator, pieces, tiles, run)


@settings(max_examples=200)
@given(
    layers(),
    st.integers(1, 6),
    chips_with_dram(),
    st.sampled_from(DATAFLOWS),
    st.integers(1, 3),
    maps(),
    st.integers(0, 9),
)
@example(DEPTHWISE, 2, SMALL, "ws", 1, FeatureMaps(60, 1), 0)
@example(DEPTHWISE, 2, SMALL, "os", 1, FeatureMaps(60, 1), 0)
@example(DEPTHWISE, 2, SMALL, "is", 1, FeatureMaps(60, 1), 0)
@example(NARROW, 5, BESIDE, "ws", 1, FeatureMaps(60, 1), 0)
@example(NARROW, 5, BESIDE, "is", 1, FeatureMaps(60, 1), 0)
def test_events_of_dense_layers(
    matrix: LayerMatrix,
    count: int,
    accelerator: Accelerator,
    dataflow: str,
    pieces: int,
    shape: FeatureMaps,
    kernel: int,
) -> None:
    filters, inputs, groups = matrix.filters_per_group, matrix.inputs, matrix.groups
    pieces = min(pieces, {"ws": count, "is": filters, "os": 1}[dataflow])
    work = work_of(matrix, count, kernel_of(kernel, inputs), shape)
    tiles = {
        "ws": lambda: oracle.with_groups(
            oracle.dense_tiles(filters, inputs, tuple(accelerator.array), groups), filters, inputs
        ),
        "is": lambda: oracle.dense_tiles(count, inputs, tuple(accelerator.array), groups),
        "os": lambda: oracle.dense_blocks(filters, count, groups, tuple(accelerator.array)),
    }[dataflow]()
    run = oracle.run_dense(
        dataflow, matrix.values, groups, vectors_for(matrix, count), hall(accelerator, dataflow), pieces
    )
    check(dataflow, dense_passes(dataflow, work, accelerator.array), work, accelerator, pieces, tiles, run)


# --- by hand


def events_by_hand(size: int) -> Events:
    """2 filters x 3 inputs on 2x2, 4 vectors: a pass of 2 lanes and one of 1, both of 2 columns."""
    return Events(
        macs=(4 + 2) * 4,
        multiplied_words=(4 + 2) * 4,
        register_bytes=4 * (4 + 2) * (size + 4) + ((2 + 4) + 2) * size,
        lane_bytes=4 * (2 + 1) * size + (4 + 2) * size,
        activation_buffer_bytes=4 * (2 + 1) * size + 8 * size,
        weight_buffer_bytes=(4 + 2) * size,
        partial_sum_buffer_bytes=4 * 4 * (2 + (2 + 2) + 2),
    )


@pytest.mark.parametrize("size", [1, 4])
def test_events_by_hand(size: int) -> None:
    work, accelerator = GemmWorkload(2, 3, 1, 4), Accelerator(ArrayShape(2, 2), operand_bytes=size)
    passes = dense_passes("ws", work, accelerator.array)
    assert count_events(passes, work, accelerator, way_of(passes, work, accelerator, 1)) == events_by_hand(
        size
    )


def test_copies_that_a_way_does_without_cost_nothing() -> None:
    work, accelerator = GemmWorkload(1, 1, 1, 4), Accelerator(ArrayShape(2, 2), replicate_tiles=True)
    passes = dense_passes("ws", work, accelerator.array)
    way = way_of(passes, work, accelerator, 1)
    beside, alone = (
        count_events(passes, work, accelerator, replace(way, replicate_tiles=copies))
        for copies in (True, False)
    )
    assert (beside.weight_buffer_bytes, alone.weight_buffer_bytes) == (2, 1)
    # one weight moves up a row, its copy two; steps of the second pass the first's column, its sums the other's lane
    assert alone.register_bytes == 1 + 4 * (1 + 4)
    assert beside.register_bytes == (1 + 2) + (2 * 1 + 2 * 2) + (2 * 2 + 2 * 1) * 4


def test_each_piece_loads_again_and_nothing_else_changes() -> None:
    work, accelerator = GemmWorkload(2, 3, 1, 4), Accelerator(ArrayShape(2, 2))
    passes = dense_passes("ws", work, accelerator.array)
    once, thrice = (
        count_events(passes, work, accelerator, way_of(passes, work, accelerator, n)) for n in (1, 3)
    )
    assert thrice == replace(
        once,
        register_bytes=once.register_bytes + 2 * 8,
        lane_bytes=once.lane_bytes + 2 * 6,
        weight_buffer_bytes=3 * 6,
    )


def test_events_add_up() -> None:
    one = events_by_hand(1)
    assert asdict(one + one) == {name: 2 * count for name, count in asdict(one).items()}
