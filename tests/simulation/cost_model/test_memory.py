"""Sums that wait and the choice of pieces, against brute force and by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import inf

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import oracle
from helpers.accelerators import DATAFLOWS, MAPS, chips, crowded_chips, layers, packed, tile_passes, work_of
from tightc.simulation.accelerator.accelerator import Accelerator, BufferPort
from tightc.simulation.cost_model.cycles import layer_cycles
from tightc.simulation.cost_model.gemm import FeatureMaps, GemmWorkload
from tightc.simulation.cost_model.memory import LayerSchedule, dram_stalls, open_sums, schedule, traffic
from tightc.simulation.cost_model.passes import Passes, dense_passes
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix

KINDS = (*DATAFLOWS, "tight")


def passes_of(matrix: LayerMatrix, kind: str, work: GemmWorkload, accelerator: Accelerator) -> Passes:
    if kind in DATAFLOWS:
        return dense_passes(kind, work, accelerator.array)
    return tile_passes(packed(matrix, kind, accelerator.array, 3), work)


def way_of(passes: Passes, work: GemmWorkload, accelerator: Accelerator, pieces: int) -> LayerSchedule:
    cycles, moved = layer_cycles(passes, accelerator, pieces), traffic(passes, work, accelerator, pieces)
    stalls = dram_stalls(moved, cycles.total, accelerator)
    return LayerSchedule(pieces, cycles, moved, stalls, accelerator.arrays, accelerator.replicate_tiles)


def filters_of_passes(
    matrix: LayerMatrix, kind: str, vectors: int, accelerator: Accelerator
) -> list[list[int]]:
    """The columns' numbers in each pass that leaves sums at every step; none where they stay."""
    if kind == "os":
        return []
    if kind == "tight":
        return [tile.filters.tolist() for tile in packed(matrix, kind, accelerator.array, 3).tiles]
    columns = matrix.filters_per_group if kind == "ws" else vectors
    tiles = oracle.dense_tiles(columns, matrix.inputs, tuple(accelerator.array), matrix.groups)
    return [tile["filters"] for tile in tiles]


def room_for_a_vector(accelerator: Accelerator, filters: list[list[int]]) -> Accelerator:
    """The chip with room for the sums of one vector at least; a layer that has not even that is refused."""
    one = 4 * oracle.waiting_sums(filters, [range(1)], 1)
    return replace(accelerator, sums=replace(accelerator.sums, usable=max(one, accelerator.sums.usable)))


def ways_that_fit(
    passes: Passes, work: GemmWorkload, accelerator: Accelerator, filters: list[list[int]], arrays: list[int]
) -> list[LayerSchedule]:
    """On each number of arrays, in any number of pieces of which all sums that wait at a time lie in their buffer.

    With copies side by side and without, where the chip can.
    """
    most = 1 if passes.dataflow == "os" else passes.steps
    ways = []
    for count, pieces in product(arrays, range(1, most + 1)):
        waiting = oracle.waiting_sums(filters, oracle.cut(passes.steps, pieces), count)
        if 4 * waiting <= accelerator.sums.usable:
            ways += [
                way_of(passes, work, replace(accelerator, arrays=count, replicate_tiles=beside), pieces)
                for beside in ([True, False] if accelerator.replicate_tiles else [False])
            ]
    return ways


def halves(arrays: int) -> list[int]:
    """All arrays, half of them, a quarter and so on."""
    return [arrays, *halves(arrays // 2)] if arrays else []


# --- sums that wait


@settings(max_examples=150)
@given(layers(), chips(), st.sampled_from(["ws", "is", "tight"]), st.integers(1, 9), st.integers(1, 5))
def test_sums_that_wait_are_those_of_a_plain_recount(
    matrix: LayerMatrix, accelerator: Accelerator, kind: str, vectors: int, arrays: int
) -> None:
    passes = passes_of(matrix, kind, work_of(matrix, vectors), accelerator)
    filters = filters_of_passes(matrix, kind, vectors, accelerator)
    assert open_sums(passes, arrays) == oracle.waiting_sums(filters, [range(1)], arrays)


def test_sums_that_wait_by_hand() -> None:
    # 5 filters x 6 inputs on 2x2: filters 0 and 1 in passes 0 to 2, 2 and 3 in 3 to 5, 4 in 6 to 8
    passes = dense_passes("ws", GemmWorkload(5, 6, 1, 10), ArrayShape(2, 2))
    assert [open_sums(passes, arrays) for arrays in (1, 2, 3, 4, 9)] == [2, 4, 2, 4, 5]
    assert open_sums(dense_passes("os", GemmWorkload(5, 6, 1, 10), ArrayShape(2, 2)), 1) == 0
    assert (
        open_sums(dense_passes("ws", GemmWorkload(5, 2, 1, 10), ArrayShape(2, 2)), 3) == 0
    )  # no pass adds to another


@pytest.mark.parametrize(
    ("usable", "pieces"), [(inf, 1), (80, 1), (79, 2), (40, 2), (39, 3), (16, 5), (15, 10), (8, 10)]
)
def test_steps_are_cut_until_their_sums_fit(usable: float, pieces: int) -> None:
    # 2 sums of 4 bytes wait in each of 10 steps
    work, accelerator = (
        GemmWorkload(5, 6, 1, 10),
        Accelerator(ArrayShape(2, 2), sums=BufferPort(usable=usable)),
    )
    assert schedule(dense_passes("ws", work, accelerator.array), work, accelerator).pieces == pieces


def test_sums_of_pieces_that_run_at_the_same_time_wait_together() -> None:
    # two passes of 2 + n + 2 cycles, one array each: with four arrays two pieces run at once
    work, accelerator = (
        GemmWorkload(2, 4, 1, 10),
        Accelerator(ArrayShape(2, 2), arrays=4, sums=BufferPort(usable=80)),
    )
    passes = dense_passes("ws", work, accelerator.array)
    way = schedule(passes, work, accelerator)
    assert (way.arrays, way.pieces, way.total) == (4, 2, 2 + 5 + 2)
    # 2 sums of 4 bytes a step: 2 steps of two pieces each fit, or 5 of one piece on two arrays, which takes 18 cycles
    way = schedule(passes, work, replace(accelerator, sums=BufferPort(usable=40)))
    assert (way.arrays, way.pieces, way.total) == (4, 6, (2 + 2 + 2) + (2 + 2 + 2) + (2 + 1 + 2))


def test_fewer_arrays_run_where_the_sums_of_more_do_not_fit() -> None:
    # one vector: 2 filters in passes 0 and 1, the next 2 in passes 2 and 3, all at once on four arrays
    work, accelerator = (
        GemmWorkload(4, 4, 1, 1),
        Accelerator(ArrayShape(2, 2), arrays=4, sums=BufferPort(usable=16)),
    )
    passes = dense_passes("ws", work, accelerator.array)
    way = schedule(passes, work, accelerator)
    assert (way.arrays, way.total) == (4, 2 + 1 + 2)
    way = schedule(passes, work, replace(accelerator, sums=BufferPort(usable=15)))
    assert (way.arrays, way.total) == (2, 2 * (2 + 1 + 2))


# --- the choice of pieces


@settings(max_examples=150)
@given(layers(), st.integers(1, 30), crowded_chips(arrays=1), st.sampled_from(KINDS), MAPS)
def test_one_array_runs_in_the_best_of_all_ways(
    matrix: LayerMatrix, vectors: int, accelerator: Accelerator, kind: str, maps: FeatureMaps
) -> None:
    work = work_of(matrix, vectors, 1, maps)
    passes, filters = (
        passes_of(matrix, kind, work, accelerator),
        filters_of_passes(matrix, kind, vectors, accelerator),
    )
    accelerator = room_for_a_vector(accelerator, filters)
    ways = ways_that_fit(passes, work, accelerator, filters, [1])
    if accelerator.is_ideal:  # then copies never cost anything
        ways = [way for way in ways if way.replicate_tiles == accelerator.replicate_tiles]
    best = min(ways, key=lambda way: (way.total, way.traffic.total, way.pieces, way.replicate_tiles))
    assert schedule(passes, work, accelerator) == best


@settings(max_examples=200)
@given(layers(), st.integers(1, 30), crowded_chips(), st.sampled_from(KINDS), MAPS)
def test_several_arrays_run_in_one_of_all_ways_and_in_a_good_one(
    matrix: LayerMatrix, vectors: int, accelerator: Accelerator, kind: str, maps: FeatureMaps
) -> None:
    work = work_of(matrix, vectors, 1, maps)
    passes, filters = (
        passes_of(matrix, kind, work, accelerator),
        filters_of_passes(matrix, kind, vectors, accelerator),
    )
    accelerator = room_for_a_vector(accelerator, filters)
    ways = ways_that_fit(passes, work, accelerator, filters, halves(accelerator.arrays))
    found = schedule(passes, work, accelerator)
    assert found in ways
    assert found.total <= MISSED * min(way.total for way in ways)
    if ways[0] == way_of(passes, work, accelerator, 1):
        assert found.total <= ways[0].total


@settings(max_examples=150)
@given(layers(), st.integers(1, 30), crowded_chips(arrays=8), st.sampled_from(KINDS), MAPS)
def test_half_of_the_arrays_are_never_faster(
    matrix: LayerMatrix, vectors: int, accelerator: Accelerator, kind: str, maps: FeatureMaps
) -> None:
    assume(accelerator.arrays > 1)
    work = work_of(matrix, vectors, 1, maps)
    passes = passes_of(matrix, kind, work, accelerator)
    half = schedule(passes, work, replace(accelerator, arrays=accelerator.arrays // 2))
    assert schedule(passes, work, accelerator).total <= half.total


def test_half_of_the_arrays_are_used_where_all_would_wait() -> None:
    # 3 passes of 4 words at a word a cycle: 4 cycles to load on one array, 8 where two share, 12 where three do
    work, accelerator = GemmWorkload(2, 6, 1, 1), Accelerator(ArrayShape(2, 2), weights=BufferPort(words=1))
    passes = dense_passes("ws", work, accelerator.array)
    found = [schedule(passes, work, replace(accelerator, arrays=arrays)) for arrays in (1, 2, 3, 4, 5)]
    # two arrays would take 2 x (8 + 3), the second being idle half the time
    assert [(way.arrays, way.total) for way in found] == [(1, 3 * 7), (1, 3 * 7), (3, 15), (4, 15), (5, 15)]
    # a single pass is as fast on one of four arrays as on the only one; then none is taken away
    one = dense_passes("ws", GemmWorkload(2, 2, 1, 1), accelerator.array)
    assert schedule(one, GemmWorkload(2, 2, 1, 1), replace(accelerator, arrays=4)).arrays == 4


@pytest.mark.parametrize(("words", "beside", "total"), [(1, True, 5), (0.7, False, 6), (0.5, False, 6)])
def test_copies_stand_side_by_side_only_where_they_gain(words: float, beside: bool, total: int) -> None:
    # two vectors, one weight: a copy alone takes 2 + 2 + 2 cycles, two take 2 + 1 + 2 but load two words
    work, accelerator = (
        GemmWorkload(1, 1, 1, 2),
        Accelerator(ArrayShape(2, 2), replicate_tiles=True, weights=BufferPort(words=words)),
    )
    way = schedule(dense_passes("ws", work, accelerator.array), work, accelerator)
    assert (way.replicate_tiles, way.total) == (beside, total)


@pytest.mark.parametrize(("dram", "pieces", "total"), [(1.82, 1, 179), (1.8, 2, 180), (1.7, 2, 180)])
def test_of_ways_that_take_as_long_the_one_that_moves_less_is_taken(
    dram: float, pieces: int, total: int
) -> None:
    # 6 passes for 10 vectors: in one piece 6 x 20 cycles, the map of 60 bytes comes three times; in two pieces 6 x 30
    # cycles, it comes once, and there are 54 bytes of weights and 90 of outputs
    work = GemmWorkload(9, 6, 1, 10, 2, FeatureMaps(60, 90))
    accelerator = Accelerator(ArrayShape(4, 4), activations=BufferPort(usable=59), dram=dram)
    passes = dense_passes("ws", work, accelerator.array)
    one, two = (way_of(passes, work, accelerator, count) for count in (1, 2))
    assert (one.cycles.total, one.traffic.total) == (120, 180 + 54 + 90)
    assert (two.cycles.total, two.traffic.total) == (180, 60 + 54 + 90)
    way = schedule(passes, work, accelerator)
    assert (way.pieces, way.total) == (pieces, total)


MISSED = 1.15  # what schedule may take beyond the best, since it does not try every number of pieces


@settings(max_examples=100)
@given(layers(), st.integers(1, 30), crowded_chips(), st.sampled_from(KINDS), MAPS)
def test_a_chip_without_limits_is_never_slower(
    matrix: LayerMatrix, vectors: int, accelerator: Accelerator, kind: str, maps: FeatureMaps
) -> None:
    work = work_of(matrix, vectors, 1, maps)
    passes = passes_of(matrix, kind, work, accelerator)
    ideal = replace(accelerator, activations=BufferPort(), weights=BufferPort(), sums=BufferPort(), dram=None)
    most = 1 if kind == "os" else passes.steps
    fastest = min(layer_cycles(passes, ideal, pieces).total for pieces in range(1, most + 1))
    assert fastest <= schedule(passes, work, accelerator).total


@settings(max_examples=60)
@given(layers(), st.integers(1, 30), chips(), st.sampled_from(DATAFLOWS))
def test_another_array_never_costs_more_where_buffers_keep_up(
    matrix: LayerMatrix, vectors: int, accelerator: Accelerator, dataflow: str
) -> None:
    work = work_of(matrix, vectors)
    passes = dense_passes(dataflow, work, accelerator.array)
    accelerator = replace(accelerator, activations=BufferPort(), weights=BufferPort(), sums=BufferPort())
    more = replace(accelerator, arrays=accelerator.arrays + 1)
    assert schedule(passes, work, more).total <= schedule(passes, work, accelerator).total


MORE = {
    "activation words": lambda accelerator: {
        "activations": replace(accelerator.activations, words=accelerator.activations.words * 1.7)
    },
    "weight words": lambda accelerator: {
        "weights": replace(accelerator.weights, words=accelerator.weights.words * 1.7)
    },
    "sum words": lambda accelerator: {"sums": replace(accelerator.sums, words=accelerator.sums.words * 1.7)},
    "DRAM": lambda accelerator: {"dram": accelerator.dram and accelerator.dram * 1.7},
    "prefetch": lambda accelerator: {"prefetch": True},
    "double buffers": lambda accelerator: {
        name: replace(getattr(accelerator, name), hidden=True) for name in ("activations", "weights", "sums")
    },
}
LARGER = {
    name: lambda accelerator, name=name: {
        name: replace(
            getattr(accelerator, name),
            usable=getattr(accelerator, name).usable * 1.7,
            size=getattr(accelerator, name).size and 2 * getattr(accelerator, name).size,
        )
    }
    for name in ("activations", "weights", "sums")
}


@settings(max_examples=30)
@given(layers(), st.integers(1, 30), crowded_chips(), st.sampled_from(KINDS), MAPS)
@pytest.mark.parametrize("what", MORE)
def test_more_never_costs_more(
    what: str, matrix: LayerMatrix, vectors: int, accelerator: Accelerator, kind: str, maps: FeatureMaps
) -> None:
    work = work_of(matrix, vectors, 1, maps)
    passes = passes_of(matrix, kind, work, accelerator)
    more = replace(accelerator, **MORE[what](accelerator))
    assert schedule(passes, work, more).total <= schedule(passes, work, accelerator).total


@settings(max_examples=50)
@given(layers(), st.integers(1, 30), crowded_chips(arrays=1), st.sampled_from(KINDS), MAPS)
@pytest.mark.parametrize("what", LARGER)
def test_larger_buffers_never_cost_more(
    what: str, matrix: LayerMatrix, vectors: int, accelerator: Accelerator, kind: str, maps: FeatureMaps
) -> None:
    work = work_of(matrix, vectors, 1, maps)
    passes = passes_of(matrix, kind, work, accelerator)
    larger = replace(accelerator, **LARGER[what](accelerator))
    way, other = schedule(passes, work, accelerator), schedule(passes, work, larger)
    assert other.total <= way.total
    assert way_of(passes, work, larger, way.pieces).traffic.total <= way.traffic.total
