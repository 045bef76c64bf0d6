"""Weights before a DequantizeLinear, compared with onnxruntime, and those that are not covered."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from helpers import models
from helpers.loading import loaded
from tightc.errors import ModelError
from tightc.model.layer_view.layers import read_network

FEW = np.array([0.5, 0.25, 2, 1])


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
    ("proto", "reason"),
    [
        (
            models.quantized(np.ones(2), np.zeros(2), "<axis = 1>"),
            "its weight q has scales that do not go along its filters",
        ),
        (
            models.quantized(np.ones((2, 2, 3, 3)), np.zeros((2, 2, 3, 3)), "<axis = 0, block_size = 2>"),
            "its weight is quantized by blocks",
        ),
        (models.quantized(rest="[also] t = Cast<to = 1>(q)"), "its weight q also feeds also"),
        (models.quantized(rest="[also] t = Relu(w)"), "its weight q also feeds also"),
    ],
)
def test_uncovered_quantized_layers_have_a_reason(proto: onnx.ModelProto, reason: str) -> None:
    network = read_network(loaded(proto))
    assert [layer.name for layer in network.layers] == ["float"]
    assert [(entry.node.name, entry.reason) for entry in network.uncovered] == [("quantized", reason)]


@pytest.mark.parametrize(
    ("proto", "kind"),
    [
        (models.quantized(zero=3), "int8 with zero points other than 0"),
        (models.quantized(zero=128, kind="uint8"), "uint8"),
        (models.quantized(FEW, [0, 0, 1, 0], "<axis = 0>"), "int8 with zero points other than 0"),
    ],
)
def test_an_asymmetric_weight_is_refused_by_name(proto: onnx.ModelProto, kind: str) -> None:
    with pytest.raises(ModelError) as fault:
        read_network(loaded(proto))
    assert str(fault.value) == (
        f"net.onnx: the weight q is quantized as {kind} (asymmetric); give tightc quantize the float model, or "
        "quantize weights as int8 with zero points of 0 (symmetric)"
    )
