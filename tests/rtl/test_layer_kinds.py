"""Every kind of layer, with random packings, through the testbench in Icarus."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from helpers.rtl_images import Images
from helpers.rtl_models import Layer, graph, int8
from helpers.rtl_runs import icarus, randomly_packed, simulated
from helpers.weight_forms import WEIGHT_FORMS

pytestmark = icarus

RNG = np.random.default_rng(5)
BIAS = RNG.normal(size=6).astype(np.float32)
NORM = {
    "gamma": np.array([1.5, -0.7, 0.3, -2, 1, 0], np.float32),
    "beta": RNG.normal(size=6).astype(np.float32),
    "mean": RNG.normal(size=6).astype(np.float32),
    "variance": RNG.uniform(0.5, 2, 6).astype(np.float32),
}
CONV, MAP = int8(6, 4, 3, 3), (2, 4, 7, 6)
UNSIGNED = {"zero_point": np.uint8(120), "out_zero_point": np.uint8(0)}

LAYERS = {
    "strides": Layer("Conv", MAP, CONV, "<strides = [2, 3]>"),
    "dilations": Layer("Conv", MAP, CONV, "<dilations = [3, 2], pads = [1, 1, 1, 1]>"),
    "asymmetric padding": Layer("Conv", MAP, CONV, "<pads = [2, 0, 1, 3]>", **UNSIGNED),
    "SAME_UPPER": Layer("Conv", MAP, CONV, '<auto_pad = "SAME_UPPER", strides = [2, 2]>', **UNSIGNED),
    "SAME_LOWER": Layer("Conv", MAP, CONV, '<auto_pad = "SAME_LOWER", strides = [2, 2]>', **UNSIGNED),
    "a window larger than the map": Layer("Conv", (2, 4, 2, 1), CONV, "<pads = [3, 2, 2, 3]>", **UNSIGNED),
    "stride beyond the window": Layer("Conv", (3, 4, 7, 6), int8(6, 4, 1, 2), "<strides = [3, 4]>"),
    "strides beyond the map": Layer("Conv", MAP, CONV, "<strides = [99, 70]>", **UNSIGNED),
    "dilations beyond the map": Layer(
        "Conv", (1, 4, 3, 3), CONV, "<dilations = [40, 9], pads = [50, 20, 40, 10]>", **UNSIGNED
    ),
    "groups": Layer("Conv", MAP, int8(6, 2, 3, 3), "<group = 2, pads = [1, 1, 1, 1]>", **UNSIGNED),
    "depthwise": Layer("Conv", (1, 6, 5, 5), int8(6, 1, 3, 3), "<group = 6, strides = [2, 1]>", **UNSIGNED),
    "depthwise, two filters a channel": Layer("Conv", (1, 3, 5, 5), int8(6, 1, 3, 3), "<group = 3>"),
    "one axis": Layer("Conv", (2, 4, 9), int8(6, 4, 3), "<pads = [1, 2], strides = [2], dilations = [2]>", **UNSIGNED),
    "three axes": Layer("Conv", (1, 3, 4, 3, 4), int8(6, 3, 2, 2, 2), "<pads = [1, 0, 0, 0, 1, 1]>", **UNSIGNED),
    "three axes, groups": Layer("Conv", (1, 4, 3, 3, 3), int8(6, 2, 2, 2, 2), "<group = 2>"),
    "transposed": Layer("ConvTranspose", (1, 4, 3, 4), int8(4, 6, 3, 2), "<strides = [2, 2]>", axis=1),
    "transposed, uint8": Layer(
        "ConvTranspose", (1, 4, 3, 4), int8(4, 6, 3, 2), "<pads = [1, 1, 0, 0]>", axis=1, **UNSIGNED
    ),
    "transposed, groups": Layer("ConvTranspose", (1, 4, 3, 4), int8(4, 3, 2, 2), "<group = 2>", axis=None),
    "Gemm": Layer("Gemm", (3, 9), int8(6, 9), "<transB = 1, alpha = 0.5, beta = 2.0>", bias=BIAS),
    "Gemm, not transposed": Layer("Gemm", (3, 9), int8(9, 6), axis=1, **UNSIGNED),
    "Gemm, negative alpha": Layer("Gemm", (3, 9), int8(9, 6), "<alpha = -1.5>", axis=1, bias=BIAS),
    "Gemm, activations transposed": Layer("Gemm", (9, 3), int8(9, 6), "<transA = 1>", axis=1, **UNSIGNED),
    "MatMul": Layer("MatMul", (2, 3, 9), int8(9, 6), axis=1, **UNSIGNED),
    "MatMul, one vector": Layer("MatMul", (9,), int8(9, 6), axis=1, **UNSIGNED),
    "one scale": Layer("Conv", MAP, CONV, axis=None),
    "bias": Layer("Conv", MAP, CONV, bias=BIAS, **UNSIGNED),
    "int8, zero point 5": Layer("Conv", MAP, CONV, "<pads = [1, 1, 1, 1]>", zero_point=np.int8(5)),
    "int8, zero point -128": Layer("Conv", MAP, CONV, "<pads = [1, 1, 1, 1]>", zero_point=np.int8(-128)),
    "uint8, zero point 0": Layer("Conv", MAP, CONV, "<pads = [1, 1, 1, 1]>", zero_point=np.uint8(0)),
    "uint8, zero point 255": Layer("Conv", MAP, CONV, "<pads = [1, 1, 1, 1]>", zero_point=np.uint8(255)),
    "weights of -128": Layer("Conv", MAP, int8(6, 4, 3, 3, low=-128), **UNSIGNED),
    "filters without weights": Layer(
        "Conv", MAP, CONV * np.array([1, 0, 1, 0, 0, 1], np.int8)[:, None, None, None], bias=BIAS, **UNSIGNED
    ),
    "no weights": Layer("Conv", MAP, CONV * np.int8(0), "<pads = [1, 1, 1, 1]>", bias=BIAS, **UNSIGNED),
    "a single weight": Layer("Gemm", (1, 9), (np.arange(54) == 50).reshape(6, 9).astype(np.int8), "<transB = 1>"),
    "one input, one filter": Layer("Gemm", (4, 1), int8(1, 1, density=1), "<transB = 1>"),
    "nothing behind": Layer("Conv", MAP, CONV, after="r = Identity(a)", out_zero_point=np.int8(7)),
    "BatchNormalization": Layer(
        "Conv", MAP, CONV, bias=BIAS, after="n = BatchNormalization(a, gamma, beta, mean, variance)\nr = Relu(n)",
        tensors=NORM,
    ),
    "Clip": Layer(
        "Conv", MAP, CONV, after="r = Clip(a, low, high)", out_scale=0.03, out_zero_point=np.uint8(100),
        tensors={"low": np.float32(-0.61), "high": np.float32(1.7)},
    ),
    "Mul and Add": Layer(
        "Conv", MAP, CONV, after="m = Mul(a, k)\nn = Sub(m, c)\nr = Clip(n, low)",
        tensors={"k": -BIAS.reshape(6, 1, 1), "c": BIAS.reshape(1, 6, 1, 1), "low": np.float32(-1)},
    ),
    "largest pool": Layer("Conv", MAP, CONV, after="n = Relu(a)\nr = MaxPool<kernel_shape = [2, 2]>(n)", **UNSIGNED),
    "mean": Layer("Conv", MAP, CONV, after="n = Relu(a)\nr = GlobalAveragePool(n)", **UNSIGNED),
    "followed by what is not known": Layer("Conv", MAP, CONV, after="r = Tanh(a)"),
}  # fmt: skip


# no byte of a single sum, or none at all
WITHOUT_BYTES = {
    "transposed",
    "transposed, uint8",
    "transposed, groups",
    "mean",
    "followed by what is not known",
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_kind_of_layer_has_the_sums_and_bytes_of_onnxruntime(name: str, tmp_path: Path) -> None:
    model = randomly_packed(LAYERS[name].proto(), (4, 4), 3)
    (found,) = simulated(model, tmp_path)
    images = Images(tmp_path)
    np.testing.assert_array_equal(images.sums(0), images.stored("sums.hex", 0, 32))
    assert found.cycles == images.records[0].cycles
    assert images.records[0].compares_bytes == (name not in WITHOUT_BYTES)
    if name not in WITHOUT_BYTES:
        bytes_, exact = images.exact_bytes(0, images.sums(0))
        differ = bytes_ != images.stored("bytes.hex", 0, 8)
        assert np.abs(exact[differ] % 1 - 0.5).max(initial=0) < 1e-3  # where rounding turns
        assert np.count_nonzero(differ) == found.rounded


def integer_operator(name: str) -> onnx.ModelProto:
    """A ConvInteger or MatMulInteger whose activations have a constant scale and zero point."""
    conv = name == "ConvInteger"
    return graph(
        f"""(float{"[2, 4, 5, 5]" if conv else "[3, 9]"} x) => (float y) {{
            q = QuantizeLinear(x, s, z)
            [dot] n = {name}{"<pads = [1, 0, 0, 1]>" if conv else ""}(q, w, z, wz)
            f = Cast<to = 1>(n)
            y = Mul(f, s)
        }}""",
        w=(int8(6, 4, 3, 3) if conv else int8(9, 6)).view(np.uint8) ^ 128,
        wz=np.uint8(128),
        s=np.float32(0.02),
        z=np.uint8(131),
    )


OPERATORS: dict[str, Callable[[], onnx.ModelProto]] = {
    "QLinearConv": WEIGHT_FORMS["QLinearConv"],
    "QLinearConv, a scale for each filter": WEIGHT_FORMS["QLinearConv, a scale for each filter"],
    "QLinearMatMul": WEIGHT_FORMS["QLinearMatMul"],
    "ConvInteger": lambda: integer_operator("ConvInteger"),
    "MatMulInteger": lambda: integer_operator("MatMulInteger"),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_integer_operator_has_the_sums_of_onnxruntime(name: str, tmp_path: Path) -> None:
    model = randomly_packed(OPERATORS[name](), (4, 4), 3)
    simulated(model, tmp_path)
    images = Images(tmp_path)
    np.testing.assert_array_equal(images.sums(0), images.stored("sums.hex", 0, 32))
    assert images.records[0].compares_bytes == name.startswith("QLinear")
