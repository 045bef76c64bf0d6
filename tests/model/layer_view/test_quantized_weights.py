"""Weights before a DequantizeLinear, compared with onnxruntime, and those that are not covered."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from helpers import models
from helpers.loading import loaded
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import read_network

FEW = np.array([0.5, 0.25, 2, 1])
BLOCKS = "<axis = 0, block_size = 2>"


@pytest.mark.parametrize(
    ("scale", "zero", "settings"),
    [
        (0.1, 0, ""),
        (np.full(4, 0.1), np.zeros(4), "<axis = 0>"),
        (FEW, np.zeros(4), "<axis = 0>"),
        (FEW, np.zeros(4), "<axis = -4>"),
    ],
)
def test_the_real_matrix_is_what_onnxruntime_makes(scale: object, zero: object, settings: str) -> None:
    proto = models.quantized(scale, zero, settings)
    network = read_network(loaded(proto))
    layer = network.layers[0]
    assert (layer.name, layer.weight, network.matrix(layer).dtype) == ("quantized", "q", np.int8)
    proto.graph.output.append(helper.make_empty_tensor_value_info("w"))
    (made,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(["w"], models.feeds(proto))
    assert np.array_equal(network.dequantized_tensor(layer), made)
    np.testing.assert_allclose(network.dequantized_matrix(layer), made.reshape(4, 18), rtol=1e-7)


@pytest.mark.parametrize(
    "proto",
    [
        models.quantized(np.array([0.5, 2]), np.zeros(2), "<axis = 1>"),
        models.quantized(np.linspace(1, 2, 36).reshape(2, 2, 3, 3), np.zeros((2, 2, 3, 3)), BLOCKS),
        models.quantized(np.ones((2, 2, 3, 3)), np.arange(36).reshape(2, 2, 3, 3), BLOCKS),
        models.quantized(FEW, [0, 0, 1, 0], "<axis = 0>"),
        models.quantized(FEW, [0, 0, -100, 0], "<axis = 0>"),
        models.quantized(FEW, [0, 200, 100, 255], "<axis = 0>", kind="uint8"),
    ],
)
def test_scales_and_zero_points_of_all_shapes_are_as_onnxruntime_reads_them(proto: onnx.ModelProto) -> None:
    model = loaded(proto)
    network = read_network(model)
    layer = network.layers[0]
    assert (layer.name, layer.weight, model.normalized) == ("quantized", "q", ())
    session = onnxruntime.InferenceSession(_with_output(proto, "w"))
    (made,) = session.run(["w"], models.feeds(proto))
    assert np.array_equal(network.dequantized_tensor(layer), made)
    np.testing.assert_allclose(layer_matrix(network, layer).dequantized, made.reshape(4, 18), rtol=1e-7)
    assert np.array_equal(network.matrix(layer) == 0, made.reshape(4, 18) == 0)


def other_type(kind: str) -> onnx.ModelProto:
    return models.build(
        """net (float[1, 5] x) => (float[1, 3] y) {
            w = DequantizeLinear(q, s)
            [layer] y = Gemm(x, w)
        }""",
        23,
        q=np.arange(-7, 8).reshape(5, 3).astype(kind),
        s=np.float32(0.25),
    )


@pytest.mark.parametrize("kind", ["int16", "uint16", "int32"])
def test_integers_of_other_types_are_folded_to_floats(kind: str) -> None:
    proto = other_type(kind)
    model = loaded(proto)
    network = read_network(model)
    assert [(layer.name, layer.weight) for layer in network.layers] == [("layer", "w")]
    assert network.quantized == {} and model.normalized == ("weights folded from constants: w",)
    session = onnxruntime.InferenceSession(_with_output(proto, "w"))
    assert np.array_equal(network.weights["w"], session.run(["w"], models.feeds(proto))[0])


def _with_output(proto: onnx.ModelProto, name: str) -> bytes:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.graph.output.append(helper.make_empty_tensor_value_info(name))
    return copy.SerializeToString()


@pytest.mark.parametrize(
    ("proto", "reason"),
    [
        (models.quantized(rest="[also] t = Cast<to = 1>(q)"), "its weight q also feeds also"),
        (models.quantized(rest="[also] t = Relu(w)"), "its weight q also feeds also"),
    ],
)
def test_uncovered_quantized_layers_have_a_reason(proto: onnx.ModelProto, reason: str) -> None:
    network = read_network(loaded(proto))
    assert [layer.name for layer in network.layers] == ["float"]
    assert [(entry.node.name, entry.reason) for entry in network.uncovered] == [("quantized", reason)]


@pytest.mark.parametrize(("zero", "kind"), [(3, "int8"), (128, "uint8"), (0, "uint8")])
def test_a_zero_point_is_the_zero_of_the_matrix(zero: int, kind: str) -> None:
    proto = models.quantized(zero=zero, kind=kind)
    network = read_network(loaded(proto))
    (made,) = onnxruntime.InferenceSession(_with_output(proto, "w")).run(["w"], models.feeds(proto))
    np.testing.assert_allclose(network.dequantized_tensor(network.layers[0]), made, rtol=1e-6)
    stored = next(numpy_helper.to_array(t) for t in proto.graph.initializer if t.name == "q")
    assert np.array_equal(network.weights["q"] == 0, stored == zero)
