"""Training of integer weights of four bits, in blocks and with zero points anywhere, compared with plain loops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from helpers import models, training
from tightc.errors import ModelError
from tightc.finetuning.network.fake_quantization import integer_constants, is_rescalable
from tightc.model.file import Model, load_model_bytes
from tightc.model.layer_view.layers import read_network
from tightc.model.layer_view.quantized_weights import QuantizedWeight
from tightc.model.onnx_proto.graph import read_graph
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.quantization.options import QuantizeOptions
from tightc.quantization.quantize import quantize

DTYPES = {"int8": np.int8, "uint8": np.uint8, "int4": ml_dtypes.int4, "uint4": ml_dtypes.uint4}
LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int4": (-8, 7), "uint4": (0, 15)}
# the type, and what the zero points are: one number, the word each, or the word blocks
KINDS = [("int4", 0), ("uint4", 8), ("uint8", 30), ("int8", "each"), ("uint4", "each"), ("int4", "blocks")]


def zero_points(kind: str, zero: int | str, weight: np.ndarray) -> np.ndarray:
    low, high = LIMITS[kind]
    if isinstance(zero, int):
        return np.full(len(weight), zero)
    middle = (low + high + 1) // 2 + np.arange(len(weight)) % 3 - 1
    return np.stack([middle, middle + 1], axis=1) if zero == "blocks" else middle


def integer_network(kind: str, zero: int | str) -> Model:
    """The folded network with quantized weights, rounded by the scales that its extremes ask for."""
    proto = training.proto_of("folded")
    proto.ir_version, proto.opset_import[0].version = 10, 21
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    low, high = LIMITS[kind]
    for name in ("last_w", "first_w"):
        weight = numpy_helper.to_array(tensors[name])
        in_blocks = zero == "blocks" and weight.ndim == 2
        zeros = zero_points(kind, zero if in_blocks or zero != "blocks" else "each", weight)
        step = np.abs(weight).max() / max(1, min(high - zeros.max(), zeros.min() - low))
        scales = np.full(zeros.shape, step, np.float32)
        spread = np.repeat(zeros, 16, axis=1) if in_blocks else zeros.reshape(-1, *[1] * (weight.ndim - 1))
        integers = (np.rint(weight / step) + spread).clip(low, high)
        proto.graph.initializer.remove(tensors[name])
        for suffix, array in (("q", integers), ("z", zeros)):
            stored = array.astype(np.int32).astype(DTYPES[kind])
            proto.graph.initializer.append(numpy_helper.from_array(stored, f"{name}.{suffix}"))
        proto.graph.initializer.append(numpy_helper.from_array(scales, f"{name}.s"))
        settings = {"axis": 1, "block_size": 16} if in_blocks else {"axis": 0}
        inputs = [f"{name}.{suffix}" for suffix in "qsz"]
        proto.graph.node.insert(0, helper.make_node("DequantizeLinear", inputs, [name], **settings))
    onnx.checker.check_model(proto, full_check=True)
    return load_model_bytes(proto.SerializeToString(), "integers.onnx")


def each_zero(tensors: Mapping[str, Any], name: str) -> np.ndarray:
    zeros, shape = tensors[f"{name}.z"].astype(int), tensors[f"{name}.q"].shape
    if zeros.ndim == 2:
        return np.repeat(zeros, 16, axis=1)
    return np.broadcast_to(zeros.reshape(-1, *[1] * (len(shape) - 1)), shape)


def accuracy(model: Model) -> float:
    images = training.quadrants()
    session = onnxruntime.InferenceSession(model.to_bytes(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": training.NORMALIZATION.apply(images.pixels)})
    return 100 * float((logits.argmax(1) == images.labels).mean())


@pytest.mark.parametrize(("kind", "zero"), KINDS)
def test_integers_are_trained_within_their_type_and_zeros_stay(kind: str, zero: int | str) -> None:
    before, _ = prune(integer_network(kind, zero), PruneOptions(sparsity=0.3))
    after, _ = training.train(before, epochs=6)
    onnx.checker.check_model(after.proto, full_check=True)
    old, new = training.tensors(before), training.tensors(after)
    for name in ("first_w", "last_w"):
        zeros = each_zero(old, name)
        one, other = old[f"{name}.q"].astype(int), new[f"{name}.q"].astype(int)
        assert new[f"{name}.q"].dtype == DTYPES[kind]
        assert np.array_equal(old[f"{name}.s"], new[f"{name}.s"])
        assert (other[one == zeros] == zeros[one == zeros]).all() and (one != other).any()
    assert accuracy(after) > accuracy(before) + 15


def test_what_training_makes_of_a_weight_is_cut_to_its_type() -> None:
    entry = QuantizedWeight(
        "real", "w", "scale", np.array([[0.5, 0.25], [1.0, 2.0]]), 1, np.dtype(ml_dtypes.uint4),
        np.array([[3, 8], [15, 0]]), 3,
    )  # fmt: skip
    real = np.linspace(-9, 9, 10).reshape(2, 5).astype(np.float32)
    found = integer_constants({"real": real}, [entry], {})["w"]
    for row, column in np.ndindex(*real.shape):
        scale, zero = entry.scale[row, column // 3], entry.zero_points[row, column // 3]
        stored = min(15, max(0, round(float(real[row, column]) / scale) + zero))
        assert found[row, column] == stored - zero


@pytest.mark.parametrize(
    ("kind", "zero", "expected"), [("int8", 0, True), ("int8", "each", False), ("int4", 0, False)]
)
def test_a_norm_goes_into_the_scales_of_symmetric_integers_alone(
    kind: str, zero: int | str, expected: bool
) -> None:
    model = integer_network(kind, zero)
    entries = read_network(model).quantized.values()
    assert [is_rescalable(entry, read_graph(model.proto)) for entry in entries] == [expected, expected]


def test_subwords_of_a_transposed_convolution_are_pruned() -> None:
    """Its filters, a kernel position of a channel each, share the scale of their channel."""
    proto = models.build(
        """net (float[batch, 1, 8, 8] image) => (float[batch, 4] logits) {
            [first] a = Conv<strides = [2, 2]>(image, v)
            [up] b = ConvTranspose(a, u)
            r = Relu(b)
            f = Flatten(r)
            [last] logits = Gemm(f, w)
        }""",
        v=models.sparse(4, 1, 3, 3, density=1),
        u=models.sparse(4, 3, 2, 2, density=1),
        w=models.sparse(48, 4, density=1),
    )
    before, _ = quantize(load_model_bytes(proto.SerializeToString(), "up.onnx"), QuantizeOptions())
    after, _ = training.train(before, epochs=4, granularity="subword", sparsity=0.5)
    magnitudes = [np.abs(weight.astype(int)) for weight in read_network(after).weights.values()]
    left = sum(int(((part & 15) > 0).sum() + (part > 15).sum()) for part in magnitudes)
    slots = 2 * sum(part.size for part in magnitudes)
    assert 0.75 * slots / 2 < left <= slots - round(slots / 2)


def test_subwords_of_four_bits_are_refused() -> None:
    with pytest.raises(ModelError) as fault:
        training.train(integer_network("uint4", 8), granularity="subword")
    assert str(fault.value) == (
        "integers.onnx: subwords: expected int8 weights with the zero point 0 and a scale for each filter, got uint4, "
        "the zero point 8 in first; start from the float model and run tightc quantize, or skip that layer"
    )
