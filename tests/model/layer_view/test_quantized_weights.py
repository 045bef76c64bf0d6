"""Weights before a DequantizeLinear, compared with onnxruntime, and those that are not covered."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from helpers import models
from helpers.loading import loaded
from helpers.weight_forms import DTYPES, LIMITS
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import read_network
from tightc.model.layer_view.quantized_weights import QuantizedWeight, deviation, fits, with_zero_points

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


def rounded_to_int16(quantize: str, dequantize: str) -> onnx.ModelProto:
    return models.build(
        f"""net (float[1, 5] x) => (float[1, 3] y) {{
            q = QuantizeLinear{quantize}
            w = DequantizeLinear{dequantize}
            [wide] a = MatMul(x, w)
            [plain] y = MatMul(a, u)
        }}""",
        21,
        v=models.sparse(5, 3, density=0.9),
        u=models.sparse(3, 3),
        s=np.float32(0.25),
        z=np.array(3, np.int16),
    )


def test_integers_of_other_types_that_are_computed_are_folded_to_floats() -> None:
    proto = rounded_to_int16("(v, s, z)", "(q, s, z)")
    network = read_network(loaded(proto))
    session = onnxruntime.InferenceSession(_with_output(proto, "w"))
    assert network.uncovered == () and network.quantized == {}
    assert np.array_equal(network.weights["w"], session.run(["w"], models.feeds(proto))[0])


def test_integers_whose_type_is_known_too_late_are_named() -> None:
    proto = rounded_to_int16("<output_dtype = 5>(v, s)", "(q, s)")
    (entry,) = read_network(loaded(proto)).uncovered
    assert entry.node.name == "wide"
    assert entry.reason == "its weight is quantized as int16, not as int8, uint8, int4, uint4"


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
        (
            models.quantized(np.ones(3), np.zeros(3), "<axis = 0>"),
            "its weight q has another number of scales or zero points than its axis has places",
        ),
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


@st.composite
def integer_weights(draw: st.DrawFn) -> tuple[QuantizedWeight, np.ndarray]:
    """A weight of any type and rank up to 4 with scales and zero points in any of their forms."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    kind = draw(st.sampled_from(sorted(LIMITS)))
    axis, form = draw(st.integers(0, len(shape) - 1)), draw(st.sampled_from(("one", "axis", "blocks")))
    block = draw(st.integers(1, shape[axis])) if form == "blocks" else 0
    sides = {"one": (1,), "axis": (shape[axis],), "blocks": tuple(
        -(-side // block) if place == axis and block else side for place, side in enumerate(shape)
    )}[form]  # fmt: skip
    low, high = LIMITS[kind]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    zeros = rng.integers(low, high, sides) if draw(st.booleans()) else np.array([rng.integers(low, high)])
    scale = 2.0 ** rng.integers(-3, 3, sides)
    dtype = np.dtype(DTYPES[kind])
    entry = QuantizedWeight("v", "w", "s", scale, None if form == "one" else axis, dtype, zeros, block)
    return entry, rng.integers(low, high, shape).astype(np.int32).astype(dtype)


@given(integer_weights())
def test_integers_of_all_forms_are_read_and_restored(pair: tuple[QuantizedWeight, np.ndarray]) -> None:
    entry, weight = pair
    assert fits(entry, weight.shape)
    values = deviation(weight, entry)
    restored = with_zero_points(values, entry, weight.dtype)
    assert restored.dtype == weight.dtype and np.array_equal(restored, weight)
    scales = np.broadcast_to(entry.spread(entry.scale, weight.shape), weight.shape)
    for place in np.ndindex(*weight.shape):
        own = [*place]
        if entry.block and entry.axis is not None:
            own[entry.axis] //= entry.block
        at = tuple(own) if entry.block else (0 if entry.axis is None else place[entry.axis],)
        zero = entry.zero_points.flat[0] if entry.zero_points.size == 1 else entry.zero_points[at]
        assert values[place] == int(weight[place]) - zero
        assert scales[place] == (entry.scale.flat[0] if entry.scale.size == 1 else entry.scale[at])


def test_a_number_of_scales_that_does_not_fit_is_told() -> None:
    short = QuantizedWeight("v", "w", "s", np.ones(3), 0)
    assert fits(short, (3, 2)) and not fits(short, (4, 2))
    blocks = QuantizedWeight("v", "w", "s", np.ones((2, 5)), 0, block=3)
    assert (
        fits(blocks, (6, 5))
        and fits(blocks, (4, 5))
        and not fits(blocks, (7, 5))
        and not fits(blocks, (6, 4))
    )
