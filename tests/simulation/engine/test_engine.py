"""The cycle engine: values against a plain product, cycles against the closed form and an array stepped PE by PE."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import oracle
from helpers.accelerators import (
    DATAFLOWS,
    accelerators,
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
from tightc.cost_model.cycles import layer_cycles
from tightc.cost_model.passes import dense_passes
from tightc.simulation.engine.cycle_log import Traces
from tightc.simulation.engine.loaded_tile import Operands
from tightc.simulation.engine.run import run_dense, run_packing
from tightc.simulation.engine.stationary import LOG_COLUMNS, new_loader
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import EMPTY, Packing, Tile

DEPTHWISE = LayerMatrix(np.arange(1, 25, dtype=np.int32).reshape(6, 4), 6)
SLOW = Accelerator(
    ArrayShape(5, 3),
    arrays=2,
    prefetch=True,
    activations=BufferPort(words_per_cycle=1.5),
    weights=BufferPort(words_per_cycle=2),
    sums=BufferPort(words_per_cycle=0.5),
)


# --- dense layers


def check_dense(
    matrix: LayerMatrix, count: int, accelerator: Accelerator, dataflow: str, temporal_tiles: int
) -> None:
    vectors = vectors_for(matrix, count)
    result = run_dense(dataflow, Operands(matrix, vectors), accelerator, temporal_tiles)
    stepped = oracle.run_dense(
        dataflow, matrix.values, matrix.groups, vectors, machine(accelerator, dataflow), temporal_tiles
    )
    product = vectors @ oracle.block_diagonal(matrix.values, matrix.groups).T
    assert result.outputs.dtype == vectors.dtype
    assert result.outputs.tolist() == stepped.outputs == product.tolist()
    closed = layer_cycles(
        dense_passes(dataflow, gemm_of(matrix, count), accelerator.array), accelerator, temporal_tiles
    )
    assert result.cycles == closed.total == stepped.cycles
    assert result.pe_steps == stepped.all_cycles * accelerator.array.rows * accelerator.array.columns


@settings(max_examples=150)
@given(layers(), st.integers(1, 6), accelerators(), st.sampled_from(DATAFLOWS), st.integers(1, 3))
@example(DEPTHWISE, 3, SLOW, "ws", 1)
@example(DEPTHWISE, 3, SLOW, "is", 1)
@example(DEPTHWISE, 3, SLOW, "os", 1)
def test_dense_layers_of_any_dataflow(
    matrix: LayerMatrix, count: int, accelerator: Accelerator, dataflow: str, temporal_tiles: int
) -> None:
    steps = {"ws": count, "is": matrix.filters_per_group, "os": 1}[dataflow]
    check_dense(matrix, count, accelerator, dataflow, min(temporal_tiles, steps))


@pytest.mark.kernel
@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_a_small_dense_layer_on_slow_buffers(dataflow: str) -> None:
    check_dense(LayerMatrix(np.array([[1, 2, 3], [4, 5, 6]], np.int32)), 3, SLOW, dataflow, 1)


@pytest.mark.kernel
@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_a_small_depthwise_layer_shares_passes(dataflow: str) -> None:
    check_dense(LayerMatrix(DEPTHWISE.values[:3, :2].copy(), 3), 2, SLOW, dataflow, 1)


@pytest.mark.kernel
@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_a_small_dense_layer_that_fills_the_array(dataflow: str) -> None:
    matrix = LayerMatrix(np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.int32))
    check_dense(matrix, 3, Accelerator(ArrayShape(3, 3)), dataflow, 1)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("layer", oracle.SCALE_SIM)
def test_the_nine_figures_of_scale_sim(layer: tuple[int, int, int, int], dataflow: str) -> None:
    side, kernel, channels, filters = layer
    matrix = LayerMatrix(np.ones((filters, channels * kernel**2), np.int32))
    vectors = np.ones(((side - kernel + 1) ** 2, matrix.inputs), np.int32)
    result = run_dense(dataflow, Operands(matrix, vectors), Accelerator(ArrayShape(32, 32)))
    assert result.cycles == oracle.SCALE_SIM[layer][dataflow]
    assert (result.outputs == matrix.inputs).all()


def test_an_empty_loader_has_a_register_for_each_pe_and_its_two_counts() -> None:
    """Compiled code does not check that it stays within its arrays."""
    loader = new_loader(2, 3, np.dtype(np.float32))
    assert [(part.dtype, part.shape, part.any()) for part in loader] == [
        (np.float32, (2, 3), False),
        (np.uint32, (2, 3), False),
        (np.int64, (1,), False),
        (np.float64, (1,), False),
    ]


# --- packings


def check_packing(
    packing: Packing, matrix: LayerMatrix, vectors: np.ndarray, accelerator: Accelerator, temporal_tiles: int
) -> None:
    result = run_packing(packing, Operands(matrix, vectors), accelerator, temporal_tiles)
    stepped = oracle.run_packing(
        tiles_of(packing), matrix.values, matrix.groups, vectors, machine(accelerator, "ws"), temporal_tiles
    )
    assert result.outputs.dtype == vectors.dtype
    assert result.outputs.tolist() == stepped.outputs == (vectors @ kept(packing, matrix).T).tolist()
    closed = layer_cycles(tile_passes(packing, gemm_of(matrix, len(vectors))), accelerator, temporal_tiles)
    assert result.cycles == closed.total == stepped.cycles
    assert result.pe_steps == stepped.all_cycles * accelerator.array.rows * accelerator.array.columns


@settings(max_examples=200)
@given(
    layers(),
    st.integers(1, 5),
    accelerators(),
    st.sampled_from(METHODS),
    st.sampled_from([1, 2, 3, 5]),
    st.integers(1, 3),
)
def test_packings_of_any_method(
    matrix: LayerMatrix, count: int, accelerator: Accelerator, method: str, fan_in: int, temporal_tiles: int
) -> None:
    packing = packed(matrix, method, accelerator.array, fan_in)
    check_packing(packing, matrix, vectors_for(matrix, count), accelerator, min(temporal_tiles, count))


@settings(max_examples=40)
@given(layers(), accelerators(), st.sampled_from(METHODS))
def test_floats_with_integer_values_give_the_same(
    matrix: LayerMatrix, accelerator: Accelerator, method: str
) -> None:
    floats = LayerMatrix(matrix.values.astype(np.float32), matrix.groups)
    packing = packed(floats, method, accelerator.array, 3)
    check_packing(packing, floats, vectors_for(matrix, 3).astype(np.float32), accelerator, 1)


BY_HAND = Packing(  # 3 filters, 5 inputs; filter 1 has two columns of the first tile and one of the second
    "tight",
    ArrayShape(3, 3),
    3,
    3,
    5,
    1,
    (
        Tile(
            np.array([1, 0, 1], np.int32),
            np.array([0, 3, 5], np.int32),
            np.array([4, 0, 2, 1, 4], np.int32),
            np.array([[0, 2, 1], [0, 1, EMPTY]], np.int16),
        ),
        Tile(
            np.array([2, 1], np.int32),
            np.array([0, 1], np.int32),
            np.array([3], np.int32),
            np.array([[0, 0]], np.int16),
        ),
    ),
)
MATRIX = LayerMatrix(np.array([[0, 0, 3, 0, 5], [2, 7, 0, 11, 13], [0, 0, 0, 17, 0]], np.int32))


@pytest.mark.kernel
def test_a_packing_by_hand() -> None:
    assert oracle.packing_faults(oracle.plain(BY_HAND), MATRIX.values, 1, (3, 3), 3) == []
    vectors = vectors_for(MATRIX, 3)
    for prefetch in (False, True):
        accelerator = Accelerator(ArrayShape(3, 3), prefetch=prefetch)
        result = run_packing(BY_HAND, Operands(MATRIX, vectors), accelerator)
        assert result.outputs.tolist() == (vectors @ MATRIX.values.T).tolist()
        # a pass loads 3 rows, streams 3 vectors and drains 3 + 3 - 2 cycles; the second load overlaps the first stream
        assert result.cycles == 2 * (3 + 3 + 4) - 3 * prefetch
    check_packing(BY_HAND, MATRIX, vectors, replace(SLOW, array=ArrayShape(3, 3)), 2)
    # input 4 is on two lanes and read once: 4 words for each vector, then 1
    thirsty = Accelerator(ArrayShape(3, 3), activations=BufferPort(words_per_cycle=1))
    assert run_packing(BY_HAND, Operands(MATRIX, vectors), thirsty).cycles == 2 * (3 + 4) + 3 * 4 + 3 * 1
    check_packing(BY_HAND, MATRIX, vectors, thirsty, 1)


# --- traces


def check_traces(traces: Traces, stepped: oracle.Run, accelerator: Accelerator, is_stationary: bool) -> None:
    """The lines of all traces add up to the counts of the stepped array."""
    assert traces
    found = dict(zip(LOG_COLUMNS, sum(trace.log.sum(axis=0) for trace in traces).tolist(), strict=True))
    loads = sum(trace.phase == "stream" for trace in traces) if is_stationary else 0
    assert found == {
        "rows_loaded": accelerator.array.rows * loads,
        "steps_begun": stepped.counts["begun"],
        "lane_words": stepped.counts["edge"],
        "macs": stepped.counts["mac"],
        "sums_out": stepped.counts["sum_out"],
    }
    clocks: dict[int, int] = {}
    for trace in traces:
        clocks[trace.array] = clocks.get(trace.array, 0) + len(trace.log)
    assert sorted(clocks) == list(range(len(clocks)))
    assert max(clocks.values()) == stepped.cycles
    assert sum(clocks.values()) == stepped.all_cycles


@settings(max_examples=60)
@given(layers(), st.integers(1, 6), accelerators(), st.sampled_from(DATAFLOWS), st.integers(1, 3))
@example(DEPTHWISE, 3, SLOW, "ws", 1)
@example(DEPTHWISE, 3, SLOW, "is", 1)
@example(DEPTHWISE, 2, SLOW, "os", 1)
def test_traces_of_dense_layers(
    matrix: LayerMatrix, count: int, accelerator: Accelerator, dataflow: str, temporal_tiles: int
) -> None:
    if dataflow == "os":
        accelerator = replace(accelerator, sums=BufferPort())  # sums leave without a line in the log
    temporal_tiles = min(temporal_tiles, {"ws": count, "is": matrix.filters_per_group, "os": 1}[dataflow])
    vectors, traces = vectors_for(matrix, count), []
    plain = run_dense(dataflow, Operands(matrix, vectors), accelerator, temporal_tiles)
    traced = run_dense(dataflow, Operands(matrix, vectors), accelerator, temporal_tiles, traces)
    assert traced.outputs.tolist() == plain.outputs.tolist() and traced.cycles == plain.cycles
    stepped = oracle.run_dense(
        dataflow, matrix.values, matrix.groups, vectors, machine(accelerator, dataflow), temporal_tiles
    )
    check_traces(traces, stepped, accelerator, dataflow != "os")


@settings(max_examples=60)
@given(layers(), st.integers(1, 6), accelerators(), st.sampled_from(METHODS), st.integers(1, 3))
def test_traces_of_packings(
    matrix: LayerMatrix, count: int, accelerator: Accelerator, method: str, temporal_tiles: int
) -> None:
    temporal_tiles = min(temporal_tiles, count)
    packing = packed(matrix, method, accelerator.array, 3)
    vectors, traces = vectors_for(matrix, count), []
    run_packing(packing, Operands(matrix, vectors), accelerator, temporal_tiles, traces)
    stepped = oracle.run_packing(
        tiles_of(packing), matrix.values, matrix.groups, vectors, machine(accelerator, "ws"), temporal_tiles
    )
    assert bool(traces) == bool(packing.tiles)
    if traces:
        check_traces(traces, stepped, accelerator, True)


# --- a wrong packing gives wrong values


def damaged(tile: Tile, kind: str, rng: np.random.Generator) -> Tile | None:
    """The tile with another select, with another input on a lane, a weight less or another filter."""
    select, inputs, filters = tile.select.copy(), tile.inputs.copy(), tile.filters.copy()
    lanes, columns = np.nonzero(select != EMPTY)
    at = rng.integers(len(lanes))
    lane, column = lanes[at], columns[at]
    first, last = tile.lane_starts[lane], tile.lane_starts[lane + 1]
    if kind == "weight":
        select[lane, column] = EMPTY
    elif kind == "select":
        others = [i for i in range(last - first) if i != select[lane, column]]
        if not others:
            return None
        select[lane, column] = rng.choice(others)
    elif kind == "input":
        here = first + select[lane, column]
        inputs[here] = rng.choice([k for k in range(7) if k != inputs[here]])
    else:
        others = [f for f in range(len(filters)) if filters[f] != filters[column]]
        if not others:
            return None
        filters[column] = filters[rng.choice(others)]
    return replace(tile, select=select, inputs=inputs, filters=filters)


@settings(max_examples=80)
@given(st.integers(0, 2**20), st.sampled_from(["weight", "select", "input", "filter"]))
def test_a_wrong_packing_gives_wrong_values(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 2**12, (5, 7)) * (rng.random((5, 7)) < 0.6)
    matrix = LayerMatrix(values.astype(np.int32))
    packing = packed(matrix, "tight", ArrayShape(3, 4), 4)
    number = int(rng.integers(len(packing.tiles)))
    broken = damaged(packing.tiles[number], kind, rng)
    assume(broken is not None)
    wrong = replace(packing, tiles=(*packing.tiles[:number], broken, *packing.tiles[number + 1 :]))
    vectors = rng.integers(1, 2**12, (2, 7)).astype(np.int32)
    accelerator = Accelerator(ArrayShape(3, 4))
    product = (vectors @ values.T).tolist()
    assert run_packing(packing, Operands(matrix, vectors), accelerator).outputs.tolist() == product
    result = run_packing(wrong, Operands(matrix, vectors), accelerator)
    stepped = oracle.run_packing(oracle.plain(wrong), values, 1, vectors, machine(accelerator, "ws"))
    assert result.outputs.tolist() == stepped.outputs != product
