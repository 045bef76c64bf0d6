"""Closed forms of cycles by hand, against SCALE-Sim's, and against the stepped array, stalls one by one."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from helpers.accelerators import (
    DATAFLOWS,
    accelerators,
    accelerators_with_modes,
    gemm_of,
    layers,
    machine,
    packed,
    tile_passes,
    tiles_of,
    vectors_for,
)
from helpers.methods import METHODS
from helpers.packings import arrays
from tightc.accelerator.accelerator import Accelerator, BufferPort
from tightc.cost_model.cycles import Cycles, _transfer_cycles, layer_cycles
from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.memory import schedule_layer
from tightc.cost_model.passes import Passes, dense_passes, packed_passes
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix

FREE = BufferPort()


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("layer", oracle.SCALE_SIM)
def test_the_nine_figures_of_scale_sim(layer: tuple[int, int, int, int], dataflow: str) -> None:
    side, kernel, channels, filters = layer
    gemm = GemmWorkload(filters, channels * kernel**2, 1, (side - kernel + 1) ** 2)
    accelerator = Accelerator(ArrayShape(32, 32))
    passes = dense_passes(dataflow, gemm, accelerator.array)
    expected = oracle.SCALE_SIM[layer][dataflow]
    assert layer_cycles(passes, accelerator) == Cycles(expected)
    assert oracle.dense_cycles(dataflow, 32, 32, gemm.filters, gemm.inputs, gemm.vectors) == expected
    assert (
        schedule_layer(passes, gemm, accelerator).temporal_tiles,
        schedule_layer(passes, gemm, accelerator).total,
    ) == (
        1,
        expected,
    )


@settings(max_examples=100)
@given(arrays(), *(st.integers(1, 90) for _ in range(3)), st.sampled_from(DATAFLOWS))
def test_ideal_hardware_takes_as_long_as_scale_sim_says(
    array: ArrayShape, filters: int, inputs: int, vectors: int, dataflow: str
) -> None:
    passes = dense_passes(dataflow, GemmWorkload(filters, inputs, 1, vectors), array)
    expected = oracle.dense_cycles(dataflow, *array, filters, inputs, vectors)
    assert layer_cycles(passes, Accelerator(array)) == Cycles(expected)


def test_a_depthwise_layer_shares_passes() -> None:
    # 8 groups of 9 inputs x 1 filter, 3 groups to a pass of 27 rows and 3 columns
    passes = dense_passes("ws", GemmWorkload(1, 9, 8, 100, 9), ArrayShape(32, 32))
    assert passes.loaded_words.tolist() == [27, 27, 18]
    assert passes.macs.tolist() == [27, 27, 18]
    assert layer_cycles(passes, Accelerator(ArrayShape(32, 32))) == Cycles(3 * (32 + 100 + 62))


def test_a_layer_without_passes_takes_no_time() -> None:
    packing = packed(LayerMatrix(np.zeros((3, 4), np.float32)), "tight", ArrayShape(4, 4), 2)
    passes = packed_passes(packing, GemmWorkload(3, 4, 1, 7))
    assert len(passes) == 0
    assert layer_cycles(passes, Accelerator(ArrayShape(4, 4), arrays=3, prefetch=True), 2) == Cycles()


# two passes of 4x4 words and of 2x4 on a 4x4 array, 10 steps
HAND = dense_passes("ws", GemmWorkload(4, 6, 1, 10), ArrayShape(4, 4))


def accelerator_4x4(arrays: int = 1, prefetch: bool = False, **words: float) -> Accelerator:
    buffers = {
        name: BufferPort(words_per_cycle=words.get(name, float("inf")))
        for name in ("activations", "weights", "sums")
    }
    return Accelerator(ArrayShape(4, 4), arrays=arrays, prefetch=prefetch, **buffers)


@pytest.mark.parametrize(
    ("accelerator", "temporal_tiles", "expected"),
    [
        (accelerator_4x4(), 1, Cycles(2 * (4 + 10 + 6))),
        (accelerator_4x4(), 3, Cycles(6 * (4 + 6) + 2 * 10)),  # loads and drains three times
        (accelerator_4x4(arrays=2), 1, Cycles(20)),
        (accelerator_4x4(arrays=3), 1, Cycles(20)),  # one idles
        (
            accelerator_4x4(arrays=3),
            3,
            Cycles(2 * (4 + 6) + 4 + 3),
        ),  # temporal tiles of 4, 3 and 3: the first array has 4 and 3
        (accelerator_4x4(arrays=4), 2, Cycles(4 + 5 + 6)),
        (accelerator_4x4(prefetch=True), 1, Cycles(4 + 16 + 16)),
        # 16 and 8 words at 2 a cycle: 8 and 4 cycles, not below 4
        (accelerator_4x4(weights=2), 1, Cycles(40, weight_stalls=4)),
        (accelerator_4x4(weights=0.5), 1, Cycles(40, weight_stalls=28 + 12)),
        # prefetch: 32 exposed for the first, 16 for the second overlapping 16 of the first pass
        (accelerator_4x4(weights=0.5, prefetch=True), 1, Cycles(36, weight_stalls=28)),
        (accelerator_4x4(weights=0.25, prefetch=True), 1, Cycles(36, weight_stalls=60 + 16)),
        # 40 and 20 words at 2.5 a cycle: 16 and 10 cycles
        (accelerator_4x4(activations=2.5), 1, Cycles(40, activation_stalls=6)),
        # sums: 4 written, then 4 read and 4 written: 40 and 80 words at 3 a cycle: 14 and 27
        (accelerator_4x4(sums=3), 1, Cycles(40, sum_stalls=4 + 17)),
        # 16 instead of 14 cycles for the first; in the second sums take longer and cover the activation stalls
        (accelerator_4x4(sums=3, activations=2.6), 1, Cycles(40, activation_stalls=2, sum_stalls=4 + 17)),
        # two arrays share a buffer's bandwidth
        (accelerator_4x4(arrays=2, weights=2), 1, Cycles(20, weight_stalls=12)),
        (accelerator_4x4(arrays=5, weights=2), 1, Cycles(20, weight_stalls=12)),  # two of five have work
    ],
)
def test_cycles_by_hand(accelerator: Accelerator, temporal_tiles: int, expected: Cycles) -> None:
    assert layer_cycles(HAND, accelerator, temporal_tiles) == expected


def test_sums_that_stayed_take_time_to_leave() -> None:
    passes = dense_passes(
        "os", GemmWorkload(4, 2, 1, 6), ArrayShape(4, 4)
    )  # 16 and 8 sums; 2 + 6 cycles a pass
    assert layer_cycles(passes, accelerator_4x4()) == Cycles(16)
    assert layer_cycles(passes, accelerator_4x4(sums=2)) == Cycles(16)
    assert layer_cycles(passes, accelerator_4x4(sums=1)) == Cycles(16, sum_stalls=8)
    # nothing is loaded; two steps of 4 and 4 words from above, of 4 and 2 from the left
    assert layer_cycles(passes, accelerator_4x4(weights=0.5)) == Cycles(16, weight_stalls=14 + 14)
    assert layer_cycles(passes, accelerator_4x4(activations=0.5)) == Cycles(16, activation_stalls=14 + 6)


def test_replicas_divide_the_steps() -> None:
    # 3 tiles of 2 x 1 on 4x5: two replicas; 11 vectors are 6 and 5
    passes = dense_passes("ws", GemmWorkload(1, 6, 1, 11), ArrayShape(2, 5))
    replicated = Accelerator(ArrayShape(4, 5), replicate_tiles=True)
    assert layer_cycles(passes, replace(replicated, replicate_tiles=False)) == Cycles(3 * (4 + 11 + 7))
    assert layer_cycles(passes, replicated) == Cycles(3 * (4 + 6 + 7))
    # both replicas are loaded, 4 words at 0.5 a cycle, and both are fed, even without a step left: 6 x 4 words
    assert layer_cycles(passes, replace(replicated, weights=BufferPort(words_per_cycle=0.5))) == Cycles(
        51, weight_stalls=3 * 4
    )
    assert layer_cycles(passes, replace(replicated, activations=BufferPort(words_per_cycle=2))) == (
        Cycles(51, activation_stalls=3 * 6)
    )
    # temporal tiles of 2 steps and less: a replica for each
    assert layer_cycles(passes, replicated, 6) == Cycles(5 * 3 * (4 + 2 + 7) + 3 * (4 + 1 + 7))
    assert layer_cycles(passes, replicated, 5) == Cycles(15 * (4 + 1 + 7) + 3 * 1)
    assert layer_cycles(dense_passes("os", GemmWorkload(1, 6, 1, 2), ArrayShape(4, 5)), replicated) == Cycles(
        6 + 7
    )


def test_a_share_of_a_word_does_not_round_up() -> None:
    passes = dense_passes("ws", GemmWorkload(1, 1, 1, 3), ArrayShape(1, 1))
    assert (
        layer_cycles(passes, Accelerator(ArrayShape(1, 1), activations=BufferPort(words_per_cycle=0.3))).total
        == 1 + 10
    )
    assert (
        layer_cycles(passes, Accelerator(ArrayShape(1, 1), weights=BufferPort(words_per_cycle=0.1))).total
        == 10 + 3
    )


def without(accelerator: Accelerator, *names: str) -> Accelerator:
    return replace(accelerator, **dict.fromkeys(names, FREE))


def stepped_stalls(run, accelerator: Accelerator, dataflow: str) -> Cycles:
    """The stalls of each buffer on the stepped array, removed one after the other."""
    kinds = ("activations", "weights", "sums")
    times = [run(machine(without(accelerator, *kinds[:n]), dataflow)).cycles for n in range(4)]
    return Cycles(times[3], *(slower - faster for slower, faster in pairwise(times)))


@settings(max_examples=60)
@given(layers(), st.integers(1, 5), accelerators(), st.sampled_from(DATAFLOWS), st.integers(1, 3))
def test_stalls_of_dense_layers_are_those_of_the_stepped_array(
    matrix: LayerMatrix, count: int, accelerator: Accelerator, dataflow: str, temporal_tiles: int
) -> None:
    temporal_tiles = min(temporal_tiles, {"ws": count, "is": matrix.filters_per_group, "os": 1}[dataflow])
    vectors = vectors_for(matrix, count)
    passes = dense_passes(dataflow, gemm_of(matrix, count), accelerator.array)
    assert layer_cycles(passes, accelerator, temporal_tiles) == stepped_stalls(
        lambda where: oracle.run_dense(
            dataflow, matrix.values, matrix.groups, vectors, where, temporal_tiles
        ),
        accelerator,
        dataflow,
    )


@settings(max_examples=60)
@given(layers(), st.integers(1, 5), accelerators(), st.sampled_from(METHODS), st.integers(1, 3))
def test_stalls_of_packings_are_those_of_the_stepped_array(
    matrix: LayerMatrix, count: int, accelerator: Accelerator, method: str, temporal_tiles: int
) -> None:
    temporal_tiles = min(temporal_tiles, count)
    packing = packed(matrix, method, accelerator.array, 3)
    tiles, vectors = tiles_of(packing), vectors_for(matrix, count)
    passes = tile_passes(packing, gemm_of(matrix, count))
    assert layer_cycles(passes, accelerator, temporal_tiles) == stepped_stalls(
        lambda where: oracle.run_packing(tiles, matrix.values, matrix.groups, vectors, where, temporal_tiles),
        accelerator,
        "ws",
    )


@settings(max_examples=60)
@given(layers(), st.integers(1, 5), accelerators_with_modes(), st.sampled_from(METHODS), st.integers(1, 3))
def test_stalls_in_any_mode_are_those_of_the_stepped_array(
    matrix: LayerMatrix, count: int, accelerator: Accelerator, method: str, temporal_tiles: int
) -> None:
    temporal_tiles = min(temporal_tiles, count)
    packing = packed(matrix, method, accelerator.array, 3)
    tiles, vectors = tiles_of(packing), vectors_for(matrix, count)
    passes = tile_passes(packing, gemm_of(matrix, count))
    assert layer_cycles(passes, accelerator, temporal_tiles) == stepped_stalls(
        lambda where: oracle.run_packing(tiles, matrix.values, matrix.groups, vectors, where, temporal_tiles),
        accelerator,
        "ws",
    )


def some_passes(matrix: LayerMatrix, method: str, accelerator: Accelerator, count: int) -> Passes:
    """A dense layer of that dataflow, or a packing of that method."""
    gemm = gemm_of(matrix, count)
    if method in DATAFLOWS:
        return dense_passes(method, gemm, accelerator.array)
    return tile_passes(packed(matrix, method, accelerator.array, 3), gemm)


@settings(max_examples=150)
@given(
    layers(), st.integers(1, 40), accelerators(), st.sampled_from([*DATAFLOWS, "tight"]), st.integers(1, 6)
)
def test_no_buffer_makes_it_faster_and_none_that_is_faster_slower(
    matrix: LayerMatrix, count: int, accelerator: Accelerator, method: str, temporal_tiles: int
) -> None:
    passes = some_passes(matrix, method, accelerator, count)
    temporal_tiles = 1 if method == "os" else min(temporal_tiles, passes.steps)
    found = layer_cycles(passes, accelerator, temporal_tiles)
    assert min(found.activation_stalls, found.weight_stalls, found.sum_stalls) >= 0
    ideal = layer_cycles(passes, without(accelerator, "activations", "weights", "sums"), temporal_tiles)
    assert ideal == Cycles(found.compute)
    for name in ("activations", "weights", "sums"):
        faster = replace(
            accelerator,
            **{name: BufferPort(words_per_cycle=getattr(accelerator, name).words_per_cycle * 1.5)},
        )
        assert layer_cycles(passes, faster, temporal_tiles).total <= found.total
    assert layer_cycles(passes, replace(accelerator, prefetch=True), temporal_tiles).total <= (
        layer_cycles(passes, replace(accelerator, prefetch=False), temporal_tiles).total
    )


def test_words_at_a_rate_in_tenths_take_no_cycle_too_many() -> None:
    words = np.arange(1, 200)
    for tenths in range(1, 40):  # 21 / 0.7 is 30.000000000000004 in binary
        expected = [-(-10 * count // tenths) for count in words.tolist()]
        assert _transfer_cycles(words, tenths / 10).tolist() == expected
