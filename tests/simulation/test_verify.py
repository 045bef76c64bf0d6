"""Verify: the cycle engine on real layers of every form, against onnxruntime and the closed form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from helpers import models
from helpers.layer_forms import FORMS, mobile_block
from helpers.loading import loaded
from helpers.methods import METHODS
from helpers.verifying import ARRAY, permuted, verified
from tightc.accelerator.hardware import Hardware
from tightc.config.yaml import read_options
from tightc.errors import DataError, ModelError
from tightc.packing.pack import pack
from tightc.permutation.pattern import Pattern
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape

HARDWARE = Path(__file__).parents[2] / "configs" / "hardware"


@pytest.mark.parametrize("dataflow", ["ws", "os", "is"])
@pytest.mark.parametrize("form", FORMS)
def test_dense_layers_of_every_form(form: str, dataflow: str) -> None:
    verified(loaded(FORMS[form]()), array=ArrayShape(5, 4), dataflow=dataflow)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("form", FORMS)
def test_permuted_layers_of_every_form(form: str, method: str) -> None:
    model = permuted(loaded(FORMS[form]()), method)
    one, other = verified(model), verified(pack(model)[0])
    assert one.layers == other.layers


@pytest.mark.parametrize("form", FORMS)
def test_several_arrays_that_prefetch_and_replicate_tiles(form: str) -> None:
    model = loaded(FORMS[form]())
    options = {"arrays": 3, "prefetch_weights": True, "replicate_tiles": True, "batch": None}
    for dataflow in ("ws", "os", "is"):
        verified(model, array=ArrayShape(9, 8), dataflow=dataflow, **options)
    verified(permuted(model, array=ArrayShape(16, 16)), **options)


@pytest.mark.parametrize("batch", [1, 3])
def test_images_of_a_batch(batch: int) -> None:
    verified(loaded(models.cnn()), array=ARRAY, batch=batch)
    verified(loaded(mobile_block()), array=ARRAY, batch=batch)


@pytest.mark.parametrize("name", sorted(path.stem for path in HARDWARE.glob("*.yaml")))
def test_on_the_hardware_that_comes_along(name: str) -> None:
    hardware = read_options(HARDWARE / f"{name}.yaml", Hardware)
    for proto in (models.cnn(), mobile_block()):
        for dataflow in ("ws", "os", "is"):
            verified(loaded(proto), hardware=hardware, dataflow=dataflow)
        fan_in = {"fan_in": hardware.fan_in, "array": hardware.array, "pattern": Pattern(1, 2)}
        model = permuted(loaded(proto), **fan_in)
        for replicate in (False, True):
            verified(model, hardware=hardware, replicate_tiles=replicate)


SLOW = {
    "name": "slow",
    "array": "8x4",
    "arrays": 3,
    "fan_in": 4,
    "operands": "int8",
    "clock": "100 MHz",
    "prefetch_weights": True,
    "replicate_tiles": True,
    "activation_buffer": {"size": "64 B", "bandwidth": "1.5 words/cycle", "double_buffered": True},
    "weight_buffer": {"size": "64 B", "bandwidth": "3 words/cycle", "double_buffered": True},
    "partial_sum_buffer": {"size": "32 B", "bandwidth": "0.7 words/cycle", "double_buffered": False},
    "dram": {"bandwidth": "20 MB/s", "keep_feature_maps": True},
}


@pytest.mark.parametrize("changes", [{}, {"arrays": 1}, {"prefetch_weights": False}, {"operands": "fp32"}])
@pytest.mark.parametrize("form", ["cnn", "grouped", "MobileNet", "shared weight", "gemm transB"])
def test_on_buffers_that_stall_and_are_small(form: str, changes: dict[str, object]) -> None:
    larger = {"size": "256 B"} if changes.get("operands") == "fp32" else {}
    buffers = {name: {**SLOW[name], **larger} for name in ("activation_buffer", "weight_buffer")}
    hardware = Hardware.model_validate({**SLOW, **buffers, **changes})
    model = loaded(FORMS[form]())
    report = verified(permuted(model), hardware=hardware)
    assert report.totals["stall_cycles"] > 0
    if form != "gemm transB":  # of a single vector
        assert report.totals["activation_stall_cycles"] > 0 and report.totals["sum_stall_cycles"] > 0
    for dataflow in ("ws", "os", "is"):
        verified(model, hardware=hardware, dataflow=dataflow)


MODES = {
    "columns_per_lane_register": 3,
    "prefetch_weights": True,
    "overlap_drain": True,
    "accumulator_bypass": True,
}


@pytest.mark.parametrize("form", FORMS)
def test_arrays_that_share_lane_registers_overlap_and_bypass(form: str) -> None:
    model = loaded(FORMS[form]())
    slow = Hardware.model_validate({**SLOW, **MODES})
    for options in ({"hardware": slow}, {"array": ArrayShape(8, 4), **MODES}):
        verified(permuted(model), **options)
        verified(model, **options)
        verified(model, dataflow="is", **options)
        verified(model, dataflow="os", **{**options, "overlap_drain": False})


@pytest.mark.parametrize("modes", [{}, MODES], ids=["plain", "modes"])
def test_sums_of_a_transposed_convolution_overlap_behind_the_array(modes: dict[str, object]) -> None:
    hardware = Hardware.model_validate({**SLOW, "arrays": 1, **modes})
    model = loaded(models.transposed())
    for dataflow in ("ws", "is"):
        plain, bypassing = (
            verified(model, hardware=hardware, dataflow=dataflow, accumulator_bypass=bypass).layers
            for bypass in (False, True)
        )
        # the Conv stores fewer sums, the ConvTranspose as many
        assert plain[0]["sum_stall_cycles"] > bypassing[0]["sum_stall_cycles"]
        assert plain[1]["sum_stall_cycles"] == bypassing[1]["sum_stall_cycles"] > 0


# --- other weights and networks


@pytest.mark.parametrize("form", ["cnn", "matmul right", "gemm", "depthwise"])
def test_float16(form: str) -> None:
    simulate(loaded(models.FORMS[form](dtype="float16")), SimulateOptions(array=ARRAY, verify=True))


@pytest.mark.parametrize("form", ["gemm", "gemm transB", "gemm without bias", "matmul right", "matmul left"])
def test_float64(form: str) -> None:
    model = loaded(models.FORMS[form](dtype="float64"))
    for dataflow in ("ws", "os", "is"):
        verified(model, array=ARRAY, dataflow=dataflow)
    verified(permuted(model))


def test_what_onnxruntime_does_not_run_is_refused() -> None:
    with pytest.raises(
        ModelError, match=r"^net.onnx: onnxruntime cannot load it \(Could not find an implementation"
    ):
        simulate(loaded(models.depthwise(dtype="float64")), SimulateOptions(array=ARRAY, verify=True))


@pytest.mark.parametrize(
    ("form", "layers"), [("attention", 1), ("transposed", 2), ("with_lstm", 1), ("quantized", 2)]
)
def test_layers_behind_and_before_what_is_not_covered(form: str, layers: int) -> None:
    verified(loaded(getattr(models, form)()), layers, array=ARRAY)


def test_a_layer_of_nothing_but_zeros() -> None:
    model = loaded(models.empty_layer())
    assert [row["engine_cycles"] > 0 for row in verified(model, array=ARRAY).layers] == [True, True]
    assert [row["engine_cycles"] > 0 for row in verified(permuted(model)).layers] == [False, True]


@pytest.mark.parametrize("seed", range(3))
def test_other_random_inputs(seed: int) -> None:
    model = loaded(models.cnn())
    errors = [
        [
            row["value_error"]
            for row in simulate(model, SimulateOptions(array=ARRAY, verify=True), seed=s).layers
        ]
        for s in (seed, seed, seed + 1)
    ]
    assert errors[0] == errors[1] != errors[2]


def identity_bias() -> onnx.ModelProto:
    return models.build(
        """net (float[1, 3, 6, 6] x) => (float[1, 4, 4, 4] y) {
            again = Identity(b)
            [c] y = Conv(x, w, again)
        }""",
        w=models.sparse(4, 3, 3, 3),
        b=np.linspace(1, 2, 4, dtype=np.float32),
    )


def addend_from_outside() -> onnx.ModelProto:
    return models.build(
        "net (float[2, 9] x, float[2, 5] c) => (float[2, 5] y) { [g] y = Gemm(x, w, c) }",
        w=models.sparse(9, 5),
    )


def root_before() -> onnx.ModelProto:
    text = "net (float[1, 9] x) => (float[1, 5] y) { r = Sqrt(x)\n [m] y = MatMul(r, w) }"
    return models.build(text, w=models.sparse(9, 5))


@pytest.mark.parametrize("make", [identity_bias, addend_from_outside])
def test_a_bias_that_is_computed(make: Callable[[], onnx.ModelProto]) -> None:
    verified(loaded(make()), array=ARRAY)


def test_a_model_that_gives_no_numbers_is_not_a_fault_of_tightc() -> None:
    with pytest.raises(
        DataError,
        match="expected finite inputs and outputs in onnxruntime, got inf or nan; give other --inputs",
    ):
        verified(loaded(root_before()), array=ARRAY)
