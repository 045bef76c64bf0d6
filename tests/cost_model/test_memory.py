"""Live partial sums and the choice of temporal tiles, against brute force and by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import inf

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import oracle
from helpers.accelerators import (
    DATAFLOWS,
    FEATURE_MAPS,
    accelerators,
    constrained_accelerators,
    gemm_of,
    layers,
    packed,
    tile_passes,
)
from tightc.accelerator.accelerator import Accelerator, BufferPort
from tightc.cost_model.cycles import layer_cycles
from tightc.cost_model.gemm import FeatureMaps, GemmWorkload
from tightc.cost_model.memory import (
    LayerSchedule,
    dram_stalls,
    dram_traffic,
    peak_live_sums,
    schedule_layer,
)
from tightc.cost_model.passes import Passes, dense_passes
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix

KINDS = (*DATAFLOWS, "tight")


def passes_of(matrix: LayerMatrix, kind: str, gemm: GemmWorkload, accelerator: Accelerator) -> Passes:
    if kind in DATAFLOWS:
        return dense_passes(kind, gemm, accelerator.array)
    return tile_passes(packed(matrix, kind, accelerator.array, 3), gemm)


def schedule_of(
    passes: Passes, gemm: GemmWorkload, accelerator: Accelerator, temporal_tiles: int
) -> LayerSchedule:
    cycles, moved = (
        layer_cycles(passes, accelerator, temporal_tiles),
        dram_traffic(passes, gemm, accelerator, temporal_tiles),
    )
    stalls = dram_stalls(moved, cycles.total, accelerator)
    return LayerSchedule(
        temporal_tiles, cycles, moved, stalls, accelerator.arrays, accelerator.replicate_tiles
    )


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
    """The accelerator with room for the live sums of one vector at least; a layer without that is refused."""
    one = 4 * oracle.live_sums(filters, [range(1)], 1)
    return replace(accelerator, sums=replace(accelerator.sums, usable=max(one, accelerator.sums.usable)))


def schedules_that_fit(
    passes: Passes, gemm: GemmWorkload, accelerator: Accelerator, filters: list[list[int]], arrays: list[int]
) -> list[LayerSchedule]:
    """Every number of arrays and of temporal tiles with live sums that fit their buffer at any time.

    With tiles replicated and without, where the accelerator can.
    """
    most = 1 if passes.dataflow == "os" else passes.steps
    schedules = []
    for count, temporal_tiles in product(arrays, range(1, most + 1)):
        live = oracle.live_sums(filters, oracle.cut(passes.steps, temporal_tiles), count)
        if 4 * live <= accelerator.sums.usable:
            schedules += [
                schedule_of(
                    passes,
                    gemm,
                    replace(accelerator, arrays=count, replicate_tiles=replicate),
                    temporal_tiles,
                )
                for replicate in ([True, False] if accelerator.replicate_tiles else [False])
            ]
    return schedules


def halves(arrays: int) -> list[int]:
    """All arrays, half of them, a quarter and so on."""
    return [arrays, *halves(arrays // 2)] if arrays else []


# --- live partial sums


@settings(max_examples=150)
@given(layers(), accelerators(), st.sampled_from(["ws", "is", "tight"]), st.integers(1, 9), st.integers(1, 5))
def test_peak_live_sums_are_those_of_a_plain_recount(
    matrix: LayerMatrix, accelerator: Accelerator, kind: str, vectors: int, arrays: int
) -> None:
    passes = passes_of(matrix, kind, gemm_of(matrix, vectors), accelerator)
    filters = filters_of_passes(matrix, kind, vectors, accelerator)
    assert peak_live_sums(passes, arrays) == oracle.live_sums(filters, [range(1)], arrays)


def test_peak_live_sums_by_hand() -> None:
    # 5 filters x 6 inputs on 2x2: filters 0 and 1 in passes 0 to 2, 2 and 3 in 3 to 5, 4 in 6 to 8
    passes = dense_passes("ws", GemmWorkload(5, 6, 1, 10), ArrayShape(2, 2))
    assert [peak_live_sums(passes, arrays) for arrays in (1, 2, 3, 4, 9)] == [2, 4, 2, 4, 5]
    assert peak_live_sums(dense_passes("os", GemmWorkload(5, 6, 1, 10), ArrayShape(2, 2)), 1) == 0
    assert (
        peak_live_sums(dense_passes("ws", GemmWorkload(5, 2, 1, 10), ArrayShape(2, 2)), 3) == 0
    )  # no pass adds to another


@pytest.mark.parametrize(
    ("usable", "temporal_tiles"), [(inf, 1), (80, 1), (79, 2), (40, 2), (39, 3), (16, 5), (15, 10), (8, 10)]
)
def test_steps_are_cut_until_their_sums_fit(usable: float, temporal_tiles: int) -> None:
    # 2 sums of 4 bytes are live in each of 10 steps
    gemm, accelerator = (
        GemmWorkload(5, 6, 1, 10),
        Accelerator(ArrayShape(2, 2), sums=BufferPort(usable=usable)),
    )
    assert (
        schedule_layer(dense_passes("ws", gemm, accelerator.array), gemm, accelerator).temporal_tiles
        == temporal_tiles
    )


def test_live_sums_of_temporal_tiles_that_run_at_the_same_time_add_up() -> None:
    # two passes of 2 + n + 2 cycles, one array each: with four arrays two temporal tiles run at once
    gemm, accelerator = (
        GemmWorkload(2, 4, 1, 10),
        Accelerator(ArrayShape(2, 2), arrays=4, sums=BufferPort(usable=80)),
    )
    passes = dense_passes("ws", gemm, accelerator.array)
    schedule = schedule_layer(passes, gemm, accelerator)
    assert (schedule.arrays, schedule.temporal_tiles, schedule.total) == (4, 2, 2 + 5 + 2)
    # 2 sums of 4 bytes a step: 2 steps of two temporal tiles each fit, or 5 of one on two arrays, which takes 18 cycles
    schedule = schedule_layer(passes, gemm, replace(accelerator, sums=BufferPort(usable=40)))
    assert (schedule.arrays, schedule.temporal_tiles, schedule.total) == (
        4,
        6,
        (2 + 2 + 2) + (2 + 2 + 2) + (2 + 1 + 2),
    )


def test_fewer_arrays_run_where_the_sums_of_more_do_not_fit() -> None:
    # one vector: 2 filters in passes 0 and 1, the next 2 in passes 2 and 3, all at once on four arrays
    gemm, accelerator = (
        GemmWorkload(4, 4, 1, 1),
        Accelerator(ArrayShape(2, 2), arrays=4, sums=BufferPort(usable=16)),
    )
    passes = dense_passes("ws", gemm, accelerator.array)
    schedule = schedule_layer(passes, gemm, accelerator)
    assert (schedule.arrays, schedule.total) == (4, 2 + 1 + 2)
    schedule = schedule_layer(passes, gemm, replace(accelerator, sums=BufferPort(usable=15)))
    assert (schedule.arrays, schedule.total) == (2, 2 * (2 + 1 + 2))


# --- the choice of temporal tiles


@settings(max_examples=150)
@given(layers(), st.integers(1, 30), constrained_accelerators(arrays=1), st.sampled_from(KINDS), FEATURE_MAPS)
def test_one_array_runs_the_best_of_all_schedules(
    matrix: LayerMatrix, vectors: int, accelerator: Accelerator, kind: str, feature_maps: FeatureMaps
) -> None:
    gemm = gemm_of(matrix, vectors, 1, feature_maps)
    passes, filters = (
        passes_of(matrix, kind, gemm, accelerator),
        filters_of_passes(matrix, kind, vectors, accelerator),
    )
    accelerator = room_for_a_vector(accelerator, filters)
    schedules = schedules_that_fit(passes, gemm, accelerator, filters, [1])
    if accelerator.is_ideal:  # then replicas never cost anything
        schedules = [
            schedule for schedule in schedules if schedule.replicate_tiles == accelerator.replicate_tiles
        ]
    best = min(
        schedules,
        key=lambda schedule: (
            schedule.total,
            schedule.traffic.total,
            schedule.temporal_tiles,
            schedule.replicate_tiles,
        ),
    )
    assert schedule_layer(passes, gemm, accelerator) == best


@settings(max_examples=200)
@given(layers(), st.integers(1, 30), constrained_accelerators(), st.sampled_from(KINDS), FEATURE_MAPS)
def test_several_arrays_run_one_of_all_schedules_and_a_good_one(
    matrix: LayerMatrix, vectors: int, accelerator: Accelerator, kind: str, feature_maps: FeatureMaps
) -> None:
    gemm = gemm_of(matrix, vectors, 1, feature_maps)
    passes, filters = (
        passes_of(matrix, kind, gemm, accelerator),
        filters_of_passes(matrix, kind, vectors, accelerator),
    )
    accelerator = room_for_a_vector(accelerator, filters)
    schedules = schedules_that_fit(passes, gemm, accelerator, filters, halves(accelerator.arrays))
    found = schedule_layer(passes, gemm, accelerator)
    assert found in schedules
    assert found.total <= MISSED * min(schedule.total for schedule in schedules)
    if schedules[0] == schedule_of(passes, gemm, accelerator, 1):
        assert found.total <= schedules[0].total


@settings(max_examples=150)
@given(layers(), st.integers(1, 30), constrained_accelerators(arrays=8), st.sampled_from(KINDS), FEATURE_MAPS)
def test_half_of_the_arrays_are_never_faster(
    matrix: LayerMatrix, vectors: int, accelerator: Accelerator, kind: str, feature_maps: FeatureMaps
) -> None:
    assume(accelerator.arrays > 1)
    gemm = gemm_of(matrix, vectors, 1, feature_maps)
    passes = passes_of(matrix, kind, gemm, accelerator)
    half = schedule_layer(passes, gemm, replace(accelerator, arrays=accelerator.arrays // 2))
    assert schedule_layer(passes, gemm, accelerator).total <= half.total


def test_half_of_the_arrays_are_used_where_all_would_stall() -> None:
    # 3 passes of 4 words at a word a cycle: 4 cycles to load on one array, 8 where two share, 12 where three do
    gemm, accelerator = (
        GemmWorkload(2, 6, 1, 1),
        Accelerator(ArrayShape(2, 2), weights=BufferPort(words_per_cycle=1)),
    )
    passes = dense_passes("ws", gemm, accelerator.array)
    found = [schedule_layer(passes, gemm, replace(accelerator, arrays=arrays)) for arrays in (1, 2, 3, 4, 5)]
    # two arrays would take 2 x (8 + 3), the second being idle half the time
    assert [(schedule.arrays, schedule.total) for schedule in found] == [
        (1, 3 * 7),
        (1, 3 * 7),
        (3, 15),
        (4, 15),
        (5, 15),
    ]
    # a single pass is as fast on one of four arrays as on the only one; then none is taken away
    one = dense_passes("ws", GemmWorkload(2, 2, 1, 1), accelerator.array)
    assert schedule_layer(one, GemmWorkload(2, 2, 1, 1), replace(accelerator, arrays=4)).arrays == 4


@pytest.mark.parametrize(("words", "replicate", "total"), [(1, True, 5), (0.7, False, 6), (0.5, False, 6)])
def test_tiles_are_replicated_only_where_that_gains(words: float, replicate: bool, total: int) -> None:
    # two vectors, one weight: a single tile takes 2 + 2 + 2 cycles, two take 2 + 1 + 2 but load two words
    gemm, accelerator = (
        GemmWorkload(1, 1, 1, 2),
        Accelerator(ArrayShape(2, 2), replicate_tiles=True, weights=BufferPort(words_per_cycle=words)),
    )
    schedule = schedule_layer(dense_passes("ws", gemm, accelerator.array), gemm, accelerator)
    assert (schedule.replicate_tiles, schedule.total) == (replicate, total)


@pytest.mark.parametrize(("dram", "temporal_tiles", "total"), [(1.82, 1, 179), (1.8, 2, 180), (1.7, 2, 180)])
def test_of_schedules_that_take_as_long_the_one_with_less_traffic_is_taken(
    dram: float, temporal_tiles: int, total: int
) -> None:
    # 6 passes for 10 vectors: in one temporal tile 6 x 20 cycles, the map of 60 bytes is read three times; in two
    # 6 x 30 cycles, it is read once, and there are 54 bytes of weights and 90 of outputs
    gemm = GemmWorkload(9, 6, 1, 10, 2, FeatureMaps(60, 90))
    accelerator = Accelerator(ArrayShape(4, 4), activations=BufferPort(usable=59), dram_bytes_per_cycle=dram)
    passes = dense_passes("ws", gemm, accelerator.array)
    one, two = (schedule_of(passes, gemm, accelerator, count) for count in (1, 2))
    assert (one.cycles.total, one.traffic.total) == (120, 180 + 54 + 90)
    assert (two.cycles.total, two.traffic.total) == (180, 60 + 54 + 90)
    schedule = schedule_layer(passes, gemm, accelerator)
    assert (schedule.temporal_tiles, schedule.total) == (temporal_tiles, total)


MISSED = 1.15  # what a schedule may take beyond the best, since not every number of temporal tiles is tried


@settings(max_examples=100)
@given(layers(), st.integers(1, 30), constrained_accelerators(), st.sampled_from(KINDS), FEATURE_MAPS)
def test_ideal_hardware_is_never_slower(
    matrix: LayerMatrix, vectors: int, accelerator: Accelerator, kind: str, feature_maps: FeatureMaps
) -> None:
    gemm = gemm_of(matrix, vectors, 1, feature_maps)
    passes = passes_of(matrix, kind, gemm, accelerator)
    ideal = replace(
        accelerator,
        activations=BufferPort(),
        weights=BufferPort(),
        sums=BufferPort(),
        dram_bytes_per_cycle=None,
    )
    most = 1 if kind == "os" else passes.steps
    fastest = min(layer_cycles(passes, ideal, temporal_tiles).total for temporal_tiles in range(1, most + 1))
    assert fastest <= schedule_layer(passes, gemm, accelerator).total


@settings(max_examples=60)
@given(layers(), st.integers(1, 30), accelerators(), st.sampled_from(DATAFLOWS))
def test_another_array_never_costs_more_where_buffers_keep_up(
    matrix: LayerMatrix, vectors: int, accelerator: Accelerator, dataflow: str
) -> None:
    gemm = gemm_of(matrix, vectors)
    passes = dense_passes(dataflow, gemm, accelerator.array)
    accelerator = replace(accelerator, activations=BufferPort(), weights=BufferPort(), sums=BufferPort())
    more = replace(accelerator, arrays=accelerator.arrays + 1)
    assert schedule_layer(passes, gemm, more).total <= schedule_layer(passes, gemm, accelerator).total


MORE = {
    "activation words": lambda accelerator: {
        "activations": replace(
            accelerator.activations, words_per_cycle=accelerator.activations.words_per_cycle * 1.7
        )
    },
    "weight words": lambda accelerator: {
        "weights": replace(accelerator.weights, words_per_cycle=accelerator.weights.words_per_cycle * 1.7)
    },
    "sum words": lambda accelerator: {
        "sums": replace(accelerator.sums, words_per_cycle=accelerator.sums.words_per_cycle * 1.7)
    },
    "DRAM": lambda accelerator: {
        "dram_bytes_per_cycle": accelerator.dram_bytes_per_cycle and accelerator.dram_bytes_per_cycle * 1.7
    },
    "prefetch": lambda accelerator: {"prefetch": True},
    "double buffers": lambda accelerator: {
        name: replace(getattr(accelerator, name), double_buffered=True)
        for name in ("activations", "weights", "sums")
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
@given(layers(), st.integers(1, 30), constrained_accelerators(), st.sampled_from(KINDS), FEATURE_MAPS)
@pytest.mark.parametrize("what", MORE)
def test_more_never_costs_more(
    what: str,
    matrix: LayerMatrix,
    vectors: int,
    accelerator: Accelerator,
    kind: str,
    feature_maps: FeatureMaps,
) -> None:
    gemm = gemm_of(matrix, vectors, 1, feature_maps)
    passes = passes_of(matrix, kind, gemm, accelerator)
    more = replace(accelerator, **MORE[what](accelerator))
    assert schedule_layer(passes, gemm, more).total <= schedule_layer(passes, gemm, accelerator).total


@settings(max_examples=50)
@given(layers(), st.integers(1, 30), constrained_accelerators(arrays=1), st.sampled_from(KINDS), FEATURE_MAPS)
@pytest.mark.parametrize("what", LARGER)
def test_larger_buffers_never_cost_more(
    what: str,
    matrix: LayerMatrix,
    vectors: int,
    accelerator: Accelerator,
    kind: str,
    feature_maps: FeatureMaps,
) -> None:
    gemm = gemm_of(matrix, vectors, 1, feature_maps)
    passes = passes_of(matrix, kind, gemm, accelerator)
    larger = replace(accelerator, **LARGER[what](accelerator))
    schedule, other = schedule_layer(passes, gemm, accelerator), schedule_layer(passes, gemm, larger)
    assert other.total <= schedule.total
    assert schedule_of(passes, gemm, larger, schedule.temporal_tiles).traffic.total <= schedule.traffic.total
