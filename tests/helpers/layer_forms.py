"""Networks of one layer or more, one for every form of a Conv, Gemm or MatMul."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper

from helpers import models


def conv(
    shape: tuple[int, ...], weight: tuple[int, ...], bias: bool = False, **attributes: object
) -> onnx.ModelProto:
    """One Conv; `group` follows from the shapes."""
    tensors = {"w": models.sparse(*weight, density=0.6)}
    if bias:
        tensors["b"] = np.linspace(-1, 2, weight[0], dtype=np.float32)
    node = helper.make_node(
        "Conv", ["x", *tensors], ["y"], name="c", group=shape[1] // weight[1], **attributes
    )
    return one_node(node, shape, tensors)


def one_node(
    node: onnx.NodeProto,
    shape: tuple[int, ...],
    tensors: dict[str, np.ndarray],
    kind: int = onnx.TensorProto.FLOAT,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(tensor, name) for name, tensor in tensors.items()],
    )
    opset = helper.make_opsetid("", models.OPSET)
    proto = helper.make_model(graph, opset_imports=[opset], ir_version=models.IR)
    return onnx.shape_inference.infer_shapes(proto)


def gemm(
    shape: tuple[int, int], weight: tuple[int, int], addend: tuple[int, ...] | None, **attributes: object
):
    tensors = {"w": models.sparse(*weight, density=0.6)}
    if addend is not None:
        tensors["c"] = np.random.default_rng(3).normal(size=addend).astype(np.float32)
    return one_node(helper.make_node("Gemm", ["x", *tensors], ["y"], name="g", **attributes), shape, tensors)


def matmul(shape: tuple[int, ...], weight: tuple[int, int], left: bool = False) -> onnx.ModelProto:
    inputs = ["w", "x"] if left else ["x", "w"]
    node = helper.make_node("MatMul", inputs, ["y"], name="m")
    return one_node(node, shape, {"w": models.sparse(*weight, density=0.6)})


def mobile_block() -> onnx.ModelProto:
    """Expand, depthwise 3x3 with a stride, project; a bias and a ReLU6 here and there."""
    return models.build(
        """net (float[B, 6, 9, 9] x) => (float[B, 8, 5, 5] y) {
            [expand] a = Conv(x, u, ub)
            low = Constant<value = float {0}>()
            high = Constant<value = float {6}>()
            b = Clip(a, low, high)
            [depthwise] c = Conv<group = 18, pads = [1, 1, 1, 1], strides = [2, 2]>(b, v, vb)
            d = Clip(c, low, high)
            [project] y = Conv(d, w)
        }""",
        u=models.sparse(18, 6, 1, 1, density=0.6),
        ub=np.linspace(-1, 1, 18, dtype=np.float32),
        v=models.sparse(18, 1, 3, 3, density=0.6),
        vb=np.linspace(-1, 1, 18, dtype=np.float32),
        w=models.sparse(8, 18, 1, 1, density=0.4),
    )


BY_HAND: dict[str, Callable[[], onnx.ModelProto]] = {
    "stride": lambda: conv((2, 3, 9, 8), (5, 3, 3, 3), strides=[2, 3], bias=True),
    "dilation": lambda: conv((2, 3, 9, 10), (5, 3, 3, 2), dilations=[2, 3]),
    "pads that differ": lambda: conv((1, 3, 5, 6), (5, 3, 3, 2), pads=[2, 0, 1, 3], bias=True),
    "SAME_UPPER": lambda: conv((1, 3, 7, 8), (5, 3, 4, 3), auto_pad="SAME_UPPER", strides=[2, 3]),
    "SAME_LOWER": lambda: conv((1, 3, 7, 8), (5, 3, 4, 3), auto_pad="SAME_LOWER", strides=[2, 3]),
    "VALID": lambda: conv((1, 3, 7, 8), (5, 3, 4, 3), auto_pad="VALID"),
    "groups": lambda: conv((2, 8, 6, 6), (12, 2, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], bias=True),
    "depthwise": lambda: conv((1, 7, 6, 6), (7, 1, 3, 3), pads=[1, 1, 1, 1]),
    "depthwise, two filters each": lambda: conv((1, 5, 6, 6), (10, 1, 3, 3)),
    "1-D": lambda: conv((3, 4, 11), (5, 4, 3), strides=[2], pads=[2, 1], dilations=[2], bias=True),
    "1-D depthwise": lambda: conv((2, 6, 9), (6, 1, 4), pads=[1, 2]),
    "3-D": lambda: conv(
        (1, 2, 5, 6, 7), (3, 2, 2, 3, 2), strides=[1, 2, 3], pads=[1, 0, 2, 0, 3, 1], bias=True
    ),
    "3-D depthwise": lambda: conv((1, 3, 4, 5, 4), (3, 1, 3, 3, 3), pads=[1] * 6),
    "one window": lambda: conv((2, 3, 3, 4), (4, 3, 3, 4)),
    "Gemm": lambda: gemm((5, 9), (9, 6), (6,), alpha=1.0, beta=1.0),
    "Gemm, alpha and beta": lambda: gemm((5, 9), (9, 6), (6,), alpha=-0.25, beta=3.0),
    "Gemm, beta 0": lambda: gemm((5, 9), (9, 6), (6,), beta=0.0),
    "Gemm, transA": lambda: gemm((9, 5), (9, 6), None, transA=1),
    "Gemm, transA, transB": lambda: gemm((9, 5), (6, 9), (6,), transA=1, transB=1, alpha=2.0),
    "Gemm, transB, no bias": lambda: gemm((5, 9), (6, 9), None, transB=1, alpha=0.5),
    "Gemm, an addend for each row": lambda: gemm((5, 9), (9, 6), (5, 1), beta=0.5),
    "Gemm, an addend for each output": lambda: gemm((5, 9), (9, 6), (5, 6)),
    "Gemm, one addend": lambda: gemm((5, 9), (9, 6), (1,)),
    "MatMul, weight right": lambda: matmul((5, 9), (9, 6)),
    "MatMul, weight left": lambda: matmul((9, 5), (6, 9), left=True),
    "MatMul, batched": lambda: matmul((2, 3, 4, 9), (9, 6)),
    "MatMul, batched, weight left": lambda: matmul((2, 3, 9, 4), (6, 9), left=True),
    "MatMul, a vector": lambda: matmul((9,), (9, 6)),
    "MatMul, a vector, weight left": lambda: matmul((9,), (6, 9), left=True),
    "MobileNet": mobile_block,
}
FORMS = {**models.FORMS, **BY_HAND}
