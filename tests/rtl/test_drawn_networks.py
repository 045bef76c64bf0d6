"""Drawn networks of convolutions and pools, each layer reading the one before, through the testbench in Icarus."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx.shape_inference import InferenceError

from helpers.rtl_images import Images, schedule
from helpers.rtl_models import Weighted, int8, network
from helpers.rtl_runs import icarus, randomly_packed, write
from tightc.rtl.cosimulation import simulate_folder

PAIR = st.lists(st.integers(1, 2), min_size=2, max_size=2)
ZERO_POINTS = [np.uint8(0), np.uint8(77), np.int8(0), np.int8(-20)]
OPTIONS = st.fixed_dictionaries(
    {
        "prefetch_weights": st.just(True),
        "overlap_drain": st.booleans(),
        "accumulator_bypass": st.booleans(),
        "columns_per_lane_register": st.integers(1, 4),
    }
)


def convolution(draw: st.DrawFn, channels: int) -> Weighted:
    """Ordinary or depthwise."""
    groups = channels if draw(st.integers(0, 3)) == 0 else 1
    filters = groups * draw(st.integers(1, 2)) if groups > 1 else draw(st.integers(1, 6))
    kernel, density = (
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        draw(st.sampled_from([0.2, 0.6, 1.0])),
    )
    weight = int8(filters, channels // groups, *kernel, density=density, seed=draw(st.integers(0, 99)))
    pads = draw(st.lists(st.integers(0, 2), min_size=4, max_size=4))
    text = f"<group = {groups}, pads = {pads}, strides = {draw(PAIR)}, dilations = {draw(PAIR)}>"
    bias = np.linspace(-1, 1, filters, dtype=np.float32) if draw(st.booleans()) else None
    return Weighted("Conv", weight, text, bias=bias)


def pool(draw: st.DrawFn) -> str:
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    pads = [draw(st.integers(0, side - 1)) for side in (*kernel, *kernel)]
    kind = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    return f"{kind}<kernel_shape = {list(kernel)}, strides = {draw(PAIR)}, pads = {pads}>"


@st.composite
def networks(draw: st.DrawFn) -> onnx.ModelProto:
    channels = draw(st.integers(1, 4))
    shape = (draw(st.integers(1, 2)), channels, draw(st.integers(4, 8)), draw(st.integers(4, 8)))
    steps: list[Weighted | str] = []
    for _ in range(draw(st.integers(1, 3))):
        steps.append(layer := convolution(draw, channels))
        channels = len(layer.weight)
        steps += ["Relu"] * draw(st.booleans())
        steps += [pool(draw)] * draw(st.booleans())
    try:
        proto = network(shape, *steps, zero_point=draw(st.sampled_from(ZERO_POINTS)), scale=0.0371)
    except InferenceError:  # a window larger than its map
        assume(False)
    values = [*proto.graph.value_info, *proto.graph.output]
    assume(all(side.dim_value > 0 for value in values for side in value.type.tensor_type.shape.dim))
    return proto


@icarus
@given(
    proto=networks(),
    array=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    fan_in=st.integers(1, 4),
    bits=st.sampled_from([None, None, 4, 2]),
    options=OPTIONS,
)
@settings(max_examples=12)
def test_any_network(
    proto: onnx.ModelProto, array: tuple[int, int], fan_in: int, bits: int | None, options: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(randomly_packed(proto, array, fan_in, subword_bits=bits), folder, **options)
        simulate_folder(folder, "icarus", chain=True)
        images = Images(folder)
        for number, record in enumerate(images.records):
            np.testing.assert_array_equal(images.sums(number), images.stored("sums.hex", number, 32))
            assert (images.starts(number).tolist(), record.cycles) == schedule(images, number)
