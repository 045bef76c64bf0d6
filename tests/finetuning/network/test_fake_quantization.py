"""Quantization-aware training: fake-quantized weights, and zero subwords that stay zero."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch.nn import functional

from helpers import training
from tightc.data.validation_split import split_validation
from tightc.errors import ModelError, OptionError
from tightc.finetuning.network.fake_quantization import integer_constants, is_rescalable
from tightc.model.file import Model, load_model_bytes
from tightc.model.layer_view.layers import read_network
from tightc.model.layer_view.quantized_weights import QuantizedWeight
from tightc.model.onnx_proto.graph import read_graph
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.quantization.options import QuantizeOptions
from tightc.quantization.quantize import quantize

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "strong decay": {"weight_decay": 0.3},
    "ema": {"ema_decay": 0.9},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.005},
    "bfloat16": {"dtype": "bfloat16"},
    "validation": {"validation": 16},
    "bn recalibration": {"bn_recalibration_images": 32},
}


def matrices(model: Model) -> dict[str, np.ndarray]:
    network = read_network(model)
    return {layer.name: network.matrix(layer) for layer in network.owners}


def subwords(values: np.ndarray, bits: int = 4) -> np.ndarray:
    """Magnitudes of the subwords, (..., subwords), least significant first."""
    whole = np.abs(values.astype(int))
    return np.stack([whole >> shift & (2**bits - 1) for shift in range(0, 8, bits)], axis=-1)


def accuracy(model: Model, images: Any) -> float:
    session = onnxruntime.InferenceSession(model.to_bytes(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": training.NORMALIZATION.apply(images.pixels)})
    return 100 * float((logits.argmax(1) == images.labels).mean())


@pytest.mark.parametrize("which", ["folded", "normed", "grouped", "shared"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_int8_weights_stay_int8_and_zeros_stay_zeros(which: str, variant: str) -> None:
    before, _ = prune(training.quantized(which), PruneOptions(sparsity=0.4))
    after, report = training.train(before, **VARIANTS[variant])
    onnx.checker.check_model(after.proto, full_check=True)
    old, new = matrices(before), matrices(after)
    for name in old:
        assert new[name].dtype == np.int8 and new[name].min() >= -127
        assert (new[name][old[name] == 0] == 0).all() and (new[name] != old[name]).any()
    unchanged, same = (
        [entry.scale.tolist() for entry in read_network(model).quantized.values()]
        for model in (before, after)
    )
    assert (unchanged == same) == (which == "normed"), "a norm put in goes into the scales"
    assert report.totals["nonzeros"] == sum(map(np.count_nonzero, new.values()))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("bits", [2, 4])
def test_zero_subwords_stay_zero(bits: int, variant: str) -> None:
    options = PruneOptions(sparsity=0.6, granularity="subword", subword_bits=bits)
    before, _ = prune(training.quantized("normed"), options)
    after, _ = training.train(before, granularity="subword", subword_bits=bits, **VARIANTS[variant])
    changed = False
    for name, old in matrices(before).items():
        new = matrices(after)[name]
        assert (subwords(new, bits)[subwords(old, bits) == 0] == 0).all()
        changed = changed or (new != old).any()
    assert changed


@pytest.mark.parametrize("bits", [2, 4])
def test_pruned_subwords_stay_zero_by_default(bits: int) -> None:
    options = PruneOptions(sparsity=0.6, granularity="subword", subword_bits=bits)
    before, _ = prune(training.quantized("normed"), options)
    once, _ = training.train(before, epochs=3, learning_rate=0.1)
    twice, _ = training.train(once, epochs=3, learning_rate=0.1)
    for name, old in matrices(before).items():
        assert (subwords(matrices(twice)[name], bits)[subwords(old, bits) == 0] == 0).all()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("bits", [2, 4])
def test_subwords_are_pruned_gradually_to_the_target(bits: int, variant: str) -> None:
    before = training.quantized("normed")
    options = {"granularity": "subword", "subword_bits": bits, "sparsity": 0.7, **VARIANTS[variant]}
    after, _ = training.train(before, epochs=6, **options)
    slots = sum(values.size * 8 // bits for values in matrices(before).values())
    left = sum(int((subwords(values, bits) > 0).sum()) for values in matrices(after).values())
    assert 0.75 * 0.3 * slots < left <= slots - round(0.7 * slots)


def test_aligned_subwords_fill_segments() -> None:
    after, _ = training.train(
        training.quantized("normed"), epochs=6, granularity="subword", align="4x4", budget="compression=3"
    )
    slots = parts = 0
    for values in matrices(after).values():
        slots += 2 * values.size
        parts += sum(-(-int(count) // 4) for count in (subwords(values) > 0).sum(axis=(1, 2)))
    assert 4 * parts <= slots / 3 + 4


def test_validation_accuracy_is_that_of_the_file() -> None:
    images = training.quadrants(200)
    for options in ({}, {"granularity": "subword", "sparsity": 0.8}, {"ema_decay": 0.9}):
        after, report = training.train(
            training.quantized("normed"), images, epochs=2, validation=80, **options
        )
        _, apart = split_validation(images, 80)
        assert accuracy(after, apart) == pytest.approx(report.totals["validation_accuracy"], abs=1.3)


@pytest.mark.parametrize("which", ["folded", "grouped"])
def test_an_inserted_norm_is_folded_into_scales_and_bias(which: str) -> None:
    given = training.quantized(which)
    after, _ = training.train(given, epochs=2, learning_rate=1e-12, weight_decay=0.0)
    images = training.NORMALIZATION.apply(training.quadrants().pixels)
    wanted, found = (
        onnxruntime.InferenceSession(model.to_bytes()).run(None, {"image": images})[0]
        for model in (given, after)
    )
    old, new = matrices(given), matrices(after)
    assert all(np.array_equal(old[name], new[name]) for name in old)
    scale = np.abs(wanted).max()
    assert 0 < np.abs(found - wanted).max() < 0.5 * scale  # only from other batch statistics


def test_no_norm_is_inserted_before_a_per_tensor_scale() -> None:
    given = training.quantized("folded")
    proto = given.copy_proto()
    (scale,) = (tensor for tensor in proto.graph.initializer if tensor.name == "first_w.scale")
    scale.CopyFrom(onnx.numpy_helper.from_array(np.array(0.01, np.float32), scale.name))
    (node,) = (node for node in proto.graph.node if "first_w.scale" in node.input)
    del node.attribute[:]
    alone = given.with_proto(proto)
    after, _ = training.train(alone, epochs=2, learning_rate=1e-12, weight_decay=0.0)
    before, found = training.tensors(alone), training.tensors(after)
    assert all(np.array_equal(before[name], found[name]) for name in ("first_w.int8", "first_w.scale"))
    np.testing.assert_allclose(found["first_b"], before["first_b"], atol=1e-9)


def test_filter_factors_go_into_scales_and_their_signs_into_weights() -> None:
    entry = QuantizedWeight("real", "int8", "scale", np.array([0.5, 0.25, 2.0]), 0)
    whole = np.array([[3, -127], [0, 5], [7, 1]])
    factor = np.array([-3.0, 0.0, 0.1])
    real = (whole * entry.scale[:, None] * factor[:, None]).astype(np.float32)
    found = integer_constants({"real": real}, [entry], {"real": factor})
    assert found["int8"].dtype == np.int8
    assert found["int8"].tolist() == [[-3, 127], [0, 0], [7, 1]]
    assert found["scale"].dtype == np.float32
    np.testing.assert_allclose(found["scale"], [1.5, 0.25, 0.2], rtol=1e-6)


def test_a_shared_scale_is_not_rescalable() -> None:
    model = training.quantized("folded")
    graph = read_graph(model.proto)
    first, *_ = read_network(model).quantized.values()
    assert is_rescalable(first, graph)
    assert not is_rescalable(replace(first, axis=None, scale=np.array([1.0])), graph)
    assert not is_rescalable(replace(first, axis=1), graph)
    twice = replace(graph, nodes=(*graph.nodes, *(n for n in graph.nodes if first.scale_name in n.inputs)))
    assert not is_rescalable(first, twice)


def test_quantized_training_equals_one_written_by_hand() -> None:
    """Gradients of the fake-quantized weights move the float ones: SGD along a cosine."""
    given, _ = quantize(training.network("folded"), QuantizeOptions())
    network = read_network(given)
    names = dict(zip(("first_w", "last_w"), network.layers, strict=True))
    steps = {
        name: torch.from_numpy(network.quantized[layer.weight].scale).float().reshape(-1, *[1] * axes)
        for (name, layer), axes in zip(names.items(), (3, 1), strict=True)
    }
    p = {name: torch.from_numpy(network.dequantized_tensor(layer).copy()) for name, layer in names.items()}
    p |= {name: torch.from_numpy(training.tensors(given)[name].copy()) for name in ("first_b", "last_b")}
    images, generator = training.quadrants(), torch.Generator().manual_seed(0)
    pixels = (torch.from_numpy(images.pixels).float() / 255 - 0.5) / 0.25
    labels = torch.from_numpy(images.labels)

    def whole(name: str) -> torch.Tensor:
        return (p[name] / steps[name]).round().clamp(-127, 127)

    order = [chosen for _ in range(3) for chosen in torch.randperm(64, generator=generator).split(16)]
    for step, chosen in enumerate(order):
        seen = {name: (whole(name) * steps[name] if name in names else p[name].clone()) for name in p}
        for tensor in seen.values():
            tensor.requires_grad_()
        h = functional.conv2d(pixels[chosen], seen["first_w"], seen["first_b"], padding=1).relu()
        logits = functional.linear(functional.max_pool2d(h, 4).flatten(1), seen["last_w"], seen["last_b"])
        functional.cross_entropy(logits, labels[chosen]).backward()
        rate = 0.05 * min(1.0, (step + 1) / 3) * 0.5 * (1 + math.cos(math.pi * step / 12))
        p = {name: (p[name] - rate * seen[name].grad).detach() for name in p}
    options = {
        "learning_rate": 0.05,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "warmup": 0.25,
        "unfold_batchnorm": False,
    }
    after, _ = training.train(given, epochs=3, **options)
    for name, layer in names.items():
        found = read_network(after).matrix(layer).astype(int)
        wanted = whole(name).numpy().reshape(found.shape).astype(int)
        assert (found != network.matrix(layer)).mean() > 0.3
        assert np.abs(found - wanted).max() <= 1 and (found != wanted).mean() < 0.02, name


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"granularity": "subword", "sparsity": 0.5, "regrow": 0.1},
            "--regrow: expected 0 with granularity subword, got 0.1; leave --regrow out, or take --granularity weight",
        ),
        (
            {"subword_bits": 2},
            "--subword-bits: expected granularity subword, got weight; leave it out, or add --granularity subword",
        ),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OptionError) as fault:
        training.train(training.quantized("normed"), **options)
    assert str(fault.value) == sentence


@pytest.mark.parametrize("options", [{}, {"sparsity": 0.5}])
def test_float_weights_have_no_subwords(options: dict[str, Any]) -> None:
    with pytest.raises(ModelError) as fault:
        training.train(training.network("normed"), granularity="subword", **options)
    assert str(fault.value) == (
        "normed.onnx: expected int8 weights, which have subwords, got float weights in first, last; "
        "run tightc quantize first, or skip those layers"
    )


def test_an_int8_teacher_teaches_as_its_dequantized_weights_would() -> None:
    given, _ = quantize(training.network("normed", seed=1), QuantizeOptions())
    real = read_network(given).dequantized(given)
    (first, _), (second, _) = (
        training.train(training.network("normed"), epochs=2, distill_weight=1.0, teacher=teacher)
        for teacher in (given, real)
    )
    assert any(not np.array_equal(a, b) for a, b in pairs(first, training.network("normed")))
    assert all(np.array_equal(a, b) for a, b in pairs(first, second))


def pairs(first: Model, second: Model) -> list[tuple[np.ndarray, np.ndarray]]:
    one, other = training.tensors(first), training.tensors(second)
    assert one.keys() == other.keys()
    return [(one[name], other[name]) for name in one]


def with_zero_point(model: Model, zero: int) -> Model:
    """`model` with its int8 weights as uint8 around `zero`."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    del proto.metadata_props[:]
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in tensors:
            for name, added in zip(node.input[::2], (zero, zero), strict=True):
                values = numpy_helper.to_array(tensors[name]).astype(np.int64) + added
                tensors[name].CopyFrom(numpy_helper.from_array(values.clip(0, 255).astype(np.uint8), name))
    return load_model_bytes(proto.SerializeToString(), "unsigned.onnx")


def test_weights_around_a_zero_point_train_as_int8_does() -> None:
    symmetric = training.quantized("folded")
    signed, _ = training.train(symmetric)
    unsigned, _ = training.train(with_zero_point(symmetric, 128))
    one, other = training.tensors(signed), training.tensors(unsigned)
    weights = [name for name, array in other.items() if array.dtype == np.uint8 and array.ndim > 1]
    assert len(weights) == 2
    for name in weights:
        assert np.array_equal(other[name].astype(int) - 128, one[name].astype(int))
