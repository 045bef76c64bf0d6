"""DRAM traffic and stalls, by hand."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from helpers import models
from helpers.accelerators import (
    DATAFLOWS,
    FEATURE_MAPS,
    constrained_accelerators,
    gemm_of,
    layers,
    packed,
    tile_passes,
)
from helpers.packings import packed_layer
from tightc.accelerator.accelerator import Accelerator, BufferPort
from tightc.config.input_sizes import InputSizeOptions
from tightc.cost_model.events import count_events
from tightc.cost_model.gemm import FeatureMaps, GemmWorkload
from tightc.cost_model.memory import Traffic, dram_stalls, dram_traffic, schedule_layer
from tightc.cost_model.passes import dense_passes, packed_passes
from tightc.model.file import load_model_bytes
from tightc.simulation.workload import read_workload
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix


@settings(max_examples=150)
@given(
    layers(),
    st.integers(1, 12),
    constrained_accelerators(),
    st.sampled_from(DATAFLOWS),
    FEATURE_MAPS,
    st.integers(1, 4),
)
def test_every_word_crosses_the_edge_once_at_least(
    matrix: LayerMatrix,
    vectors: int,
    accelerator: Accelerator,
    dataflow: str,
    feature_maps: FeatureMaps,
    temporal_tiles: int,
) -> None:
    accelerator = replace(accelerator, dram_bytes_per_cycle=1.0)
    gemm = gemm_of(matrix, vectors, 1, feature_maps)
    passes = dense_passes(dataflow, gemm, accelerator.array)
    moved = dram_traffic(
        passes, gemm, accelerator, 1 if dataflow == "os" else min(temporal_tiles, passes.steps)
    )
    size, room = accelerator.operand_bytes, accelerator.activations.usable
    assert moved.weight_bytes >= matrix.values.size * size
    half = inf if accelerator.activations.size is None else accelerator.activations.size / 2
    stays_in = (
        accelerator.keeps_feature_maps
        and not feature_maps.from_model_input
        and feature_maps.read * size <= half
    )
    stays_out = (
        accelerator.keeps_feature_maps
        and not feature_maps.to_model_output
        and feature_maps.written * size <= half
    )
    assert moved.activation_bytes == 0 if stays_in else moved.activation_bytes >= feature_maps.read * size
    assert moved.output_bytes == (0 if stays_out else feature_maps.written * size)
    if room == accelerator.weights.usable == inf:
        assert moved.activation_bytes in (0, feature_maps.read * size)
        assert dataflow == "ws" or moved.weight_bytes == matrix.values.size * size
    assert dram_traffic(passes, gemm, replace(accelerator, dram_bytes_per_cycle=None), 1) == Traffic()


# 4 filters x 6 inputs (3 channels of 2), 10 vectors, on 4x4: a pass reads channels 0 and 1, the next channel 2
HAND = GemmWorkload(4, 6, 1, 10, 2, FeatureMaps(60, 40))


@pytest.mark.parametrize(
    ("dataflow", "activations", "weights", "temporal_tiles", "expected"),
    [
        ("ws", inf, inf, 1, Traffic(60, 24, 40)),
        ("ws", 59, 23, 1, Traffic(60, 24, 40)),  # each pass reads its own channels and weights: nothing twice
        ("ws", inf, 23, 3, Traffic(60, 72, 40)),  # every temporal tile fetches the weights
        ("ws", 19, 24, 3, Traffic(60, 24, 40)),
        ("os", inf, inf, 1, Traffic(60, 24, 40)),
        ("os", 59, 23, 1, Traffic(60, 72, 40)),  # three passes, of 4, 4 and 2 vectors, take all weights each
        ("is", inf, inf, 1, Traffic(60, 24, 40)),
        ("is", 59, 23, 1, Traffic(60, 72, 40)),  # 3 x 2 passes; a weight meets the vectors three times
        ("is", 59, inf, 2, Traffic(120, 24, 40)),  # every temporal tile loads all activations
        ("is", 60, inf, 2, Traffic(60, 24, 40)),
    ],
)
def test_traffic_by_hand(
    dataflow: str, activations: float, weights: float, temporal_tiles: int, expected: Traffic
) -> None:
    accelerator = Accelerator(
        ArrayShape(4, 4),
        activations=BufferPort(usable=activations),
        weights=BufferPort(usable=weights),
        dram_bytes_per_cycle=1.0,
    )
    passes = dense_passes(dataflow, HAND, accelerator.array)
    assert dram_traffic(passes, HAND, accelerator, temporal_tiles) == expected
    wide = replace(accelerator, operand_bytes=4, activations=BufferPort(usable=4 * activations))
    wide = replace(wide, weights=BufferPort(usable=4 * weights))
    times = Traffic(4 * expected.activation_bytes, 4 * expected.weight_bytes, 4 * 40)
    assert dram_traffic(passes, HAND, wide, temporal_tiles) == times


def test_a_map_that_does_not_fit_is_fetched_by_every_pass_that_reads_it() -> None:
    gemm = GemmWorkload(9, 6, 1, 10, 2, FeatureMaps(60, 90))  # two passes for each of 4, 4 and 1 filters
    accelerator = Accelerator(ArrayShape(4, 4), activations=BufferPort(usable=59), dram_bytes_per_cycle=1.0)
    passes = dense_passes("ws", gemm, accelerator.array)
    assert passes.map_fraction.tolist() == pytest.approx([2 / 3, 1 / 3] * 3)
    assert dram_traffic(passes, gemm, accelerator, 1).activation_bytes == 180
    # two temporal tiles of 30 bytes fit one at a time
    assert dram_traffic(passes, gemm, accelerator, 2).activation_bytes == 60
    # also where two arrays share one; but with 12 arrays both are there at once
    assert dram_traffic(passes, gemm, replace(accelerator, arrays=2), 2).activation_bytes == 60
    assert dram_traffic(passes, gemm, replace(accelerator, arrays=12), 2).activation_bytes == 180


def test_of_a_map_that_fits_comes_what_any_pass_reads() -> None:
    # 2 filters x 8 inputs, 4 channels of 2, on 2x2: filter 0 reads channels 0 and 1, filter 1 channels 1 and 3
    values = np.zeros((2, 8), np.int32)
    values[0, [0, 1, 2]] = values[1, [2, 6, 7]] = 1
    matrix, accelerator = (
        LayerMatrix(values),
        Accelerator(ArrayShape(2, 2), activations=BufferPort(usable=80), dram_bytes_per_cycle=1.0),
    )
    packing = packed(matrix, "first-fit", accelerator.array, 1)
    gemm = GemmWorkload(2, 8, 1, 10, 2, FeatureMaps(80, 20))
    passes = tile_passes(packing, gemm)
    channels = [{k // 2 for lane in tile["lanes"] for k in lane} for tile in oracle.plain(packing)]
    asked = sum(map(len, channels))
    assert set().union(*channels) == {0, 1, 3} and asked > 4
    assert dram_traffic(passes, gemm, accelerator, 1).activation_bytes == 60
    small = replace(accelerator, activations=BufferPort(usable=79))
    assert dram_traffic(passes, gemm, small, 1).activation_bytes == 20 * asked
    # the dense layer reads all
    assert (
        dram_traffic(dense_passes("ws", gemm, accelerator.array), gemm, accelerator, 1).activation_bytes == 80
    )


def test_fractions_that_add_up_to_the_whole_map_are_not_a_byte_more() -> None:
    # 1 filter x 20 inputs on 1x1: 20 times 1/20 of a map of 20 bytes, which in floats is more than 20
    gemm, accelerator = (
        GemmWorkload(1, 20, 1, 1, 1, FeatureMaps(20, 1)),
        Accelerator(ArrayShape(1, 1), activations=BufferPort(usable=1), dram_bytes_per_cycle=1.0),
    )
    assert (
        dram_traffic(dense_passes("ws", gemm, accelerator.array), gemm, accelerator, 1).activation_bytes == 20
    )


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
    gemm = replace(HAND, feature_maps=FeatureMaps(60, 40, *outside))
    buffer = BufferPort(size=size, usable=usable)
    accelerator = Accelerator(
        ArrayShape(4, 4), activations=buffer, dram_bytes_per_cycle=1.0, keeps_feature_maps=keeps
    )
    moved = dram_traffic(dense_passes("ws", gemm, accelerator.array), gemm, accelerator, 1)
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
def test_dram_stalls_by_hand(
    hidden: tuple[bool, bool, bool], dram: float | None, busy: int, stalls: int
) -> None:
    buffers = dict(
        zip(
            ("activations", "weights", "sums"),
            (BufferPort(double_buffered=own) for own in hidden),
            strict=True,
        )
    )
    accelerator = Accelerator(ArrayShape(4, 4), dram_bytes_per_cycle=dram, **buffers)
    assert dram_stalls(Traffic(10, 20, 30), busy, accelerator) == stalls


@pytest.mark.parametrize(
    ("size", "written", "read"), [(2 * 64, 0, 0), (2 * 64 - 1, 64, 16), (2 * 16, 64, 16)]
)
def test_the_producer_and_the_consumer_of_a_map_agree_whether_it_stays(
    size: int, written: int, read: int
) -> None:
    # 8x8 pixels are written, a pool makes 4x4 of them: both layers agree whether it stays
    text = """net (float[1, 1, 8, 8] x) => (float[1, 1, 4, 4] y) {
        [a] m = Conv(x, v)
        p = MaxPool <kernel_shape=[2, 2], strides=[2, 2]> (m)
        [b] y = Conv(p, w)
    }"""
    weight = np.ones((1, 1, 1, 1), np.float32)
    model = load_model_bytes(models.build(text, v=weight, w=weight).SerializeToString())
    layers = read_workload(model, InputSizeOptions()).layers
    accelerator = Accelerator(ArrayShape(2, 2), activations=BufferPort(size, size), dram_bytes_per_cycle=1.0)
    moved = [
        dram_traffic(dense_passes("ws", layer.gemm, accelerator.array), layer.gemm, accelerator, 1)
        for layer in layers
    ]
    assert (moved[0].activation_bytes, moved[1].output_bytes) == (64, 16)  # the ends of the network
    assert (moved[0].output_bytes, moved[1].activation_bytes) == (written, read)


def test_a_map_with_two_consumers_is_kept_for_both_or_none() -> None:
    text = """net (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) {
        [a] m = Conv(x, v)
        [b] n = Conv(m, v2)
        s = Add(m, n)
        [c] y = Conv(s, v3)
    }"""
    weight = np.ones((2, 2, 1, 1), np.float32)
    model = load_model_bytes(models.build(text, v=weight, v2=weight, v3=weight).SerializeToString())
    feature_maps = [layer.gemm.feature_maps for layer in read_workload(model, InputSizeOptions()).layers]
    assert [(m.from_model_input, m.to_model_output) for m in feature_maps] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    assert [(m.producer_output, m.consumer_input) for m in feature_maps] == [(0, 32), (32, 32), (32, 0)]


def test_wide_multiplexers_cost_as_wide_as_they_are() -> None:
    matrix = LayerMatrix(np.ones((2, 6), np.float32))
    packing = packed_layer(matrix, "tight", ArrayShape(4, 4), 2)
    gemm = GemmWorkload(2, 6, 1, 5)
    for fan_in, levels in ((None, 1), (2, 1), (16, 4)):
        accelerator = Accelerator(ArrayShape(4, 4), fan_in=fan_in)
        passes = packed_passes(packing, gemm)
        assert (
            count_events(
                passes, gemm, accelerator, schedule_layer(passes, gemm, accelerator)
            ).multiplexer_bytes
            == 12 * 5 * levels
        )
        dense = dense_passes("ws", gemm, accelerator.array)
        assert (
            count_events(dense, gemm, accelerator, schedule_layer(dense, gemm, accelerator)).multiplexer_bytes
            == 0
        )


@pytest.mark.parametrize(
    ("decoder", "double_buffered", "stalls"),
    [
        (None, True, 20),  # 60 bytes at 1 byte per cycle, 40 of them hidden
        (1.0, True, 20),  # 30 weights are ready before their bytes have come
        (0.25, True, 80),  # 120 cycles for 30 weights, 40 of them hidden
        (0.25, False, 120),  # nothing hides them; the other 40 bytes take the 40 busy cycles
        (1.5, False, 20),  # bytes take 20 cycles, and so do the weights
        (1.0, False, 30),
    ],
)
def test_a_decoder_works_while_its_stream_comes(
    decoder: float | None, double_buffered: bool, stalls: int
) -> None:
    accelerator = Accelerator(
        ArrayShape(4, 4),
        weights=BufferPort(double_buffered=double_buffered),
        dram_bytes_per_cycle=1.0,
        decoder=decoder,
    )
    assert dram_stalls(Traffic(10, 20, 30, decoded_weights=30), 40, accelerator) == stalls


@pytest.mark.parametrize(
    ("usable", "temporal_tiles", "fetches"), [(inf, 1, 1), (inf, 3, 1), (1, 1, 1), (1, 3, 3)]
)
def test_a_stream_moves_its_own_bytes(usable: float, temporal_tiles: int, fetches: int) -> None:
    matrix = LayerMatrix(np.eye(6, dtype=np.int32))
    accelerator = Accelerator(ArrayShape(4, 4), weights=BufferPort(usable=usable), dram_bytes_per_cycle=1.0)
    gemm = GemmWorkload(6, 6, 1, 10, 6, FeatureMaps(60, 60))
    passes = tile_passes(packed(matrix, "first-fit", accelerator.array, 1), gemm)
    streamed = replace(passes, stream_bytes=7)
    traffic = dram_traffic(streamed, gemm, accelerator, temporal_tiles)
    assert (traffic.weight_bytes, traffic.decoded_weights) == (7 * fetches, 6 * fetches)
    plain = dram_traffic(passes, gemm, accelerator, temporal_tiles)
    assert (plain.activation_bytes, plain.output_bytes, plain.decoded_weights) == (
        traffic.activation_bytes,
        traffic.output_bytes,
        0,
    )
