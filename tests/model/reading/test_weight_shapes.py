"""The shape of a weight, which torch computes in the graph where its exporter does not optimize."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from helpers.loading import loaded
from helpers.models import build, sparse
from tightc.model.layer_view.layers import read_network

X = np.random.default_rng(0).normal(size=(1, 2, 5, 5)).astype(np.float32)
W = sparse(3, 18, density=0.9).reshape(3, 2, 3, 3)


def outputs(proto: onnx.ModelProto) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": X}))


def conv(shape: str, returned: str = "float[1, 3, 3, 3] y") -> onnx.ModelProto:
    """A Conv of W, whose bias of zeros gets its size from `shape`, as torch 2.13 writes it."""
    text = f"""net (float[1, 2, 5, 5] x) => ({returned}) {{
        s = {shape} z = Expand(zero, s) y = Conv(x, w, z) }}"""
    return build(text, opset=20, w=W, zero=np.zeros(1, np.float32))


@pytest.mark.parametrize("shape", ["Shape<start = 0, end = 1>(w)", "Shape<start = -4, end = -3>(w)"])
def test_a_layer_that_takes_the_size_of_its_bias_from_its_weight_is_packed(shape: str) -> None:
    before = conv(shape)
    model = loaded(before)
    network = read_network(model)
    assert [layer.weight for layer in network.layers] == ["w"] and not network.uncovered
    assert model.notes == ("shapes of weights taken as constants: w",)
    assert [node.op_type for node in model.proto.graph.node] == ["Expand", "Conv"]
    np.testing.assert_array_equal(outputs(model.to_proto())[0], outputs(before)[0])


def test_the_shape_as_a_whole() -> None:
    before = build(
        "net (float[1, 2, 5, 5] x) => (float[1, 3, 3, 3] y) { s = Shape(w) r = ReduceMin<keepdims = 1>(s) "
        "f = Cast<to = 1>(r) c = Conv(x, w) y = Mul(c, f) }", opset=20, w=W,
    )  # fmt: skip
    model = loaded(before)
    assert len(read_network(model).layers) == 1
    np.testing.assert_array_equal(outputs(model.to_proto())[0], outputs(before)[0])


def test_a_shape_that_is_an_output_stays() -> None:
    model = loaded(conv("Shape<start = 0, end = 1>(w)", "float[1, 3, 3, 3] y, int64[1] s"))
    assert not model.notes and model.proto.graph.node[0].op_type == "Shape"


def test_the_shape_of_another_value_stays() -> None:
    model = loaded(conv("Shape<start = 0, end = 1>(x)"))
    assert not model.notes and model.proto.graph.node[0].op_type == "Shape"
