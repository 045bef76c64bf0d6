"""Filters that nobody reads, against what onnxruntime says when their bias changes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from helpers import models
from helpers.loading import loaded
from tightc.model.layer_view.idle_weights import idle_weights
from tightc.model.layer_view.layers import Network, read_network
from tightc.model.layer_view.unread_filters import unread_filters
from tightc.model.onnx_proto.graph import read_graph

BRANCHES = """net (float[2, 3, 8, 8] x) => (float[2, 3] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, a_w, a_b)
    b = LeakyRelu(a)
    c = Conv<pads = [1, 1, 1, 1]>(b, c_w, c_b)
    d = Conv<group = 4>(b, d_w, d_b)
    e = LeakyRelu(d)
    f = Conv(e, f_w, f_b)
    s = Add(c, f)
    n = BatchNormalization(s, scale, shift, mean, variance)
    p = AveragePool<kernel_shape = [4, 4], strides = [4, 4]>(n)
    flat = Flatten(p)
    g = Gemm<transB = 1>(flat, g_w, g_b)
    h = LeakyRelu(g)
    y = Gemm(h, y_w)
}"""
BIASES = {"a": "a_b", "c": "c_b", "d": "d_b", "f": "f_b", "g": "g_b"}


def branches(random: np.random.Generator, density: float) -> onnx.ModelProto:
    """Two branches that are added, with sparse weights, some filters of which nobody reads."""

    def weights(*shape: int) -> np.ndarray:
        kept = random.random(shape) < density
        return (random.normal(size=shape) * kept).astype(np.float32)

    def numbers(low: float = -1.0) -> np.ndarray:
        return random.uniform(low, 1.0, 4).astype(np.float32)

    return models.build(
        BRANCHES,
        a_w=weights(4, 3, 3, 3), a_b=numbers(), c_w=weights(4, 4, 3, 3), c_b=numbers(), d_w=weights(4, 1, 1, 1),
        d_b=numbers(), f_w=weights(4, 4, 1, 1), f_b=numbers(), scale=numbers(0.1), shift=numbers(), mean=numbers(),
        variance=numbers(0.1), g_w=weights(5, 16), g_b=random.normal(size=5).astype(np.float32), y_w=weights(5, 3),
    )  # fmt: skip


def unread(proto: onnx.ModelProto) -> dict[str, list[int]]:
    model = loaded(proto)
    network = read_network(model)
    found = unread_filters(read_graph(model.proto), network, lambda layer: network.matrix(layer) != 0)
    return {name: np.flatnonzero(flags).tolist() for name, flags in found.items()}


def output(proto: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feed)[0])


def changed(proto: onnx.ModelProto, name: str, place: int) -> onnx.ModelProto:
    other = onnx.ModelProto()
    other.CopyFrom(proto)
    for tensor in other.graph.initializer:
        if tensor.name == name:
            array = numpy_helper.to_array(tensor).copy()
            array[place] += 1
            tensor.CopyFrom(numpy_helper.from_array(array, name))
    return other


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.2, 0.4]))
def test_a_filter_is_unread_where_no_output_follows_its_bias(seed: int, density: float) -> None:
    proto = branches(np.random.default_rng(seed), density)
    feed, found = models.feeds(proto), unread(proto)
    before = output(proto, feed)
    for layer, bias in BIASES.items():
        count = 5 if layer == "g" else 4
        follows = [not np.array_equal(output(changed(proto, bias, k), feed), before) for k in range(count)]
        assert [not follows[k] for k in range(count)] == [k in found.get(layer, []) for k in range(count)], (
            layer
        )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.2, 0.4]))
def test_no_output_changes_without_the_idle_weights(seed: int, density: float) -> None:
    proto = branches(np.random.default_rng(seed), density)
    model = loaded(proto)
    network = read_network(model)
    cleared = onnx.ModelProto()
    cleared.CopyFrom(proto)
    idle = idle_weights(model, network)
    for tensor in cleared.graph.initializer:
        if tensor.name in idle:
            tensor.CopyFrom(
                numpy_helper.from_array(without(network, tensor.name, idle[tensor.name]), tensor.name)
            )
    feed = models.feeds(proto)
    np.testing.assert_array_equal(output(cleared, feed), output(proto, feed))
    assert idle_weights(loaded(cleared), read_network(loaded(cleared))) == {}


def without(network: Network, name: str, idle: np.ndarray) -> np.ndarray:
    layer = next(owner for owner in network.owners if owner.weight == name)
    array: np.ndarray = layer.tensor(np.where(idle, 0, network.matrix(layer)), network.shapes[name])
    return array.astype(np.float32)


HEAD = """net (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) {
    a = Conv(x, u)
    MIDDLE
}"""


@pytest.mark.parametrize(
    ("middle", "found"),
    [
        ("y = Conv(a, w)", [1]),
        ("b = Relu(a)\n    y = Conv(b, w)", [1]),
        ("b = Mul(a, a)\n    y = Conv(b, w)", [1]),
        ("b = Sub(a, x)\n    y = Conv(b, w)", [1]),
        ("b = Softmax(a)\n    y = Conv(b, w)", []),  # mixes what it reads
        ("b = Transpose<perm = [0, 1, 3, 2]>(a)\n    y = Conv(b, w)", []),
        ("y = ConvTranspose(a, w)", []),
        ("b = Relu(a)\n    c = Conv(b, w)\n    y = Add(c, a)", []),  # read beside the layer, and whole
        ("b = MatMul(a, square)\n    y = Conv(b, w)", []),
        ("b = Add(a, five)\n    c = Squeeze(b, axis)\n    y = Conv(c, w)", []),  # the constant adds an axis
    ],
)
def test_what_is_followed_and_what_counts_as_read_whole(middle: str, found: list[int]) -> None:
    w = np.ones((2, 2, 1, 1), np.float32)
    w[:, 1] = 0
    more = {
        "square": np.ones((4, 4), np.float32),
        "five": np.ones((1, 1, 1, 1, 1), np.float32),
        "axis": np.array([0]),
    }
    used = {name: array for name, array in more.items() if name in middle}
    proto = models.build(HEAD.replace("MIDDLE", middle), u=np.ones((2, 2, 1, 1), np.float32), w=w, **used)
    assert unread(proto).get("a", []) == found


def test_an_output_of_the_network_is_read() -> None:
    text = """net (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] a, float[1, 2, 4, 4] y) {
        a = Conv(x, u)
        y = Conv(a, w)
    }"""
    w = np.zeros((2, 2, 1, 1), np.float32)
    w[:, 0] = 1
    assert unread(models.build(text, u=np.ones((2, 2, 1, 1), np.float32), w=w)) == {}
    assert unread(models.build(text.replace("float[1, 2, 4, 4] a, ", ""), u=w, w=w)) == {"a": [1]}


def test_a_layer_that_nobody_reads_reads_nothing() -> None:
    text = """net (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) {
        a = Conv(x, u)
        b = Conv(a, v)
        y = Conv(b, w)
    }"""
    ones, w = np.ones((2, 2, 1, 1), np.float32), np.zeros((2, 2, 1, 1), np.float32)
    assert unread(models.build(text, u=ones, v=ones, w=w)) == {"a": [0, 1], "b": [0, 1]}
