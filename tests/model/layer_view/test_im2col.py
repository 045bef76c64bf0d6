"""The layer matrix times the input vectors gives the output vectors of the node."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from helpers import models
from helpers.loading import loaded
from tightc.model.intermediate_values import intermediate_values
from tightc.model.layer_view.im2col import im2col, output_matrix
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layers import read_network
from tightc.model.onnx_proto.graph import Node, read_graph


def one_node(
    op: str, shape: tuple[int, ...], weight: tuple[int, ...], left: bool = False, **attributes: object
):
    """(layer, node, model) of one node with an integer weight."""
    rng = np.random.default_rng(len(shape))
    tensor = rng.integers(1, 5, weight).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node(op, ["w", "x"] if left else ["x", "w"], ["y"], name="n", **attributes)],
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(tensor, "w")],
    )
    opset = helper.make_opsetid("", models.OPSET)
    proto = onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[opset], ir_version=models.IR)
    )
    model = loaded(proto)
    return read_network(model).layers[0], read_graph(model.proto).nodes[0], model


CASES = {
    "Conv": (("Conv", (2, 3, 5, 6), (4, 3, 3, 2)), {"pads": [1, 0, 1, 1], "strides": [2, 1]}),
    "Conv, 1-D": (("Conv", (2, 3, 9), (4, 3, 3)), {"dilations": [2]}),
    "Conv, 3-D": (("Conv", (1, 2, 3, 4, 5), (3, 2, 2, 2, 2)), {}),
    "Conv, grouped": (("Conv", (2, 4, 5, 5), (6, 2, 3, 3)), {"group": 2}),
    "Conv, depthwise": (("Conv", (2, 3, 5, 5), (6, 1, 3, 3)), {"group": 3}),
    "Gemm": (("Gemm", (5, 9), (9, 6)), {}),
    "Gemm, transB": (("Gemm", (5, 9), (6, 9)), {"transB": 1}),
    "Gemm, transA": (("Gemm", (9, 5), (9, 6)), {"transA": 1}),
    "Gemm, both": (("Gemm", (9, 5), (6, 9)), {"transA": 1, "transB": 1}),
    "MatMul": (("MatMul", (5, 9), (9, 6)), {}),
    "MatMul, batches": (("MatMul", (2, 3, 5, 9), (9, 6)), {}),
    "MatMul, a vector": (("MatMul", (9,), (9, 6)), {}),
    "MatMul, left": (("MatMul", (9, 5), (6, 9), True), {}),
    "MatMul, left, batches": (("MatMul", (2, 3, 9, 5), (6, 9), True), {}),
    "MatMul, left, a vector": (("MatMul", (9,), (6, 9), True), {}),
    "MatMul, square": (("MatMul", (4, 4), (4, 4)), {}),
    "MatMul, square, left": (("MatMul", (4, 4), (4, 4), True), {}),
}


def block_diagonal(layer: Layer, weight: np.ndarray) -> np.ndarray:
    """The layer matrix of all groups, (filters, inputs of all groups)."""
    matrix = layer.matrix(weight)
    size = layer.filters // layer.groups
    found = np.zeros((layer.filters, layer.inputs * layer.groups))
    for f in range(layer.filters):
        first = f // size * layer.inputs
        found[f, first : first + layer.inputs] = matrix[f]
    return found


@pytest.mark.parametrize("case", CASES)
def test_vectors_times_the_matrix_are_the_output_vectors(case: str) -> None:
    (arguments, attributes) = CASES[case]
    layer, node, model = one_node(*arguments, **attributes)
    shape = arguments[1]
    x = np.random.default_rng(1).permutation(np.prod(shape)).reshape(shape).astype(np.float32)
    y = intermediate_values(model, ["y"], {"x": x})["y"]
    weight = read_network(model).weights["w"]
    vectors, outputs = im2col(layer, node, x, weight.shape), output_matrix(layer, y)
    assert vectors.shape == (y.size // layer.filters, layer.inputs * layer.groups)
    assert outputs.shape == (len(vectors), layer.filters)
    np.testing.assert_array_equal(vectors @ block_diagonal(layer, weight).T, outputs)


@pytest.mark.parametrize("dtype", [np.int8, np.float16, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_vectors_keep_their_dtype(case: str, dtype: type) -> None:
    (arguments, attributes) = CASES[case]
    layer, node, _ = one_node(*arguments, **attributes)
    value = np.ones(arguments[1], dtype)
    assert im2col(layer, node, value, arguments[2]).dtype == dtype
    assert output_matrix(layer, np.ones((2, layer.filters, 3), dtype)).dtype == dtype


def test_the_order_of_vectors_and_inputs_by_hand() -> None:
    """Two images of 2 x 3 pixels, a kernel of 2 x 2: image by image, row by row; channel by channel within a vector."""
    layer, node, _ = one_node("Conv", (2, 2, 2, 3), (5, 2, 2, 2))
    x = np.arange(24).reshape(2, 2, 2, 3)
    assert im2col(layer, node, x, (5, 2, 2, 2)).tolist() == [
        [0, 1, 3, 4, 6, 7, 9, 10],
        [1, 2, 4, 5, 7, 8, 10, 11],
        [12, 13, 15, 16, 18, 19, 21, 22],
        [13, 14, 16, 17, 19, 20, 22, 23],
    ]
    y = np.arange(20).reshape(2, 5, 1, 2)
    assert output_matrix(layer, y)[:3].tolist() == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9], [10, 12, 14, 16, 18]]


def test_a_product_with_the_weight_on_the_left_goes_column_by_column() -> None:
    left = Layer("n", "MatMul", "w", 2, 3, 1, True, 0, "x", "y")
    right = Layer("n", "MatMul", "w", 2, 3, 1, False, 1, "x", "y")
    node = Node("MatMul", "", "n", ("w", "x"), ("y",), {})
    x = np.arange(12).reshape(2, 3, 2)
    assert im2col(left, node, x, (2, 3)).tolist() == [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11]]
    assert output_matrix(left, np.arange(4).reshape(1, 2, 2)).tolist() == [[0, 2], [1, 3]]
    assert output_matrix(right, np.arange(4).reshape(1, 2, 2)).tolist() == [[0, 1], [2, 3]]
