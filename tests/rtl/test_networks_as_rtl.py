"""Networks whose layers share a weight, have several matrices, requantize themselves, or have extreme scales."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import pytest

from helpers.rtl_images import Images
from helpers.rtl_models import Layer, graph, int8
from helpers.rtl_runs import icarus, randomly_packed, simulated, write
from tightc.rtl.cosimulation import simulate_folder

pytestmark = icarus

SCALES = {"ws": np.float32(0.003), "wz": np.int8(0), "s": np.float32(0.05), "z": np.uint8(9)}


def quantized(shape: str, nodes: list[str], **tensors: Any) -> onnx.ModelProto:
    """The weight w as v; each of `nodes` reads d, and its output is quantized into the next d."""
    lines = ["v = DequantizeLinear(w, ws, wz)"]
    value = "x"
    for number, node in enumerate([*nodes, ""]):
        lines += [
            f"q{number} = QuantizeLinear({value}, s, z)",
            f"d{number} = DequantizeLinear(q{number}, s, z)",
        ]
        if node:
            lines.append(f"[layer{number}] a{number} = {node.format(f'd{number}')}")
            value = f"a{number}"
    lines.append(f"y = Identity(d{len(nodes)})")
    return graph(f"(float{shape} x) => (float y) {{\n" + "\n".join(lines) + "\n}", **{**SCALES, **tensors})


NETWORKS = {
    "a shared weight": (
        quantized(
            "[2, 4, 6, 6]",
            ["Conv<pads = [1, 1, 1, 1]>({}, v)", "Conv<strides = [2, 2]>({}, v)"],
            w=int8(4, 4, 3, 3),
        ),
        [None, "layer0"],
    ),
    "a matrix for each batch": (quantized("[3, 4, 5]", ["MatMul({}, v)"], w=int8(3, 5, 7)), [None]),
    "a weight on the left": (quantized("[5, 3]", ["Gemm(v, {})"], w=int8(7, 5)), [None]),
    "a product from the left, then one from the right": (
        quantized("[5, 3]", ["MatMul(v, {})", "MatMul({}, u)"], w=int8(7, 5), u=int8(3, 7).astype(np.float32)),
        [None],
    ),
    "zero points that are left out": (
        graph(
            """(float[2, 4, 6, 6] x) => (float y) {
                q = QuantizeLinear<output_dtype = 3>(x, s)
                d = DequantizeLinear(q, s)
                v = DequantizeLinear(w, ws)
                [int8] a = Conv(d, v)
                p = QuantizeLinear<output_dtype = 3>(a, s)
                e = DequantizeLinear(p, s)
                [uint8] b = Conv(e, v)
                o = QuantizeLinear(b, s)
                y = DequantizeLinear(o, s)
            }""",
            opset=21, w=int8(4, 4, 3, 3), ws=np.float32(0.003), s=np.float32(0.05),
        ),
        [None, "int8"],
    ),
    "several readers, with scales of their own": (
        graph(
            """(float[2, 4, 6, 6] x) => (float y, float t) {
                q = QuantizeLinear(x, s, z)
                d = DequantizeLinear(q, s, z)
                v = DequantizeLinear(w, ws, wz)
                [first] a = Conv(d, v)
                p = QuantizeLinear(a, s, z)
                e = DequantizeLinear(p, s, z)
                o = QuantizeLinear(a, u, uz)
                f = DequantizeLinear(o, u, uz)
                [same] y = Conv(e, v)
                [other] t = Conv(f, v)
            }""",
            w=int8(4, 4, 3, 3), u=np.float32(0.021), uz=np.int8(-7), **SCALES,
        ),
        [None, "first", None],
    ),
    "vectors that become a map": (
        graph(
            """(float[2, 5] x) => (float y) {
                q = QuantizeLinear(x, s, z)
                d = DequantizeLinear(q, s, z)
                v = DequantizeLinear(w, ws, wz)
                [vectors] a = Gemm(d, v)
                m = Reshape(a, shape)
                p = QuantizeLinear(m, s, z)
                e = DequantizeLinear(p, s, z)
                u = DequantizeLinear(k, ws, wz)
                [map] y = Conv(e, u)
            }""",
            w=int8(5, 36), k=int8(3, 4, 2, 2), shape=np.array([2, 4, 3, 3]), **SCALES,
        ),
        [None, "vectors"],
    ),
    "operators that requantize": (
        graph(
            """(float[2, 4, 6, 6] x) => (float y) {
                q = QuantizeLinear(x, s, z)
                c = QLinearConv(q, s, z, w, ws, wz, t, u, b)
                e = QLinearConv<pads = [1, 1, 0, 0]>(c, t, u, w2, ws, wz, t, u)
                y = DequantizeLinear(e, t, u)
            }""",
            w=int8(6, 4, 3, 3), w2=int8(5, 6, 2, 2), t=np.float32(0.07), u=np.uint8(77),
            b=np.arange(6, dtype=np.int32) * 1000, **SCALES,
        ),
        [None, "c"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network(name: str, tmp_path: Path) -> None:
    proto, reads = NETWORKS[name]
    design = write(randomly_packed(proto, (4, 4), 3), tmp_path)
    assert [row["reads"] for row in design.report.layers] == reads
    assert len(simulate_folder(tmp_path, "icarus", chain=True)) == len(reads)
    images = Images(tmp_path)
    for number in range(len(reads)):
        np.testing.assert_array_equal(images.sums(number), images.stored("sums.hex", number, 32))


def test_a_batch_of_open_size(tmp_path: Path) -> None:
    proto = quantized("[B, 4, 6, 6]", ["Conv<pads = [1, 1, 1, 1]>({}, v)"], w=int8(4, 4, 3, 3))
    simulated(randomly_packed(proto, (4, 4), 3), tmp_path, batch=3)
    assert Images(tmp_path).records[0].vectors == 3 * 36


EXTREMES = {
    "small products, large bias": (1e-8, 10.0, 1e-5),
    "smaller products": (1e-12, -10.0, 1e-6),
    "nothing but rounding": (1e-9, 0.0, 1.0),
    "large": (1e3, 1e6, 1e-3),
    "larger": (1e6, 0.0, 1e-6),
    "small but of the size of the outputs": (1e-9, 1e-10, 1e-11),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_scales_are_computed_right_or_not_requantized(name: str, tmp_path: Path) -> None:
    weight, bias, output = EXTREMES[name]
    layer = Layer(
        "Conv", (2, 4, 6, 6), int8(4, 4, 3, 3), axis=None, after="r = Identity(a)", out_scale=output,
        out_zero_point=np.uint8(9), bias=np.array([bias, -bias, bias / 1e3, 0], np.float32),
    )  # fmt: skip
    proto = layer.proto()
    for tensor in proto.graph.initializer:
        if tensor.name == "ws":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.float32(weight), "ws"))
    simulated(randomly_packed(proto, (4, 4), 3), tmp_path)
