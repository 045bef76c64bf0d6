"""Idle weights: those whose removal changes no output, by channels that are zero whatever the network reads."""

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
from tightc.model.layer_view.layers import read_network

CHAIN = """net (float[1, 3, 6, 6] x) => (float[1, 4, H, W] y) {
    a = Conv<kernel_shape = [1, 1]>(x, u, p)
    an = ACT
    b = Conv<group = 4, pads = [1, 1, 1, 1]>(an, v, q)
    bn = Relu(b)
    y = Conv(bn, w)
}"""
NORM = "BatchNormalization(a, scale, shift, mean, variance)\n    ar = Relu(an)"


def chain(activation: str = "Relu(a)", bias: float = -1.0, **more: np.ndarray) -> onnx.ModelProto:
    """A 1x1 layer whose filter 2 is empty and has `bias`, a depthwise one with bias -0.5, and a 1x1 layer."""
    rng = np.random.default_rng(0)
    u = rng.normal(size=(4, 3, 1, 1)).astype(np.float32)
    u[2] = 0
    text = CHAIN.replace("ACT", activation)
    if "ar = " in text:
        text = text.replace(
            "Conv<group = 4, pads = [1, 1, 1, 1]>(an", "Conv<group = 4, pads = [1, 1, 1, 1]>(ar"
        )
    return models.build(
        text,
        u=u,
        p=np.array([0.3, 0.1, bias, 0.2], np.float32),
        v=rng.normal(size=(4, 1, 3, 3)).astype(np.float32),
        q=np.full(4, -0.5, np.float32),
        w=rng.normal(size=(4, 4, 1, 1)).astype(np.float32),
        **more,
    )


def found(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    model = loaded(proto)
    return idle_weights(model, read_network(model))


def norm(scale: float, shift: float, mean: float) -> dict[str, np.ndarray]:
    one = np.ones(4, np.float32)
    return {"scale": one * scale, "shift": one * shift, "mean": one * mean, "variance": one}  # type: ignore[dict-item]


def test_an_empty_filter_makes_its_depthwise_filter_and_the_inputs_after_it_idle() -> None:
    idle = found(chain())
    assert idle.keys() == {"v", "w"}
    assert np.argwhere(idle["v"]).tolist() == [[2, k] for k in range(9)]
    assert np.argwhere(idle["w"]).tolist() == [[f, 2] for f in range(4)]


def test_a_depthwise_filter_that_leaves_a_constant_ends_the_chain() -> None:
    proto = chain()
    for tensor in proto.graph.initializer:
        if tensor.name == "q":  # a positive bias is what the last layer reads then
            tensor.CopyFrom(numpy_helper.from_array(np.full(4, 0.5, np.float32), "q"))
    assert found(proto).keys() == {"v"}


@pytest.mark.parametrize(
    ("activation", "bias", "more", "any_idle"),
    [
        ("Relu(a)", 0.0, {}, True),
        ("Relu(a)", 1e-30, {}, False),
        ("LeakyRelu(a)", -1.0, {}, False),
        ("Identity(a)", -1.0, {}, False),
        ("Identity(a)", 0.0, {}, True),
        ("Clip(a, low, high)", -1.0, {"low": np.float32(0), "high": np.float32(6)}, True),
        ("Clip(a, low, high)", -1.0, {"low": np.float32(-2), "high": np.float32(6)}, False),
        ("Clip(a, low)", -1.0, {"low": np.float32(0)}, True),
        ("Sigmoid(a)", -1.0, {}, False),
        ("GlobalAveragePool(a)", 0.0, {}, True),
        ("MaxPool<kernel_shape = [1, 1]>(a)", -1.0, {}, False),
        (NORM, 1.0, norm(1, -2, 0), True),
        (NORM, 1.0, norm(1, 0, 0), False),
        (NORM, 1.0, norm(-1, 0, 0), True),
        (NORM, 1.0, norm(3, 0, 1), False),  # zero but for rounding
        (NORM, 1.0, norm(0, -1, 5), True),
        (NORM, 1.0, norm(0, 0, 5), True),
        (NORM, 0.3, norm(3, -0.9 / np.sqrt(1 + 1e-5), 0), False),  # zero but for rounding
    ],
)
def test_a_channel_is_zero_only_where_norm_and_activation_make_it_so(
    activation: str, bias: float, more: dict[str, np.ndarray], any_idle: bool
) -> None:
    proto = chain(activation, bias, **{name: np.asarray(value, np.float32) for name, value in more.items()})
    assert ("v" in found(proto)) is any_idle


def test_a_weight_that_another_layer_shares_is_idle_only_in_both() -> None:
    text = """net (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y, float[1, 2, 4, 4] z) {
        a = Conv(x, u)
        y = Conv<group = 2>(a, v)
        z = Conv<group = 2>(x, v)
    }"""
    u, v = np.zeros((2, 2, 1, 1), np.float32), np.ones((2, 1, 1, 1), np.float32)
    u[0] = 1
    assert found(models.build(text, u=u, v=v)) == {}
    alone = text.replace("z = Conv<group = 2>(x, v)", "z = Identity(x)")
    assert np.argwhere(found(models.build(alone, u=u, v=v))["v"]).tolist() == [[1, 0]]


def outputs(proto: onnx.ModelProto, feed: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": feed})[0])


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.2, 0.5, 0.8]))
def test_no_output_changes_without_the_idle_weights(seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        keep = rng.random(shape) < density
        keep &= (rng.random(shape[0]) < 0.6).reshape(-1, *[1] * (len(shape) - 1))
        return (rng.normal(size=shape) * keep).astype(np.float32)

    def numbers(low: float = -1.0) -> np.ndarray:
        return rng.uniform(low, 1.0, 4).astype(np.float32)

    proto = models.build(
        CHAIN.replace("ACT", NORM).replace("(an, v", "(ar, v"),
        u=weights(4, 3, 1, 1), p=numbers(), v=weights(4, 1, 3, 3), q=numbers(), w=weights(4, 4, 1, 1),
        scale=numbers(), shift=numbers(), mean=numbers(), variance=numbers(0.1),
    )  # fmt: skip
    model = loaded(proto)
    network = read_network(model)
    idle = idle_weights(model, network)
    cleared = onnx.ModelProto()
    cleared.CopyFrom(proto)
    owners = {layer.weight: layer for layer in network.owners}
    for tensor in cleared.graph.initializer:
        if tensor.name in idle:
            array = numpy_helper.to_array(tensor)
            kept = owners[tensor.name].matrix(array) * ~idle[tensor.name]
            assert np.count_nonzero(kept) < np.count_nonzero(array)
            tensor.CopyFrom(
                numpy_helper.from_array(kept.reshape(array.shape).astype(np.float32), tensor.name)
            )
    feed = (rng.normal(size=(1, 3, 6, 6)) * 10).astype(np.float32)
    np.testing.assert_allclose(outputs(cleared, feed), outputs(proto, feed), rtol=1e-6, atol=1e-6)
