"""Banks of the activation buffer: closed form, engine and a step that the oracle serves word by word."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import oracle
from helpers.accelerators import (
    accelerators_with_modes,
    gemm_of,
    kept,
    layers,
    packed,
    tiles_of,
    vectors_for,
)
from helpers.banks import banks_and_reaches, lanes_of, network
from helpers.methods import METHODS
from tightc.accelerator.accelerator import Accelerator, BufferPort
from tightc.accelerator.bank_network import BankNetwork
from tightc.accelerator.energy_table import default_table
from tightc.cost_model.bank_layout import chosen_banks, interleaved_banks
from tightc.cost_model.banks import network_reads, with_banks
from tightc.cost_model.cycles import Cycles, layer_cycles, start_cycles
from tightc.cost_model.energy import energy_pj
from tightc.cost_model.events import count_events
from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.lane_inputs import LaneInputs
from tightc.cost_model.memory import schedule_layer
from tightc.cost_model.passes import Passes, dense_passes, packed_passes
from tightc.simulation.engine.bank_reads import read_step
from tightc.simulation.engine.loaded_tile import Operands
from tightc.simulation.engine.run import run_packing
from tightc.tile.array import ArrayShape
from tightc.tile.dense import dense_packing
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing, Tile

LAYERS = layers(12)


def lane_inputs_of(lanes: list[list[int]]) -> LaneInputs:
    """One pass with these lanes."""
    numbers = [lane for lane, carried in enumerate(lanes) for _ in carried]
    inputs = [i for carried in lanes for i in carried]
    return LaneInputs(*(np.array(part, np.int64) for part in ([0, len(inputs)], numbers, inputs)))


def reads(lanes: list[list[int]], banks: BankNetwork, layout: list[int] | None = None) -> tuple[int, int]:
    """(cycles, words) of a step of one tile by the closed form; without a `layout`, inputs are interleaved."""
    places = np.array(layout) if layout else np.arange(41) % banks.banks
    cycles, words = network_reads(lane_inputs_of(lanes), places, banks)
    return int(cycles[0]), int(words[0])


def tile_of(lanes: list[list[int]]) -> Tile:
    """A tile of a single column with these lanes."""
    starts = np.append(0, np.cumsum([len(carried) for carried in lanes])).astype(np.int32)
    inputs = np.array([i for carried in lanes for i in carried], np.int32)
    return Tile(np.zeros(1, np.int32), starts, inputs, np.zeros((len(lanes), 1), np.int16))


TILES = st.integers(1, 6).flatmap(
    lambda rows: st.tuples(
        st.lists(
            st.lists(st.integers(0, 40), min_size=1, max_size=4, unique=True), min_size=1, max_size=rows
        ),
        banks_and_reaches(rows),
        st.just(rows),
    )
)


@settings(max_examples=300)
@given(TILES, st.data())
def test_a_step_takes_what_the_oracle_takes_with_the_best_shift_of_the_banks(
    case: tuple[list[list[int]], tuple[int, int], int], data: st.DataObject
) -> None:
    lanes, (banks, reach), rows = case
    layout = data.draw(st.lists(st.integers(0, banks - 1), min_size=41, max_size=41))
    for places in (layout, [i % banks for i in range(41)]):
        expected = oracle.best_step(lanes, banks, reach, rows, places)
        assert reads(lanes, network(banks, reach, rows), places) == expected
        own = read_step(tile_of(lanes), network(banks, reach, rows), np.array(places))
        assert own == expected[::-1]


@pytest.mark.parametrize(
    ("lanes", "banks", "reach", "cycles", "words"),
    [
        ([[0], [1], [2], [3]], 4, 4, 1, 4),
        ([[0], [1], [2], [3]], 2, 2, 2, 4),  # two words from each bank
        ([[0], [4], [8], [12]], 4, 4, 4, 4),  # all in bank 0
        ([[5], [5], [5], [5]], 4, 4, 1, 1),  # one word for all lanes
        ([[0], [1], [2], [3]], 4, 1, 1, 4),  # each lane sees its own bank
        ([[3], [0], [1], [2]], 4, 1, 1, 4),  # the same, behind a shift
        ([[1], [0], [3], [2]], 4, 1, 2, 4),  # two rotations: lanes 0 and 2, then lanes 1 and 3
        ([[0], [0]], 2, 1, 2, 2),  # a word that is read in two rotations
        ([[0], [0]], 2, 2, 1, 1),
    ],
)
def test_steps_by_hand(lanes: list[list[int]], banks: int, reach: int, cycles: int, words: int) -> None:
    assert reads(lanes, network(banks, reach, len(lanes))) == (cycles, words)


@settings(max_examples=100)
@given(LAYERS, st.sampled_from(METHODS), st.integers(1, 6), st.integers(1, 4), st.data())
def test_packings_and_their_dense_layers(
    matrix: LayerMatrix, method: str, rows: int, fan_in: int, data: st.DataObject
) -> None:
    banks, reach = data.draw(banks_and_reaches(rows))
    packing, gemm = packed(matrix, method, ArrayShape(rows, 3), fan_in), gemm_of(matrix, 2)
    own, lane_inputs = network(banks, reach, rows), LaneInputs.of_packing(packing)
    found = with_banks(packed_passes(packing, gemm), lane_inputs, gemm, own)
    assert found.bank_cycles is not None and found.input_banks is not None
    layout = found.input_banks.tolist()
    expected = [oracle.best_step(lanes, banks, reach, rows, layout) for lanes in lanes_of(packing)]
    assert list(zip(found.bank_cycles.tolist(), found.activation_words.tolist(), strict=True)) == expected
    assert layout in (
        interleaved_banks(gemm, banks).tolist(),
        chosen_banks(lane_inputs, gemm, banks).tolist(),
    )
    interleaved = [oracle.best_step(lanes, banks, reach, rows) for lanes in lanes_of(packing)]
    assert sum(cycles for cycles, _ in expected) <= sum(cycles for cycles, _ in interleaved)
    dense = dense_packing(matrix.filters, matrix.inputs, matrix.groups, packing.array)
    for closed, of_tiles in zip(
        vars(LaneInputs.of_dense(gemm, packing.array)).values(),
        vars(LaneInputs.of_packing(dense)).values(),
        strict=True,
    ):
        assert closed.tolist() == of_tiles.tolist()


# --- layouts


@settings(max_examples=50)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.integers(0, 2),
    st.lists(st.integers(0, 20), min_size=3, max_size=3),
    st.integers(1, 20),
)
def test_the_layouts_that_are_documented_give_every_step_the_same_conflicts(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: int,
    first: list[int],
    banks: int,
) -> None:
    height, width = kernel

    def bank(c: int, y: int, x: int) -> int:
        return (first[c] + y // dilation[0] * width + x // dilation[1]) % banks

    taps = [(c, dy, dx) for c in range(len(first)) for dy in range(height) for dx in range(width)]
    layout = [first[c] + dy * width + dx for c, dy, dx in taps]
    for row in range(4):
        for column in range(4):
            y, x = row * stride[0] - padding, column * stride[1] - padding
            found = [bank(c, y + dy * dilation[0], x + dx * dilation[1]) for c, dy, dx in taps]
            assert len({(own - place) % banks for own, place in zip(found, layout, strict=True)}) == 1


@settings(max_examples=100)
@given(
    st.lists(st.lists(st.integers(0, 23), min_size=1, max_size=12, unique=True), min_size=1, max_size=4),
    st.sampled_from([1, 2, 3, 4, 6]),
    st.integers(1, 12),
)
def test_a_chosen_layout_keeps_channels_together_and_spreads_the_words(
    tiles: list[list[int]], positions: int, banks: int
) -> None:
    starts = np.append(0, np.cumsum([len(tile) for tile in tiles]))
    inputs = np.array([i for tile in tiles for i in tile], np.int64)
    gemm = GemmWorkload(1, 24, 1, 1, positions)
    own, plain = (
        chosen_banks(LaneInputs(starts, np.zeros_like(inputs), inputs), gemm, banks),
        np.arange(24) % banks,
    )
    steps = (own.reshape(-1, positions) - own.reshape(-1, positions)[:, :1]) % banks
    assert (steps == np.arange(positions) % banks).all()

    def cost(layout: np.ndarray) -> int:
        words = [np.bincount(layout[tile], minlength=banks).tolist() for tile in tiles]
        return sum(count**4 for counts in words for count in counts)

    if (
        positions <= banks
    ):  # then no two words of a channel and a tile share a bank, and every move is a descent
        assert cost(own) <= cost(plain)


def test_a_layout_by_hand() -> None:
    # inputs 0, 4, 8 and 12, each of its own channel, are all in bank 0 of 4; each can have a bank of its own
    lane_inputs = lane_inputs_of([[0], [4], [8], [12]])
    gemm = GemmWorkload(1, 16, 1, 1)
    assert sorted(chosen_banks(lane_inputs, gemm, 4)[[0, 4, 8, 12]].tolist()) == [0, 1, 2, 3]
    passes = dense_passes("ws", gemm, ArrayShape(16, 1))
    found = with_banks(passes, lane_inputs, gemm, network(4, None, 16))
    assert found.bank_cycles is not None and found.bank_cycles.tolist() == [1]
    # of one channel, they stay together
    channel = GemmWorkload(1, 16, 1, 1, 16)
    assert len(set(chosen_banks(lane_inputs, channel, 4)[[0, 4, 8, 12]].tolist())) == 1


# --- cycles


def banked(packing: Packing, matrix: LayerMatrix, count: int, banks: BankNetwork) -> Passes:
    """The passes of `packing` on a buffer with banks."""
    gemm = gemm_of(matrix, count)
    return with_banks(packed_passes(packing, gemm), LaneInputs.of_packing(packing), gemm, banks)


@settings(max_examples=150)
@given(
    LAYERS,
    st.sampled_from(METHODS),
    accelerators_with_modes(),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(1, 3),
    st.data(),
)
def test_the_engine_takes_the_cycles_of_the_closed_form(
    matrix: LayerMatrix,
    method: str,
    accelerator: Accelerator,
    fan_in: int,
    count: int,
    temporal_tiles: int,
    data: st.DataObject,
) -> None:
    rows = accelerator.array.rows
    own = network(*data.draw(banks_and_reaches(rows)), rows)
    accelerator, temporal_tiles = replace(accelerator, bank_network=own), min(temporal_tiles, count)
    packing, vectors, traces = (
        packed(matrix, method, accelerator.array, fan_in),
        vectors_for(matrix, count),
        [],
    )
    passes = banked(packing, matrix, count, own)
    if method == "dense":
        gemm = gemm_of(matrix, count)
        dense = dense_passes("ws", gemm, accelerator.array)
        passes = with_banks(dense, LaneInputs.of_dense(gemm, accelerator.array), gemm, own)
    operands = Operands(matrix, vectors, input_banks=passes.input_banks)
    result = run_packing(packing, operands, accelerator, temporal_tiles, traces)
    assert result.outputs.tolist() == (vectors @ kept(packing, matrix).T).tolist()
    found = layer_cycles(passes, accelerator, temporal_tiles)
    assert found.total == result.cycles
    without = replace(accelerator, bank_network=None)
    assert found == replace(layer_cycles(passes, without, temporal_tiles), bank_stalls=found.bank_stalls)
    assert found.bank_stalls >= 0


def test_the_cycles_of_a_layer_by_hand() -> None:
    # 4 filters x 6 inputs on 4x4, 10 vectors: passes of 4 and 2 lanes, 4 + 10 + 6 cycles each without stalls
    gemm, array = gemm_of(LayerMatrix(np.ones((4, 6), np.int32)), 10), ArrayShape(4, 4)
    passes = dense_passes("ws", gemm, array)

    def cycles(banks: int, **changes: object) -> Cycles:
        own = network(banks, None, 4)
        accelerator = replace(Accelerator(array), bank_network=own, **changes)
        return layer_cycles(with_banks(passes, LaneInputs.of_dense(gemm, array), gemm, own), accelerator)

    assert cycles(4) == Cycles(40)
    assert cycles(3) == Cycles(40, bank_stalls=10)  # two words from one bank in the first pass
    assert cycles(1) == Cycles(40, bank_stalls=30 + 10)
    slow = BufferPort(words_per_cycle=2)  # 2 cycles a step in the first pass
    assert cycles(2, activations=slow) == Cycles(40, activation_stalls=10)
    assert cycles(1, activations=slow) == Cycles(40, activation_stalls=10, bank_stalls=20 + 10)
    # two arrays take turns at the bank: 2 x 4 cycles a step in the first pass
    assert cycles(1, arrays=2) == Cycles(20, bank_stalls=70)
    # each of two replicas of the second pass needs the banks for itself
    small = gemm_of(LayerMatrix(np.ones((2, 2), np.int32)), 10)
    own = network(4, None, 4)
    banked = with_banks(dense_passes("ws", small, array), LaneInputs.of_dense(small, array), small, own)
    replicated = Accelerator(array, replicate_tiles=True, bank_network=own)
    assert layer_cycles(banked, replicated) == Cycles(15, bank_stalls=5)


def test_the_first_step_enters_when_its_words_are_there() -> None:
    gemm, array, own = (
        gemm_of(LayerMatrix(np.ones((4, 4), np.int32)), 10),
        ArrayShape(4, 4),
        network(1, None, 4),
    )
    passes = with_banks(dense_passes("ws", gemm, array), LaneInputs.of_dense(gemm, array), gemm, own)
    assert start_cycles(passes, Accelerator(array, bank_network=own)).tolist() == [4 + 3]


@settings(max_examples=100)
@given(LAYERS, st.sampled_from(METHODS), accelerators_with_modes(), st.integers(1, 4), st.integers(1, 5))
def test_a_bank_for_each_input_is_as_fast_as_no_banks(
    matrix: LayerMatrix, method: str, accelerator: Accelerator, fan_in: int, count: int
) -> None:
    accelerator = replace(accelerator, arrays=1, replicate_tiles=False)
    own = network(matrix.inputs * matrix.groups, None, accelerator.array.rows)
    packing = packed(matrix, method, accelerator.array, fan_in)
    plain, passes = packed_passes(packing, gemm_of(matrix, count)), banked(packing, matrix, count, own)
    assert passes.activation_words.tolist() == plain.activation_words.tolist()
    assert layer_cycles(passes, replace(accelerator, bank_network=own)) == layer_cycles(plain, accelerator)


@settings(max_examples=150)
@given(TILES, st.integers(2, 3))
def test_more_banks_or_a_larger_reach_are_never_slower(
    case: tuple[list[list[int]], tuple[int, int], int], times: int
) -> None:
    lanes, (banks, reach), rows = case
    cycles, words = reads(lanes, network(banks, reach, rows))
    assert reads(lanes, network(times * banks, None, rows))[0] <= reads(lanes, network(banks, None, rows))[0]
    assert reads(lanes, network(banks, None, rows)) <= (cycles, words)
    if (banks % rows == 0 or reach == banks) and reach < banks:  # as many bank groups in each lane's window
        assert reads(lanes, network(times * banks, times * reach, rows))[0] <= cycles
    if reach < banks and banks % (times * reach) == 0:
        assert reads(lanes, network(banks, times * reach, rows))[0] <= cycles


def test_twice_the_banks_at_the_same_reach_can_be_slower() -> None:
    lanes = [[0, 1], [0, 1]]
    assert reads(lanes, network(2, 2, 2))[0] < reads(lanes, network(4, 2, 2))[0]


# --- events and energy


@settings(max_examples=50)
@given(LAYERS, st.sampled_from(METHODS), st.integers(1, 6), st.sampled_from([1, 4]), st.data())
def test_bytes_of_the_network_and_of_its_buffer(
    matrix: LayerMatrix, method: str, rows: int, size: int, data: st.DataObject
) -> None:
    banks, reach = data.draw(banks_and_reaches(rows))
    packing, gemm = packed(matrix, method, ArrayShape(rows, 4), 3), gemm_of(matrix, 5)
    assume(packing.tiles)
    accelerator = Accelerator(packing.array, operand_bytes=size, bank_network=network(banks, reach, rows))
    passes = banked(packing, matrix, 5, network(banks, reach, rows))
    events = count_events(passes, gemm, accelerator, schedule_layer(passes, gemm, accelerator))
    assert passes.input_banks is not None
    layout = passes.input_banks.tolist()
    words = sum(oracle.best_step(lanes, banks, reach, rows, layout)[1] for lanes in lanes_of(packing))
    carried = sum(len(lane) for tile in tiles_of(packing) for lane in tile["lanes"])

    def levels(inputs: int) -> int:
        return next(n for n in range(20) if 2**n >= inputs)

    rotated = levels(banks) if reach < banks else 0
    assert events.network_bytes == 5 * size * (words * rotated + carried * levels(reach))
    assert events.activation_buffer_bytes == size * (5 * words + gemm.outputs)
    table = default_table()
    energy = energy_pj(events, table, accelerator)
    assert energy["bank_network"] == pytest.approx(events.network_bytes * table.multiplexer_level.energy)
    assert "bank_network" not in energy_pj(events, table, replace(accelerator, bank_network=None))
