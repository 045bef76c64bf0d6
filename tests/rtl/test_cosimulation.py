"""Packings of all methods, and random ones, on arrays of all forms, through the testbench in Icarus."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tightc
from helpers.loading import loaded
from helpers.methods import METHODS
from helpers.packings import QUICK
from helpers.rtl_images import Images, schedule
from helpers.rtl_models import Layer, Weighted, int8, network
from helpers.rtl_runs import icarus, randomly_packed, simulated
from tightc.model.file import Model

pytestmark = icarus

OPTIONS = st.fixed_dictionaries(
    {"accumulator_bypass": st.booleans(), "multiplexer": st.sampled_from(["tree", "one-hot"])}
)
LOADING = st.sampled_from(
    [
        {},
        {"prefetch_weights": True},
        {"prefetch_weights": True, "overlap_drain": True},
        {"prefetch_weights": True, "overlap_drain": True},
    ]
)
UNSIGNED = {"zero_point": np.uint8(120), "out_zero_point": np.uint8(0)}


def check_folder(folder: Path) -> None:
    """The sums, starts and cycles in the images are those that plain loops give."""
    images = Images(folder)
    for number, record in enumerate(images.records):
        np.testing.assert_array_equal(images.sums(number), images.stored("sums.hex", number, 32))
        starts, cycles = schedule(images, number)
        assert (images.starts(number).tolist(), record.cycles) == (starts, cycles)


@st.composite
def layers(draw: st.DrawFn, largest: int) -> Layer:
    """A convolution or a product with weights of at most `largest` in magnitude, of any density."""
    seed, density = draw(st.integers(0, 99)), draw(st.sampled_from([0.1, 0.4, 1.0]))
    filters = draw(st.integers(1, 7))
    given = UNSIGNED if draw(st.booleans()) else {}

    def weight(*shape: int) -> np.ndarray:
        return np.clip(int8(*shape, density=density, seed=seed), -largest, largest)

    if draw(st.booleans()):
        shape, inputs = (draw(st.integers(1, 9)), draw(st.integers(1, 12))), None
        return Layer("Gemm", shape, weight(filters, shape[1]), "<transB = 1>", **given)
    groups = draw(st.sampled_from([1, 1, 2]))
    inputs = draw(st.integers(1, 3))
    shape = (draw(st.integers(1, 2)), groups * inputs, draw(st.integers(3, 5)), draw(st.integers(3, 5)))
    pads = draw(st.lists(st.integers(0, 2), min_size=4, max_size=4))
    strides = draw(st.lists(st.integers(1, 2), min_size=2, max_size=2))
    text = f"<group = {groups}, pads = {pads}, strides = {strides}>"
    return Layer("Conv", shape, weight(groups * filters, inputs, 3, 2), text, **given)


@given(
    array=st.sampled_from([(4, 4), (4, 4), (8, 8), (1, 1), (1, 4), (4, 1), (2, 7), (1, 9), (2, 12)]),
    fan_in=st.integers(1, 5),
    spare=st.sampled_from([0, 0, 1, 4]),
    hops=st.sampled_from([1, 2, 3, 8]),
    loading=LOADING,
    others=OPTIONS,
    seed=st.integers(0, 99),
    drawn=st.data(),
)
@settings(max_examples=30)
def test_any_packing_on_any_array(
    array: tuple[int, int], fan_in: int, spare: int, hops: int, loading: dict[str, bool], others: dict[str, Any],
    seed: int, drawn: st.DataObject,
) -> None:  # fmt: skip
    bits = drawn.draw(st.sampled_from([None, None, 2, 4]))
    layer = drawn.draw(layers(127))
    model = randomly_packed(layer.proto(), array, fan_in, seed, bits)
    options = {**loading, **others, "columns_per_lane_register": hops, "fan_in": fan_in + spare}
    with tempfile.TemporaryDirectory() as name:
        simulated(model, Path(name), **options)
        check_folder(Path(name))


def permuted(method: str, array: str) -> Model:
    """Three layers, the second of groups, permuted by a method."""
    proto = network(
        (2, 3, 6, 5),
        Weighted("Conv", int8(8, 3, 3, 3, density=0.4), "<pads = [1, 1, 1, 1]>"),
        "Relu",
        Weighted("Conv", int8(6, 4, 3, 3, density=0.4), "<group = 2, strides = [2, 2]>"),
        "Relu",
        "Flatten",
        Weighted("Gemm", int8(24, 5, density=0.4), axis=1),
        zero_point=np.uint8(3),
    )
    return tightc.permute(loaded(proto), method=method, array=array, fan_in=8, temp_schedule=QUICK).model


@pytest.mark.parametrize("array", ["4x4", "8x8"])
@pytest.mark.parametrize("method", METHODS)
def test_the_packings_of_every_method(method: str, array: str, tmp_path: Path) -> None:
    model = permuted(method, array)
    found = simulated(model, tmp_path, prefetch_weights=array == "8x8", batch=2)
    check_folder(tmp_path)
    expected = tightc.simulate(model, array=array, prefetch_weights=array == "8x8").layers
    assert [layer.cycles for layer in found] == [layer["cycles"] for layer in expected]


@pytest.mark.parametrize("channels", [6, 3, 2, 1])
@pytest.mark.parametrize("array", ["4x8", "9x2", "16x16"])
def test_a_plain_model_runs_dense(channels: int, array: str, tmp_path: Path) -> None:
    """Groups of 6, 3, 2 channels and 1."""
    weight = Weighted("Conv", int8(6, channels, 3, 3), f"<group = {6 // channels}, pads = [0, 1, 1, 0]>")
    proto = network((1, 6, 5, 4), weight, zero_point=np.uint8(3))
    (found,) = simulated(loaded(proto), tmp_path, array=array)
    check_folder(tmp_path)
    rows, columns = Images(tmp_path).array
    if channels == 6:
        assert Images(tmp_path).records[0].tiles == -(-54 // rows) * -(-6 // columns)
    (expected,) = tightc.simulate(loaded(proto), array=array).layers
    assert found.cycles == expected["cycles"]


@pytest.mark.parametrize("empty", [(0,), (1,), (2,), (0, 1), (0, 1, 2)], ids=str)
@pytest.mark.parametrize(
    "options", [{}, {"prefetch_weights": True, "overlap_drain": True, "accumulator_bypass": True}]
)
def test_layers_without_tiles(empty: tuple[int, ...], options: dict[str, Any], tmp_path: Path) -> None:
    weights = [int8(4, 3), int8(5, 4), int8(3, 5)]
    for number in empty:
        weights[number] = weights[number] * np.int8(0)
    steps = [
        Weighted("Gemm", weight, "<transB = 1>", bias=np.ones(len(weight), np.float32)) for weight in weights
    ]
    found = simulated(
        randomly_packed(network((3, 3), *steps, zero_point=np.int8(0)), (4, 4), 2), tmp_path, **options
    )
    check_folder(tmp_path)
    assert [layer.cycles == 0 for layer in found] == [number in empty for number in range(3)]
