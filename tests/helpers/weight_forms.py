"""Small networks with the less common operators that have a weight. Nothing is imported from tightc."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import onnx

from helpers.models import OPSET, build, sparse

RNG = np.random.default_rng(7)
DTYPES = {"int8": np.int8, "uint8": np.uint8, "int4": ml_dtypes.int4, "uint4": ml_dtypes.uint4}
LIMITS = {"int8": (-128, 128), "uint8": (0, 256), "int4": (-8, 8), "uint4": (0, 16)}


def integers(*shape: int, kind: str = "int8", low: int = -120, high: int = 121) -> np.ndarray:
    return np.random.default_rng(list(shape)).integers(low, high, shape).astype(kind)


def transposed(settings: str, out: str, groups: int = 1, bias: bool = False) -> onnx.ModelProto:
    return build(
        f"net (float[2, 4, 5, 6] x) => (float[{out}] y) "
        f"{{ [up] y = ConvTranspose<group = {groups}{settings}>(x, w{', b' if bias else ''}) }}",
        w=sparse(4, 6 // groups, 3, 2, density=0.8),
        **({"b": sparse(6, density=1)} if bias else {}),
    )


def product(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    return build(f"net {text}", **weights)


def qlinear_conv(kind: str, zero: int, per_filter: bool = False) -> onnx.ModelProto:
    low, high = (0, 256) if kind == "uint8" else (-128, 128)
    scales = np.linspace(0.01, 0.02, 6, dtype=np.float32) if per_filter else np.float32(0.01)
    zeros = np.full(6, zero, kind) if per_filter else np.array(zero, kind)
    return build(
        """net (float[2, 4, 7, 7] x) => (float[2, 6, 4, 4] y) {
            q = QuantizeLinear(x, s, z)
            [conv] c = QLinearConv<strides = [2, 2], pads = [1, 1, 1, 1], group = 2>(q, s, z, w, ws, wz, t, u, b)
            y = DequantizeLinear(c, t, u)
        }""",
        w=integers(6, 2, 3, 3, kind=kind, low=low, high=high), ws=scales, wz=zeros, s=np.float32(0.05),
        z=np.array(117, np.uint8), t=np.float32(0.4), u=np.array(130, np.uint8), b=integers(6, kind="int32"),
    )  # fmt: skip


def qlinear_matmul(left: bool) -> onnx.ModelProto:
    order = "w, ws, wz, q, s, z" if left else "q, s, z, w, ws, wz"
    shape = "[2, 5, 3]" if left else "[2, 3, 5]"
    out = "[2, 7, 3]" if left else "[2, 3, 7]"
    return build(
        f"""net (float{shape} x) => (float{out} y) {{
            q = QuantizeLinear(x, s, z)
            [dot] c = QLinearMatMul({order}, t, u)
            y = DequantizeLinear(c, t, u)
        }}""",
        w=integers(7, 5, kind="uint8", low=0, high=256) if left else integers(5, 7), ws=np.float32(0.01),
        wz=np.array(140, np.uint8) if left else np.int8(0), s=np.float32(0.05),
        z=np.array(128, np.uint8), t=np.float32(0.2), u=np.array(120, np.uint8),
    )  # fmt: skip


def dynamic(op: str) -> onnx.ModelProto:
    conv = op == "ConvInteger"
    return build(
        f"""net (float{"[1, 4, 6, 6]" if conv else "[3, 5]"} x) => (float{"[1, 6, 4, 4]" if conv else "[3, 7]"} y) {{
            q, s, z = DynamicQuantizeLinear(x)
            [dot] n = {op}(q, w, z, wz)
            f = Cast<to = 1>(n)
            t = Mul(s, ws)
            y = Mul(f, t)
        }}""",
        w=integers(6, 4, 3, 3, kind="uint8", low=0, high=256) if conv else integers(5, 7),
        wz=np.array(128, np.uint8) if conv else np.int8(0),
        ws=np.float32(0.01),
    )


def dequantized(kind: str, zero: int, op: str = "Conv") -> onnx.ModelProto:
    low, high = LIMITS[kind]
    up = op == "ConvTranspose"
    return build(
        f"""net (float[1, 4, 6, 6] x) => (float[1, 6, {"8, 8" if up else "4, 4"}] y) {{
            w = DequantizeLinear<axis = {int(up)}>(q, s, z)
            [conv] y = {op}(x, w)
        }}""",
        21 if "4" in kind else OPSET,
        q=integers(*((4, 6, 3, 3) if up else (6, 4, 3, 3)), kind="int32", low=low, high=high).astype(
            DTYPES[kind]
        ),
        s=np.linspace(0.01, 0.02, 6, dtype=np.float32),
        z=np.full(6, zero, np.int32).astype(DTYPES[kind]),
    )


def several_zeros(kind: str, op: str = "Conv") -> onnx.ModelProto:
    """A weight with a zero point for each filter, of a Conv, a ConvTranspose or a Gemm."""
    low, high = LIMITS[kind]
    shape, axis = {"Conv": ((6, 4, 3, 3), 0), "ConvTranspose": ((4, 6, 3, 3), 1), "Gemm": ((6, 9), 0)}[op]
    inputs, outputs, settings = {
        "Conv": ("1, 4, 6, 6", "1, 6, 4, 4", ""),
        "ConvTranspose": ("1, 4, 6, 6", "1, 6, 8, 8", ""),
        "Gemm": ("3, 9", "3, 6", "<transB = 1>"),
    }[op]
    return build(
        f"""net (float[{inputs}] x) => (float[{outputs}] y) {{
            w = DequantizeLinear<axis = {axis}>(q, s, z)
            [layer] y = {op}{settings}(x, w)
        }}""",
        21,
        q=integers(*shape, kind="int32", low=low, high=high).astype(DTYPES[kind]),
        s=np.linspace(0.01, 0.02, 6, dtype=np.float32),
        z=np.linspace(low, high - 1, 6).astype(np.int32).astype(DTYPES[kind]),
    )


def blocks(kind: str, zeros: str = "", inputs: int = 12, block: int = 4, axis: int = 0) -> onnx.ModelProto:
    """A MatMul with a scale for each `block` of its inputs, or of its filters; `zeros`: one, several or none."""
    low, high = LIMITS[kind]
    sides = [inputs, 6]
    sides[axis] = -(-sides[axis] // block)
    rng = np.random.default_rng(sides)
    given = {
        "one": np.full(sides, (low + high) // 2 + 1),
        "several": rng.integers(low, high, sides),
    }
    z = {"z": given[zeros].astype(np.int32).astype(DTYPES[kind])} if zeros else {}
    return build(
        f"""net (float[2, 3, {inputs}] x) => (float[2, 3, 6] y) {{
            w = DequantizeLinear<axis = {axis}, block_size = {block}>(q, s{", z" if zeros else ""})
            [layer] y = MatMul(x, w)
        }}""",
        21,
        q=integers(inputs, 6, kind="int32", low=low, high=high).astype(DTYPES[kind]),
        s=rng.uniform(0.01, 0.03, sides).astype(np.float32),
        **z,
    )


WEIGHT_FORMS: dict[str, Callable[[], onnx.ModelProto]] = {
    "ConvTranspose": lambda: transposed("", "2, 6, 7, 7"),
    "ConvTranspose, strides and pads": lambda: transposed(
        ", strides = [2, 3], pads = [1, 0, 0, 1], output_padding = [1, 0]", "2, 6, 11, 16", bias=True
    ),
    "ConvTranspose, dilated groups": lambda: transposed(", dilations = [2, 1]", "2, 6, 9, 7", groups=2, bias=True),
    "ConvTranspose, SAME_UPPER": lambda: transposed(
        ", strides = [2, 2], auto_pad = \"SAME_UPPER\"", "2, 6, 10, 12"
    ),
    "ConvTranspose, SAME_LOWER": lambda: transposed(
        ", strides = [2, 2], auto_pad = \"SAME_LOWER\"", "2, 6, 10, 12"
    ),
    "ConvTranspose, output_shape": lambda: transposed(
        ", strides = [2, 2], output_shape = [10, 11]", "2, 6, 10, 11"
    ),
    "Gemm, A": lambda: product(
        "(float[5, 3] x) => (float[7, 3] y) { [g] y = Gemm<alpha = 0.5, beta = 2.0>(w, x, b) }",
        w=sparse(7, 5, density=0.8), b=sparse(3, density=1),
    ),
    "Gemm, A transposed, bias of a filter": lambda: product(
        "(float[3, 5] x) => (float[7, 3] y) { [g] y = Gemm<transA = 1, transB = 1>(w, x, b) }",
        w=sparse(5, 7, density=0.8), b=sparse(7, 1, density=1),
    ),
    "MatMul, one column": lambda: product(
        "(float[4, 6] x) => (float[4] y) { [m] y = MatMul(x, w) }", w=sparse(6, density=0.9)
    ),
    "MatMul, one row": lambda: product(
        "(float[6, 4] x) => (float[4] y) { [m] y = MatMul(w, x) }", w=sparse(6, density=0.9)
    ),
    "MatMul, several matrices": lambda: product(
        "(float[3, 4, 5] x) => (float[3, 4, 7] y) { [m] y = MatMul(x, w) }", w=sparse(3, 5, 7, density=0.8)
    ),
    "MatMul, several matrices for one input": lambda: product(
        "(float[4, 5] x) => (float[3, 4, 7] y) { [m] y = MatMul(x, w) }", w=sparse(3, 5, 7, density=0.8)
    ),
    "MatMul, several matrices, batch": lambda: product(
        "(float[2, 3, 4, 5] x) => (float[2, 3, 4, 7] y) { [m] y = MatMul(x, w) }", w=sparse(3, 5, 7, density=0.8)
    ),
    "MatMul, several matrices on the left": lambda: product(
        "(float[3, 5, 4] x) => (float[3, 7, 4] y) { [m] y = MatMul(w, x) }", w=sparse(3, 7, 5, density=0.8)
    ),
    "MatMul, rank 3": lambda: product(
        "(float[2, 4, 5] x) => (float[2, 4, 7] y) { [m] y = MatMul(x, w) }", w=sparse(1, 5, 7, density=0.8)
    ),
    "QLinearConv": lambda: qlinear_conv("int8", 0),
    "QLinearConv, a scale for each filter": lambda: qlinear_conv("int8", 0, per_filter=True),
    "QLinearConv, asymmetric int8": lambda: qlinear_conv("int8", 7),
    "QLinearConv, asymmetric uint8": lambda: qlinear_conv("uint8", 101),
    "QLinearMatMul": lambda: qlinear_matmul(left=False),
    "QLinearMatMul, left": lambda: qlinear_matmul(left=True),
    "ConvInteger": lambda: dynamic("ConvInteger"),
    "MatMulInteger": lambda: dynamic("MatMulInteger"),
    "DequantizeLinear, uint8": lambda: dequantized("uint8", 128),
    "DequantizeLinear, asymmetric uint8": lambda: dequantized("uint8", 30),
    "DequantizeLinear, asymmetric int8": lambda: dequantized("int8", -5),
    "DequantizeLinear, ConvTranspose": lambda: dequantized("int8", 0, op="ConvTranspose"),
    "DequantizeLinear, int4": lambda: dequantized("int4", 0),
    "DequantizeLinear, asymmetric int4": lambda: dequantized("int4", -3),
    "DequantizeLinear, asymmetric uint4": lambda: dequantized("uint4", 5),
    "DequantizeLinear, int4, ConvTranspose": lambda: dequantized("int4", 0, op="ConvTranspose"),
    "DequantizeLinear, int8, several zero points": lambda: several_zeros("int8"),
    "DequantizeLinear, uint8, several zero points, ConvTranspose": lambda: several_zeros("uint8", "ConvTranspose"),
    "DequantizeLinear, uint4, several zero points, Gemm": lambda: several_zeros("uint4", "Gemm"),
    "DequantizeLinear, int4 blocks": lambda: blocks("int4"),
    "DequantizeLinear, int4 blocks of filters": lambda: blocks("int4", axis=1, block=3),
    "DequantizeLinear, uint4 blocks with a zero point": lambda: blocks("uint4", "one"),
    "DequantizeLinear, uint4 blocks with zero points": lambda: blocks("uint4", "several"),
    "DequantizeLinear, uint8 blocks, the last one shorter": lambda: blocks("uint8", "several", inputs=11),
}  # fmt: skip


def half_network(opset: int) -> onnx.ModelProto:
    """A small network in float16: a convolution, a depthwise one, a long product."""
    return build(
        """net (float16[2, 3, 9, 9] x) => (float16[2, 10] y) {
            [first] a = Conv<pads = [1, 1, 1, 1]>(x, w, b)
            r = Relu(a)
            [depthwise] d = Conv<group = 8, strides = [2, 2]>(r, v)
            f = Flatten(d)
            [last] y = Gemm(f, l, c)
        }""",
        opset,
        w=sparse(8, 3, 3, 3, density=0.9, dtype="float16"),
        b=sparse(8, density=1, dtype="float16"),
        v=sparse(8, 1, 3, 3, density=0.9, dtype="float16"),
        l=(sparse(128, 10, density=0.9) / 8).astype(np.float16),
        c=sparse(10, density=1, dtype="float16"),
    )
