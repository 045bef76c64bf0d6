"""Traffic, waiting for DRAM and the choice of pieces, against brute force and by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import inf

import numpy as np
import pytest
from chips import DATAFLOWS, chips, layers, packed, tile_passes, work_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import models
import oracle
from packings import arrange
from tightc.config.extent import ExtentOptions
from tightc.model.file import load_model_bytes
from tightc.simulation.chip import Chip, Store
from tightc.simulation.cycles import layer_cycles
from tightc.simulation.events import count_events
from tightc.simulation.memory import Schedule, Traffic, dram_stalls, open_sums, schedule, traffic
from tightc.simulation.passes import Passes, dense_passes, packed_passes
from tightc.simulation.work import Maps, Work
from tightc.simulation.workload import read_workload
from tightc.tiles.array import ArrayShape
from tightc.tiles.matrix import LayerMatrix

KINDS = (*DATAFLOWS, "tight")
STORES = st.builds(
    Store,
    size=st.sampled_from([None, 30, 200, 800]),
    usable=st.sampled_from([8, 30, 100, 400, inf]),
    words=st.sampled_from([0.5, 1, 3, 8, inf]),
    hidden=st.booleans(),
)


@st.composite
def crowded_chips(draw: st.DrawFn, arrays: int = 4) -> Chip:
    """Chips on which something is scarce."""
    return replace(
        draw(chips(arrays=arrays)),
        activations=draw(STORES),
        weights=draw(STORES),
        sums=draw(STORES),
        dram=draw(st.sampled_from([None, 0.5, 3, 100])),
        keeps_maps=draw(st.booleans()),
    )


MAPS = st.builds(Maps, st.integers(1, 500), st.integers(1, 500), st.booleans(), st.booleans())


def passes_of(matrix: LayerMatrix, kind: str, work: Work, chip: Chip) -> Passes:
    if kind in DATAFLOWS:
        return dense_passes(kind, work, chip.array)
    return tile_passes(packed(matrix, kind, chip.array, 3), work)


def way_of(passes: Passes, work: Work, chip: Chip, pieces: int) -> Schedule:
    cycles, moved = layer_cycles(passes, chip, pieces), traffic(passes, work, chip, pieces)
    stalls = dram_stalls(moved, cycles.total, chip)
    return Schedule(pieces, cycles, moved, stalls, chip.arrays, chip.side_by_side)


def filters_of_passes(matrix: LayerMatrix, kind: str, vectors: int, chip: Chip) -> list[list[int]]:
    """The columns' numbers in each pass that leaves sums at every step; none where they stay."""
    if kind == "os":
        return []
    if kind == "tight":
        return [tile.filters.tolist() for tile in packed(matrix, kind, chip.array, 3).tiles]
    columns = matrix.filters_per_group if kind == "ws" else vectors
    tiles = oracle.dense_tiles(columns, matrix.inputs, tuple(chip.array), matrix.groups)
    return [tile["filters"] for tile in tiles]


def room_for_a_vector(chip: Chip, filters: list[list[int]]) -> Chip:
    """The chip with room for the sums of one vector at least; a layer that has not even that is refused."""
    one = 4 * oracle.waiting_sums(filters, [range(1)], 1)
    return replace(chip, sums=replace(chip.sums, usable=max(one, chip.sums.usable)))


def ways_that_fit(
    passes: Passes, work: Work, chip: Chip, filters: list[list[int]], arrays: list[int]
) -> list[Schedule]:
    """On each number of arrays, in any number of pieces of which all sums that wait at a time lie in their buffer.

    With copies side by side and without, where the chip can.
    """
    most = 1 if passes.dataflow == "os" else passes.steps
    ways = []
    for count, pieces in product(arrays, range(1, most + 1)):
        waiting = oracle.waiting_sums(filters, oracle.cut(passes.steps, pieces), count)
        if 4 * waiting <= chip.sums.usable:
            ways += [
                way_of(passes, work, replace(chip, arrays=count, side_by_side=beside), pieces)
                for beside in ([True, False] if chip.side_by_side else [False])
            ]
    return ways


def halves(arrays: int) -> list[int]:
    """All arrays, half of them, a quarter and so on."""
    return [arrays, *halves(arrays // 2)] if arrays else []


# --- sums that wait


@settings(max_examples=150)
@given(layers(), chips(), st.sampled_from(["ws", "is", "tight"]), st.integers(1, 9), st.integers(1, 5))
def test_sums_that_wait_are_those_of_a_plain_recount(
    matrix: LayerMatrix, chip: Chip, kind: str, vectors: int, arrays: int
) -> None:
    passes = passes_of(matrix, kind, work_of(matrix, vectors), chip)
    filters = filters_of_passes(matrix, kind, vectors, chip)
    assert open_sums(passes, arrays) == oracle.waiting_sums(filters, [range(1)], arrays)


def test_sums_that_wait_by_hand() -> None:
    # 5 filters x 6 inputs on 2x2: filters 0 and 1 in passes 0 to 2, 2 and 3 in 3 to 5, 4 in 6 to 8
    passes = dense_passes("ws", Work(5, 6, 1, 10), ArrayShape(2, 2))
    assert [open_sums(passes, arrays) for arrays in (1, 2, 3, 4, 9)] == [2, 4, 2, 4, 5]
    assert open_sums(dense_passes("os", Work(5, 6, 1, 10), ArrayShape(2, 2)), 1) == 0
    assert (
        open_sums(dense_passes("ws", Work(5, 2, 1, 10), ArrayShape(2, 2)), 3) == 0
    )  # no pass adds to another


@pytest.mark.parametrize(
    ("usable", "pieces"), [(inf, 1), (80, 1), (79, 2), (40, 2), (39, 3), (16, 5), (15, 10), (8, 10)]
)
def test_steps_are_cut_until_their_sums_fit(usable: float, pieces: int) -> None:
    # 2 sums of 4 bytes wait in each of 10 steps
    work, chip = Work(5, 6, 1, 10), Chip(ArrayShape(2, 2), sums=Store(usable=usable))
    assert schedule(dense_passes("ws", work, chip.array), work, chip).pieces == pieces


def test_sums_of_pieces_that_run_at_the_same_time_wait_together() -> None:
    # two passes of 2 + n + 2 cycles, one array each: with four arrays two pieces run at once
    work, chip = Work(2, 4, 1, 10), Chip(ArrayShape(2, 2), arrays=4, sums=Store(usable=80))
    passes = dense_passes("ws", work, chip.array)
    way = schedule(passes, work, chip)
    assert (way.arrays, way.pieces, way.total) == (4, 2, 2 + 5 + 2)
    # 2 sums of 4 bytes a step: 2 steps of two pieces each fit, or 5 of one piece on two arrays, which takes 18 cycles
    way = schedule(passes, work, replace(chip, sums=Store(usable=40)))
    assert (way.arrays, way.pieces, way.total) == (4, 6, (2 + 2 + 2) + (2 + 2 + 2) + (2 + 1 + 2))


def test_fewer_arrays_run_where_the_sums_of_more_do_not_fit() -> None:
    # one vector: 2 filters in passes 0 and 1, the next 2 in passes 2 and 3, all at once on four arrays
    work, chip = Work(4, 4, 1, 1), Chip(ArrayShape(2, 2), arrays=4, sums=Store(usable=16))
    passes = dense_passes("ws", work, chip.array)
    way = schedule(passes, work, chip)
    assert (way.arrays, way.total) == (4, 2 + 1 + 2)
    way = schedule(passes, work, replace(chip, sums=Store(usable=15)))
    assert (way.arrays, way.total) == (2, 2 * (2 + 1 + 2))


# --- the choice of pieces


@settings(max_examples=150)
@given(layers(), st.integers(1, 30), crowded_chips(arrays=1), st.sampled_from(KINDS), MAPS)
def test_one_array_runs_in_the_best_of_all_ways(
    matrix: LayerMatrix, vectors: int, chip: Chip, kind: str, maps: Maps
) -> None:
    work = work_of(matrix, vectors, 1, maps)
    passes, filters = passes_of(matrix, kind, work, chip), filters_of_passes(matrix, kind, vectors, chip)
    chip = room_for_a_vector(chip, filters)
    ways = ways_that_fit(passes, work, chip, filters, [1])
    if chip.is_ideal:  # then copies never cost anything
        ways = [way for way in ways if way.side_by_side == chip.side_by_side]
    best = min(ways, key=lambda way: (way.total, way.traffic.total, way.pieces, way.side_by_side))
    assert schedule(passes, work, chip) == best


@settings(max_examples=200)
@given(layers(), st.integers(1, 30), crowded_chips(), st.sampled_from(KINDS), MAPS)
def test_several_arrays_run_in_one_of_all_ways_and_in_a_good_one(
    matrix: LayerMatrix, vectors: int, chip: Chip, kind: str, maps: Maps
) -> None:
    work = work_of(matrix, vectors, 1, maps)
    passes, filters = passes_of(matrix, kind, work, chip), filters_of_passes(matrix, kind, vectors, chip)
    chip = room_for_a_vector(chip, filters)
    ways = ways_that_fit(passes, work, chip, filters, halves(chip.arrays))
    found = schedule(passes, work, chip)
    assert found in ways
    assert found.total <= MISSED * min(way.total for way in ways)
    if ways[0] == way_of(passes, work, chip, 1):
        assert found.total <= ways[0].total


@settings(max_examples=150)
@given(layers(), st.integers(1, 30), crowded_chips(arrays=8), st.sampled_from(KINDS), MAPS)
def test_half_of_the_arrays_are_never_faster(
    matrix: LayerMatrix, vectors: int, chip: Chip, kind: str, maps: Maps
) -> None:
    assume(chip.arrays > 1)
    work = work_of(matrix, vectors, 1, maps)
    passes = passes_of(matrix, kind, work, chip)
    half = schedule(passes, work, replace(chip, arrays=chip.arrays // 2))
    assert schedule(passes, work, chip).total <= half.total


def test_half_of_the_arrays_are_used_where_all_would_wait() -> None:
    # 3 passes of 4 words at a word a cycle: 4 cycles to load on one array, 8 where two share, 12 where three do
    work, chip = Work(2, 6, 1, 1), Chip(ArrayShape(2, 2), weights=Store(words=1))
    passes = dense_passes("ws", work, chip.array)
    found = [schedule(passes, work, replace(chip, arrays=arrays)) for arrays in (1, 2, 3, 4, 5)]
    # two arrays would take 2 x (8 + 3), the second being idle half the time
    assert [(way.arrays, way.total) for way in found] == [(1, 3 * 7), (1, 3 * 7), (3, 15), (4, 15), (5, 15)]
    # a single pass is as fast on one of four arrays as on the only one; then none is taken away
    one = dense_passes("ws", Work(2, 2, 1, 1), chip.array)
    assert schedule(one, Work(2, 2, 1, 1), replace(chip, arrays=4)).arrays == 4


@pytest.mark.parametrize(("words", "beside", "total"), [(1, True, 5), (0.7, False, 6), (0.5, False, 6)])
def test_copies_stand_side_by_side_only_where_they_gain(words: float, beside: bool, total: int) -> None:
    # two vectors, one weight: a copy alone takes 2 + 2 + 2 cycles, two take 2 + 1 + 2 but load two words
    work, chip = Work(1, 1, 1, 2), Chip(ArrayShape(2, 2), side_by_side=True, weights=Store(words=words))
    way = schedule(dense_passes("ws", work, chip.array), work, chip)
    assert (way.side_by_side, way.total) == (beside, total)


@pytest.mark.parametrize(("dram", "pieces", "total"), [(1.82, 1, 179), (1.8, 2, 180), (1.7, 2, 180)])
def test_of_ways_that_take_as_long_the_one_that_moves_less_is_taken(
    dram: float, pieces: int, total: int
) -> None:
    # 6 passes for 10 vectors: in one piece 6 x 20 cycles, the map of 60 bytes comes three times; in two pieces 6 x 30
    # cycles, it comes once, and there are 54 bytes of weights and 90 of outputs
    work = Work(9, 6, 1, 10, 2, Maps(60, 90))
    chip = Chip(ArrayShape(4, 4), activations=Store(usable=59), dram=dram)
    passes = dense_passes("ws", work, chip.array)
    one, two = (way_of(passes, work, chip, count) for count in (1, 2))
    assert (one.cycles.total, one.traffic.total) == (120, 180 + 54 + 90)
    assert (two.cycles.total, two.traffic.total) == (180, 60 + 54 + 90)
    way = schedule(passes, work, chip)
    assert (way.pieces, way.total) == (pieces, total)


MISSED = 1.15  # what schedule may take beyond the best, since it does not try every number of pieces


@settings(max_examples=100)
@given(layers(), st.integers(1, 30), crowded_chips(), st.sampled_from(KINDS), MAPS)
def test_a_chip_without_limits_is_never_slower(
    matrix: LayerMatrix, vectors: int, chip: Chip, kind: str, maps: Maps
) -> None:
    work = work_of(matrix, vectors, 1, maps)
    passes = passes_of(matrix, kind, work, chip)
    ideal = replace(chip, activations=Store(), weights=Store(), sums=Store(), dram=None)
    most = 1 if kind == "os" else passes.steps
    fastest = min(layer_cycles(passes, ideal, pieces).total for pieces in range(1, most + 1))
    assert fastest <= schedule(passes, work, chip).total


@settings(max_examples=60)
@given(layers(), st.integers(1, 30), chips(), st.sampled_from(DATAFLOWS))
def test_another_array_never_costs_more_where_buffers_keep_up(
    matrix: LayerMatrix, vectors: int, chip: Chip, dataflow: str
) -> None:
    work = work_of(matrix, vectors)
    passes = dense_passes(dataflow, work, chip.array)
    chip = replace(chip, activations=Store(), weights=Store(), sums=Store())
    more = replace(chip, arrays=chip.arrays + 1)
    assert schedule(passes, work, more).total <= schedule(passes, work, chip).total


MORE = {
    "activation words": lambda chip: {
        "activations": replace(chip.activations, words=chip.activations.words * 1.7)
    },
    "weight words": lambda chip: {"weights": replace(chip.weights, words=chip.weights.words * 1.7)},
    "sum words": lambda chip: {"sums": replace(chip.sums, words=chip.sums.words * 1.7)},
    "DRAM": lambda chip: {"dram": chip.dram and chip.dram * 1.7},
    "prefetch": lambda chip: {"prefetch": True},
    "double buffers": lambda chip: {
        name: replace(getattr(chip, name), hidden=True) for name in ("activations", "weights", "sums")
    },
}
LARGER = {
    name: lambda chip, name=name: {
        name: replace(
            getattr(chip, name),
            usable=getattr(chip, name).usable * 1.7,
            size=getattr(chip, name).size and 2 * getattr(chip, name).size,
        )
    }
    for name in ("activations", "weights", "sums")
}


@settings(max_examples=30)
@given(layers(), st.integers(1, 30), crowded_chips(), st.sampled_from(KINDS), MAPS)
@pytest.mark.parametrize("what", MORE)
def test_more_never_costs_more(
    what: str, matrix: LayerMatrix, vectors: int, chip: Chip, kind: str, maps: Maps
) -> None:
    work = work_of(matrix, vectors, 1, maps)
    passes = passes_of(matrix, kind, work, chip)
    more = replace(chip, **MORE[what](chip))
    assert schedule(passes, work, more).total <= schedule(passes, work, chip).total


@settings(max_examples=50)
@given(layers(), st.integers(1, 30), crowded_chips(arrays=1), st.sampled_from(KINDS), MAPS)
@pytest.mark.parametrize("what", LARGER)
def test_larger_buffers_never_cost_more(
    what: str, matrix: LayerMatrix, vectors: int, chip: Chip, kind: str, maps: Maps
) -> None:
    work = work_of(matrix, vectors, 1, maps)
    passes = passes_of(matrix, kind, work, chip)
    larger = replace(chip, **LARGER[what](chip))
    way, other = schedule(passes, work, chip), schedule(passes, work, larger)
    assert other.total <= way.total
    assert way_of(passes, work, larger, way.pieces).traffic.total <= way.traffic.total


# --- traffic


@settings(max_examples=150)
@given(layers(), st.integers(1, 12), crowded_chips(), st.sampled_from(DATAFLOWS), MAPS, st.integers(1, 4))
def test_every_word_crosses_the_edge_once_at_least(
    matrix: LayerMatrix, vectors: int, chip: Chip, dataflow: str, maps: Maps, pieces: int
) -> None:
    chip = replace(chip, dram=1.0)
    work = work_of(matrix, vectors, 1, maps)
    passes = dense_passes(dataflow, work, chip.array)
    moved = traffic(passes, work, chip, 1 if dataflow == "os" else min(pieces, passes.steps))
    size, room = chip.operand_bytes, chip.activations.usable
    assert moved.weight_bytes >= matrix.values.size * size
    half = inf if chip.activations.size is None else chip.activations.size / 2
    stays_in = chip.keeps_maps and not maps.from_outside and maps.read * size <= half
    stays_out = chip.keeps_maps and not maps.to_outside and maps.written * size <= half
    assert moved.activation_bytes == 0 if stays_in else moved.activation_bytes >= maps.read * size
    assert moved.output_bytes == (0 if stays_out else maps.written * size)
    if room == chip.weights.usable == inf:
        assert moved.activation_bytes in (0, maps.read * size)
        assert dataflow == "ws" or moved.weight_bytes == matrix.values.size * size
    assert traffic(passes, work, replace(chip, dram=None), 1) == Traffic()


# 4 filters x 6 inputs (3 channels of 2), 10 vectors, on 4x4: a pass reads channels 0 and 1, the next channel 2
HAND = Work(4, 6, 1, 10, 2, Maps(60, 40))


@pytest.mark.parametrize(
    ("dataflow", "activations", "weights", "pieces", "expected"),
    [
        ("ws", inf, inf, 1, Traffic(60, 24, 40)),
        ("ws", 59, 23, 1, Traffic(60, 24, 40)),  # each pass reads its own channels and weights: nothing twice
        ("ws", inf, 23, 3, Traffic(60, 72, 40)),  # every piece fetches the weights
        ("ws", 19, 24, 3, Traffic(60, 24, 40)),
        ("os", inf, inf, 1, Traffic(60, 24, 40)),
        ("os", 59, 23, 1, Traffic(60, 72, 40)),  # three passes, of 4, 4 and 2 vectors, take all weights each
        ("is", inf, inf, 1, Traffic(60, 24, 40)),
        ("is", 59, 23, 1, Traffic(60, 72, 40)),  # 3 x 2 passes; a weight meets the vectors three times
        ("is", 59, inf, 2, Traffic(120, 24, 40)),  # every piece loads all activations
        ("is", 60, inf, 2, Traffic(60, 24, 40)),
    ],
)
def test_traffic_by_hand(
    dataflow: str, activations: float, weights: float, pieces: int, expected: Traffic
) -> None:
    chip = Chip(
        ArrayShape(4, 4), activations=Store(usable=activations), weights=Store(usable=weights), dram=1.0
    )
    passes = dense_passes(dataflow, HAND, chip.array)
    assert traffic(passes, HAND, chip, pieces) == expected
    wide = replace(chip, operand_bytes=4, activations=Store(usable=4 * activations))
    wide = replace(wide, weights=Store(usable=4 * weights))
    times = Traffic(4 * expected.activation_bytes, 4 * expected.weight_bytes, 4 * 40)
    assert traffic(passes, HAND, wide, pieces) == times


def test_a_map_that_does_not_fit_is_fetched_by_every_pass_that_reads_it() -> None:
    work = Work(9, 6, 1, 10, 2, Maps(60, 90))  # two passes for each of 4, 4 and 1 filters
    chip = Chip(ArrayShape(4, 4), activations=Store(usable=59), dram=1.0)
    passes = dense_passes("ws", work, chip.array)
    assert passes.map_share.tolist() == pytest.approx([2 / 3, 1 / 3] * 3)
    assert traffic(passes, work, chip, 1).activation_bytes == 180
    # two pieces of 30 bytes fit one at a time
    assert traffic(passes, work, chip, 2).activation_bytes == 60
    # and where a piece is shared by two arrays; but with 12 arrays both pieces are there at once
    assert traffic(passes, work, replace(chip, arrays=2), 2).activation_bytes == 60
    assert traffic(passes, work, replace(chip, arrays=12), 2).activation_bytes == 180


def test_of_a_map_that_fits_comes_what_any_pass_reads() -> None:
    # 2 filters x 8 inputs, 4 channels of 2, on 2x2: filter 0 reads channels 0 and 1, filter 1 channels 1 and 3
    values = np.zeros((2, 8), np.int32)
    values[0, [0, 1, 2]] = values[1, [2, 6, 7]] = 1
    matrix, chip = LayerMatrix(values), Chip(ArrayShape(2, 2), activations=Store(usable=80), dram=1.0)
    packing = packed(matrix, "first-fit", chip.array, 1)
    work = Work(2, 8, 1, 10, 2, Maps(80, 20))
    passes = tile_passes(packing, work)
    channels = [{k // 2 for lane in tile["lanes"] for k in lane} for tile in oracle.plain(packing)]
    asked = sum(map(len, channels))
    assert set().union(*channels) == {0, 1, 3} and asked > 4
    assert traffic(passes, work, chip, 1).activation_bytes == 60
    small = replace(chip, activations=Store(usable=79))
    assert traffic(passes, work, small, 1).activation_bytes == 20 * asked
    # the dense layer reads all
    assert traffic(dense_passes("ws", work, chip.array), work, chip, 1).activation_bytes == 80


def test_shares_that_add_up_to_the_whole_map_are_not_a_byte_more() -> None:
    # 1 filter x 20 inputs on 1x1: 20 times 1/20 of a map of 20 bytes, which in floats is more than 20
    work, chip = (
        Work(1, 20, 1, 1, 1, Maps(20, 1)),
        Chip(ArrayShape(1, 1), activations=Store(usable=1), dram=1.0),
    )
    assert traffic(dense_passes("ws", work, chip.array), work, chip, 1).activation_bytes == 20


@pytest.mark.parametrize("usable", [40, 80, inf])
@pytest.mark.parametrize(
    ("outside", "keeps", "size", "expected"),
    [
        ((False, False), True, None, (0, 0)),
        ((False, False), True, 120, (0, 0)),  # half of it for the map that is read, half for the other
        ((False, False), True, 119, (60, 0)),
        ((False, False), True, 80, (60, 0)),
        ((False, False), True, 79, (60, 40)),
        ((True, False), True, 120, (60, 0)),
        ((False, True), True, 120, (0, 40)),
        ((True, True), True, None, (60, 40)),
        ((False, False), False, 120, (60, 40)),
        ((False, False), False, None, (60, 40)),
    ],
)
def test_maps_that_fit_stay_between_layers(
    outside: tuple[bool, bool], keeps: bool, size: int | None, expected: tuple[int, int], usable: float
) -> None:
    work = replace(HAND, maps=Maps(60, 40, *outside))
    store = Store(size=size, usable=usable)
    chip = Chip(ArrayShape(4, 4), activations=store, dram=1.0, keeps_maps=keeps)
    moved = traffic(dense_passes("ws", work, chip.array), work, chip, 1)
    assert (moved.activation_bytes, moved.output_bytes) == expected


@pytest.mark.parametrize(
    ("hidden", "dram", "busy", "stalls"),
    [
        ((True, True, True), None, 0, 0),
        ((True, True, True), 1.0, 60, 0),  # 60 bytes in all
        ((True, True, True), 1.0, 59, 1),
        ((True, True, True), 4.0, 10, 5),
        ((False, True, True), 1.0, 60, 10 + 30),  # outputs, too, leave by the buffer of activations
        ((True, False, True), 1.0, 0, 20 + 40),
        ((True, True, False), 1.0, 40, 20),  # sums do not go to DRAM
        ((False, False, False), 0.5, 1000, 120),
        ((True, True, True), 0.7, 80, 6),  # 85.7 cycles
    ],
)
def test_waiting_for_dram_by_hand(
    hidden: tuple[bool, bool, bool], dram: float | None, busy: int, stalls: int
) -> None:
    stores = dict(zip(("activations", "weights", "sums"), (Store(hidden=own) for own in hidden), strict=True))
    chip = Chip(ArrayShape(4, 4), dram=dram, **stores)
    assert dram_stalls(Traffic(10, 20, 30), busy, chip) == stalls


@pytest.mark.parametrize(
    ("size", "written", "read"), [(2 * 64, 0, 0), (2 * 64 - 1, 64, 16), (2 * 16, 64, 16)]
)
def test_whoever_writes_a_map_and_whoever_reads_it_say_the_same_of_it(
    size: int, written: int, read: int
) -> None:
    # 8x8 pixels are written, a pool makes 4x4 of them: what does not stay for the one does not for the other
    text = """net (float[1, 1, 8, 8] x) => (float[1, 1, 4, 4] y) {
        [a] m = Conv(x, v)
        p = MaxPool <kernel_shape=[2, 2], strides=[2, 2]> (m)
        [b] y = Conv(p, w)
    }"""
    weight = np.ones((1, 1, 1, 1), np.float32)
    model = load_model_bytes(models.build(text, v=weight, w=weight).SerializeToString())
    layers = read_workload(model, ExtentOptions()).layers
    chip = Chip(ArrayShape(2, 2), activations=Store(size, size), dram=1.0)
    moved = [traffic(dense_passes("ws", layer.work, chip.array), layer.work, chip, 1) for layer in layers]
    assert (moved[0].activation_bytes, moved[1].output_bytes) == (64, 16)  # the ends of the network
    assert (moved[0].output_bytes, moved[1].activation_bytes) == (written, read)


def test_a_map_that_goes_two_ways_is_kept_for_both_or_none() -> None:
    text = """net (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) {
        [a] m = Conv(x, v)
        [b] n = Conv(m, v2)
        s = Add(m, n)
        [c] y = Conv(s, v3)
    }"""
    weight = np.ones((2, 2, 1, 1), np.float32)
    model = load_model_bytes(models.build(text, v=weight, v2=weight, v3=weight).SerializeToString())
    maps = [layer.work.maps for layer in read_workload(model, ExtentOptions()).layers]
    assert [(m.from_outside, m.to_outside) for m in maps] == [(True, False), (False, False), (False, True)]
    assert [(m.read_from, m.written_for) for m in maps] == [(0, 32), (32, 32), (32, 0)]


def test_wide_multiplexers_cost_as_wide_as_they_are() -> None:
    matrix = LayerMatrix(np.ones((2, 6), np.float32))
    packing = arrange(matrix, "tight", ArrayShape(4, 4), 2)
    work = Work(2, 6, 1, 5)
    for fan_in, levels in ((None, 1), (2, 1), (16, 4)):
        chip = Chip(ArrayShape(4, 4), fan_in=fan_in)
        passes = packed_passes(packing, work)
        assert (
            count_events(passes, work, chip, schedule(passes, work, chip)).multiplexer_bytes
            == 12 * 5 * levels
        )
        dense = dense_passes("ws", work, chip.array)
        assert count_events(dense, work, chip, schedule(dense, work, chip)).multiplexer_bytes == 0
