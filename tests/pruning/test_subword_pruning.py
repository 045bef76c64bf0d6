"""Subwords of int8 weights, pruned one by one."""

from __future__ import annotations

from itertools import product

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from helpers import models
from helpers.loading import loaded
from tightc.data.images import Images, Normalization, NormalizedImages
from tightc.errors import ModelError, OptionError
from tightc.model.file import Model
from tightc.model.layer_view.layers import read_network
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.quantization.options import QuantizeOptions
from tightc.quantization.quantize import quantize

BITS = pytest.mark.parametrize("bits", [2, 4])


def quantized(form: str = "cnn") -> Model:
    return quantize(loaded(models.FORMS[form]()), QuantizeOptions())[0]


def subwords(value: int, bits: int) -> int:
    """How many subwords of a magnitude are not zero."""
    return sum(abs(value) >> shift & (2**bits - 1) > 0 for shift in range(0, 8, bits))


def used(model: Model, bits: int) -> list[list[int]]:
    """Subwords of each filter of each layer."""
    network = read_network(model)
    return [
        [sum(subwords(int(value), bits) for value in row) for row in network.matrix(layer)]
        for layer in network.owners
    ]


def gemm(values: list[list[int]], scale: list[float]) -> Model:
    proto = models.build(
        f"""net (float[1, {len(values[0])}] x) => (float[1, {len(values)}] y) {{
            w = DequantizeLinear<axis = 0>(q, s)
            [g] y = Gemm<transB = 1>(x, w)
        }}""",
        q=np.array(values, np.int8),
        s=np.array(scale, np.float32),
    )
    return loaded(proto)


@BITS
@pytest.mark.parametrize("sparsity", [0.3, 0.6, 0.85])
@pytest.mark.parametrize("form", ["cnn", "grouped", "matmul right", "shared weight"])
def test_the_sparsity_is_of_subwords(form: str, sparsity: float, bits: int) -> None:
    model = quantized(form)
    pruned, report = prune(model, PruneOptions(sparsity=sparsity, granularity="subword", subword_bits=bits))
    network = read_network(model)
    total = sum(network.matrix(layer).size for layer in network.owners) * (8 // bits)
    left = sum(map(sum, used(pruned, bits)))
    assert left <= total - round(sparsity * total)
    before = sum(map(sum, used(model, bits)))
    assert (
        left == min(before, total - round(sparsity * total)) or bits == 2
    )  # fewer if subwords reduce no error
    assert report.totals["nonzeros"] > 0
    onnx.checker.check_model(pruned.proto, full_check=True)


def test_no_choice_of_as_many_subwords_has_a_smaller_error() -> None:
    values, scale = [[0x7F, 0x10, -0x0B], [0x3C, -0x18, 0x01]], [0.5, 1.0]
    flat = [(value, scale[f]) for f, row in enumerate(values) for value in row]

    def closest(value: int, most: int) -> int:
        return min((v for v in range(128) if subwords(v, 4) <= most), key=lambda v: abs(v - abs(value)))

    def error(many: tuple[int, ...]) -> float:
        return sum(((abs(v) - closest(v, n)) * s) ** 2 for n, (v, s) in zip(many, flat, strict=True))

    for left in range(6, 12):
        options = PruneOptions(sparsity=1 - left / 12, granularity="subword")
        network = read_network(prune(gemm(values, scale), options)[0])
        found = network.matrix(network.layers[0]).ravel().tolist()
        assert sum(subwords(v, 4) for v in found) <= left
        best = min(error(many) for many in product(range(3), repeat=6) if sum(many) <= left)
        found_error = sum(((abs(v) - abs(w)) * s) ** 2 for w, (v, s) in zip(found, flat, strict=True))
        assert found_error == pytest.approx(best, rel=1e-6)


@BITS
def test_segments_are_of_subwords_and_a_budget_counts_whole_words(bits: int) -> None:
    budget = "compression=8"
    options = PruneOptions.of(
        {"align": "8x8", "budget": budget, "granularity": "subword", "subword_bits": bits}
    )
    model = quantized()
    pruned, _ = prune(model, options)
    network = read_network(model)
    slots = sum(network.matrix(layer).size for layer in network.owners) * (8 // bits)
    segments = sum(-(-count // 8) for rows in used(pruned, bits) for count in rows)
    assert 8 * segments <= slots / 8 + 8
    assert sum(map(sum, used(pruned, bits))) > 0.8 * slots / 8


def test_float_weights_and_minus_128_have_no_subwords() -> None:
    options = PruneOptions(sparsity=0.5, granularity="subword")
    with pytest.raises(ModelError) as fault:
        prune(loaded(models.cnn()), options)
    assert str(fault.value).startswith(
        "net.onnx: expected int8 weights, which have subwords, got float weights in "
    )
    assert str(fault.value).endswith("; run tightc quantize first, or skip those layers")
    with pytest.raises(ModelError) as fault:
        prune(gemm([[1, -128]], [1.0]), options)
    assert str(fault.value) == (
        "net.onnx: expected values from -127 to 127 in the weight q, got -128; quantize it to that range, "
        "as tightc quantize does"
    )


def test_skipped_layers_may_be_float() -> None:
    model, _ = quantize(loaded(models.cnn()), QuantizeOptions(skip=("last",)))
    pruned, _ = prune(model, PruneOptions(sparsity=0.7, granularity="subword", skip=("last",)))
    for name in ("last",):
        layers = {layer.name: layer for layer in read_network(pruned).layers}
        old = {layer.name: layer for layer in read_network(model).layers}
        assert np.array_equal(
            read_network(pruned).matrix(layers[name]), read_network(model).matrix(old[name])
        )


def test_other_criteria_are_refused() -> None:
    images = Images(np.zeros((4, 3, 8, 8), np.uint8), np.zeros(4, np.int64), ("a",))
    with pytest.raises(ModelError, match="--criterion obs: expected float weights, got int8"):
        prune(
            quantized(),
            PruneOptions(sparsity=0.5, granularity="subword", criterion="obs"),
            NormalizedImages(images, Normalization()),
        )


def test_subword_bits_need_granularity_subword() -> None:
    with pytest.raises(OptionError) as fault:
        PruneOptions.of({"sparsity": 0.5, "subword_bits": 2})
    assert (
        str(fault.value)
        == "--subword-bits: expected granularity subword, got weight; leave it out, or add --granularity subword"
    )


def test_only_int8_tensors_change() -> None:
    model = quantized()
    pruned, _ = prune(model, PruneOptions(sparsity=0.6, granularity="subword"))
    before = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.proto.graph.initializer}
    for tensor in pruned.proto.graph.initializer:
        after = numpy_helper.to_array(tensor)
        if after.dtype != np.int8:
            assert after.tobytes() == before[tensor.name].tobytes()
