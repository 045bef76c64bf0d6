"""The TensorFlow Lite file that scripts/vela.py gives to Arm's compiler has the layers and weights of the model."""

from __future__ import annotations

import importlib
import json
from math import ceil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import tightc
from helpers.models import build
from tensorflow_lite.operators import LiteNetwork, Operator, lite_network
from tightc.errors import ModelError
from tightc.model.file import Model, load_model_bytes

RNG = np.random.default_rng(4)
RESIDUAL = """net (float[B, 3, 9, 8] image) => (float[B, 4] y) {
    a = Conv<pads = [1, 1, 1, 1]>(image, w0)
    b = Relu(a)
    c = Conv<pads = [1, 0, 1, 1], strides = [2, 2]>(b, w1)
    d = Conv<strides = [2, 2], group = 1>(b, w2)
    e = Add(c, d)
    f = Relu(e)
    g = Conv<pads = [1, 1, 1, 1], group = 5>(f, w3)
    h = Conv(g, w4)
    i = AveragePool<kernel_shape = [3, 2]>(h)
    j = Flatten(i)
    y = Gemm<transB = 1>(j, w5)
}"""
SHAPES = ((4, 3, 3, 3), (5, 4, 3, 3), (5, 4, 1, 1), (5, 1, 3, 3), (6, 5, 3, 3), (4, 6))


def model(text: str, *shapes: tuple[int, ...]) -> Model:
    """The network in `text`, int8, with weights w0, w1, ... of `shapes` whose scales are all 1."""
    weights = {f"w{i}": RNG.integers(-127, 128, shape).astype(np.float32) for i, shape in enumerate(shapes)}
    found = tightc.quantize(load_model_bytes(build(text, **weights).SerializeToString(), "net.onnx")).model
    proto = found.copy_proto()
    for tensor in proto.graph.initializer:
        if tensor.name.endswith(".scale"):
            ones = np.ones_like(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(ones, tensor.name))
    return load_model_bytes(proto.SerializeToString(), "net.onnx")


def padded(x: np.ndarray, kernel: tuple[int, int], operator: Operator) -> np.ndarray:
    """(y, x, channels) with the zeros of SAME, as TensorFlow documents them."""
    if operator.options["Padding"] == 1:
        return x
    amounts = []
    strides = operator.options["StrideH"], operator.options["StrideW"]
    for side, size, stride in zip(x.shape, kernel, strides, strict=False):  # channels are the third axis
        total = max(0, (ceil(side / stride) - 1) * stride + size - side)
        amounts.append((total // 2, total - total // 2))
    return np.pad(x, (*amounts, (0, 0)))


def slid(x: np.ndarray, kernel: tuple[int, int], operator: Operator) -> np.ndarray:
    """(y, x, kernel y, kernel x, channels): every window."""
    windows = np.lib.stride_tricks.sliding_window_view(padded(x, kernel, operator), kernel, (0, 1))
    return windows[:: operator.options["StrideH"], :: operator.options["StrideW"]].transpose(0, 1, 3, 4, 2)


def computed(network: LiteNetwork, image: np.ndarray) -> np.ndarray:
    """What the operators make of `image`, (y, x, channels), without scales."""
    values = {network.inputs[0]: image}
    values |= {
        name: tensor.data.astype(float) for name, tensor in network.tensors.items() if tensor.data is not None
    }
    for operator in network.operators:
        x, *rest = (values[name] for name in operator.inputs)
        match operator.code:
            case "CONV_2D":
                y = np.einsum("yxabc,oabc->yxo", slid(x, rest[0].shape[1:3], operator), rest[0])
            case "DEPTHWISE_CONV_2D":
                y = np.einsum("yxabc,abc->yxc", slid(x, rest[0].shape[1:3], operator), rest[0][0])
            case "AVERAGE_POOL_2D":
                kernel = operator.options["FilterHeight"], operator.options["FilterWidth"]
                y = slid(x, kernel, operator).mean(axis=(2, 3))
            case "FULLY_CONNECTED":
                y = rest[0] @ x
            case "ADD":
                y = x + rest[0]
            case "RESHAPE":
                y = x.reshape(network.tensors[operator.output].shape[1:])
        if operator.options.get("FusedActivationFunction"):
            y = np.maximum(y, 0)
        assert (1, *y.shape) == tuple(network.tensors[operator.output].shape)
        values[operator.output] = y
    return values[network.outputs[0]]


def test_the_operators_compute_what_the_model_does() -> None:
    given = model(RESIDUAL, *SHAPES)
    image = RNG.standard_normal((1, 3, 9, 8)).astype(np.float32)
    session = onnxruntime.InferenceSession(given.proto.SerializeToString())
    (expected,) = session.run(None, {"image": image})
    found = computed(lite_network(given), image[0].transpose(1, 2, 0))
    np.testing.assert_allclose(found, expected[0], rtol=1e-4)


def test_normalization_and_the_softmax_at_the_end_are_left_out() -> None:
    text = """net (float[B, 3] x) => (float[B, 4] y)
    <float[4] ones = {1, 1, 1, 1}, float[4] zeros = {0, 0, 0, 0}> {
        a = Gemm<transB = 1>(x, w0)
        b = BatchNormalization(a, ones, zeros, zeros, ones)
        c = Relu(b)
        d = MatMul(c, w1)
        y = Softmax(d)
    }"""
    given = model(text, (4, 3), (4, 4))
    network = lite_network(given)
    assert [operator.code for operator in network.operators] == ["FULLY_CONNECTED"] * 2
    assert network.operators[0].options == {"FusedActivationFunction": 1}
    assert network.operators[1].inputs[0] == "a" and network.outputs == ("d",)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in given.proto.graph.initializer}
    np.testing.assert_array_equal(network.weights[1].data, stored["w1.int8"].T)


CONV = "net (float[B, 2, 6, 6] x) => (float[B, N, H, W] y) {{ {} }}"
REFUSED = {
    "another operator": (CONV.format("a = Conv(x, w0) y = Sigmoid(a)"), (4, 2, 1, 1), "got Sigmoid"),
    "groups of several filters": (CONV.format("y = Conv<group = 2>(x, w0)"), (4, 1, 1, 1), "got 2 groups"),
    "other padding": (
        CONV.format("y = Conv<pads = [2, 2, 0, 0]>(x, w0)"), (4, 2, 3, 3), r"got pads \(2, 2, 0, 0\)"
    ),
    "dilations": (CONV.format("y = Conv<dilations = [2, 2], pads = [2, 2, 2, 2]>(x, w0)"), (4, 2, 3, 3), "got pads"),
    "a ReLU of the input": (CONV.format("a = Relu(x) y = Conv(a, w0)"), (4, 2, 1, 1), "expected a ReLU alone behind"),
    "a ReLU beside another reader": (
        CONV.format("a = Conv(x, w0) b = Relu(a) y = Add(a, b)"), (4, 2, 1, 1), "expected a ReLU alone behind"
    ),
    "a map as a vector": (
        "net (float[B, 2, 2, 2] x) => (float[B, 4] y) { a = Flatten(x) y = Gemm<transB = 1>(a, w0) }",
        (4, 8),
        "expected a map of one pixel",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    text, shape, said = REFUSED[name]
    with pytest.raises(ModelError, match=said):
        lite_network(model(text, shape))


def test_float_weights_are_refused() -> None:
    text = CONV.format("y = Conv(x, w0)")
    plain = build(text, w0=np.ones((4, 2, 1, 1), np.float32))
    with pytest.raises(ModelError, match=r"expected int8 weights .* run tightc quantize first"):
        lite_network(load_model_bytes(plain.SerializeToString(), "net.onnx"))


def test_the_file_holds_the_weights_bit_by_bit() -> None:
    tables = pytest.importorskip("ethosu.vela.tflite.Model", reason="needs Vela: pip install ethos-u-vela")
    file_bytes = importlib.import_module("tensorflow_lite.file").file_bytes
    network = lite_network(model(RESIDUAL, *SHAPES))
    found = tables.Model.GetRootAs(file_bytes(network))
    subgraph = found.Subgraphs(0)
    names = [subgraph.Tensors(i).Name().decode() for i in range(subgraph.TensorsLength())]
    assert names == list(network.tensors)
    for number, tensor in enumerate(network.tensors.values()):
        table = subgraph.Tensors(number)
        assert tuple(table.ShapeAsNumpy()) == tuple(tensor.shape)
        data = found.Buffers(table.Buffer()).DataAsNumpy()
        if tensor.data is not None:
            assert data.tobytes() == tensor.data.tobytes()
    calls = [subgraph.Operators(i) for i in range(subgraph.OperatorsLength())]
    for call, operator in zip(calls, network.operators, strict=True):
        assert [names[i] for i in call.InputsAsNumpy()] == list(operator.inputs)
        assert [names[i] for i in call.OutputsAsNumpy()] == [operator.output]


def test_vela_stores_zeros_in_few_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ethosu.vela", reason="needs Vela: pip install ethos-u-vela")
    vela = importlib.import_module("vela")
    dense = model(CONV.format("y = Conv<pads = [1, 1, 1, 1]>(x, w0)"), (64, 2, 3, 3))
    name = next(tensor.name for tensor in dense.proto.graph.initializer if tensor.name.endswith(".int8"))
    weight = next(numpy_helper.to_array(t) for t in dense.proto.graph.initializer if t.name == name)
    tightc.save(dense, tmp_path / "dense.onnx")
    tightc.save(
        dense.with_tensors({name: weight * (RNG.random(weight.shape) < 0.1)}), tmp_path / "sparse.onnx"
    )
    assert vela.main([str(tmp_path / "dense.onnx"), str(tmp_path / "sparse.onnx")]) == 0
    rows = json.loads(capsys.readouterr().out)["models"]
    assert [row["weights"] for row in rows] == [64 * 18] * 2
    assert rows[0]["bytes"] > 0.8 * 64 * 18 > 64 * 18 / 2 > rows[1]["bytes"]
    onnx.save(
        build(CONV.format("y = Conv(x, w0)"), w0=np.ones((4, 2, 1, 1), np.float32)), tmp_path / "float.onnx"
    )
    assert vela.main([str(tmp_path / "float.onnx")]) == 2
    assert "expected int8 weights" in capsys.readouterr().err
    assert vela.main([str(tmp_path / "dense.onnx"), "--accelerator", "ethos"]) == 2
    assert "expected Vela to end with exit code 0, got 2" in capsys.readouterr().err
