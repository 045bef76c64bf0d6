"""Weights on which no output depends any more go before others, whatever their magnitude."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from helpers import models, training
from helpers.loading import loaded
from tightc.model.layer_view.idle_weights import idle_weights
from tightc.model.layer_view.layers import read_network
from tightc.pruning.live_selection import idle_in
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune

CHAIN = """net (float[1, 3, 6, 6] x) => (float[1, F, 6, 6] y) {
    a = Conv(x, u, p)
    r = Relu(a)
    b = Conv(r, v)
    s = Relu(b)
    y = Conv(s, w)
}"""
WEIGHTS = ("u", "v", "w")
SHAPES = ((8, 3), (8, 8), (4, 8))


def chain(u: np.ndarray, v: np.ndarray, w: np.ndarray) -> onnx.ModelProto:
    """Three layers without kernels; the bias of the first is negative, so an empty filter is zero behind the Relu."""
    return models.build(
        CHAIN,
        p=np.full(len(u), -0.1, np.float32),
        **{
            name: array[:, :, None, None].astype(np.float32)
            for name, array in zip(WEIGHTS, (u, v, w), strict=True)
        },
    )


def tensors(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def pruned(proto: onnx.ModelProto, **options: Any) -> dict[str, np.ndarray]:
    model, _ = prune(loaded(proto), PruneOptions.of(options))
    return {name: tensors(model.proto)[name][:, :, 0, 0] for name in WEIGHTS}


def weak_filter() -> onnx.ModelProto:
    """Filter 1 of the first layer has small weights, its readers the largest; the last layer hardly reads filter 2."""
    u = np.array([[1.0, 1.1, 1.2], [0.1, 0.11, 0.12], [1.3, 1.4, 1.5]])
    v = np.array([[1.0, 9.0, 1.1], [1.2, 9.1, 1.3], [2.0, 9.2, 2.1]])
    w = np.array([[1.5, 1.6, 0.2], [1.7, 1.8, 0.21], [1.4, 1.9, 0.22], [1.1, 1.0, 0.23]])
    return chain(u, v, w)


def test_what_reads_an_empty_filter_and_what_nobody_reads_is_pruned() -> None:
    """30 weights, of which 17 stay: those of the filters 0 and 2, 0 and 1, and of all."""
    found = pruned(weak_filter(), sparsity=13 / 30)
    assert not found["u"][1].any() and not found["v"][:, 1].any(), "9.0 reads zeros"
    assert not found["w"][:, 2].any() and not found["v"][2].any(), "2.0 is read by nobody"
    assert sum(np.count_nonzero(array) for array in found.values()) == 17


def test_a_mask_or_a_filter_is_taken_at_its_word() -> None:
    proto = weak_filter()
    whole = pruned(proto, sparsity=0.3, granularity="filter")
    kept = {name: (array != 0).any(axis=1) for name, array in whole.items()}
    assert all((array[kept[name]].all(axis=0) | ~array.any(axis=0)).all() for name, array in whole.items())


def test_idle_weights_stay_before_those_a_millionth_as_large() -> None:
    """Of 12 weights 7 stay, and only 5 count: the others are idle, or too small to be worth more."""
    u, v = np.array([[1.0, 1.0, 1.0], [1e-8, 1e-8, 1e-8]]), np.array([[1.0, 9.0], [1e-7, 9.0]])
    found = pruned(chain(u, v, np.array([[1.0, 1.0]])), sparsity=5 / 12)
    assert found["u"].tolist() == [[1, 1, 1], [0, 0, 0]]
    assert found["v"].tolist() == [[1, 9], [0, 9]]
    assert found["w"].tolist() == [[1, 0]]


def largest(layers: list[np.ndarray], count: int) -> list[np.ndarray]:
    """The largest weights of all layers, and of each layer at least one."""
    order = np.argsort(-np.abs(np.concatenate([layer.ravel() for layer in layers])))
    flags = np.zeros(len(order), bool)
    sizes = np.cumsum([layer.size for layer in layers])[:-1]
    firsts = [start + int(np.abs(layer).argmax()) for start, layer in zip([0, *sizes], layers, strict=True)]
    flags[firsts] = True
    for place in order:
        if flags.sum() == count:
            break
        flags[place] = True
    return [part.reshape(layer.shape) for part, layer in zip(np.split(flags, sizes), layers, strict=True)]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.7, 0.85]))
def test_fewer_weights_are_kept_in_vain_than_by_magnitude_alone(seed: int, sparsity: float) -> None:
    random = np.random.default_rng(seed)
    layers = [random.normal(size=shape) * random.exponential(size=(shape[0], 1)) for shape in SHAPES]
    proto = chain(*layers)
    model, _ = prune(loaded(proto), PruneOptions.of({"sparsity": sparsity}))
    after = tensors(model.proto)
    total = sum(layer.size for layer in layers)
    count = total - round(sparsity * total)
    assert sum(np.count_nonzero(after[name]) for name in WEIGHTS) == count
    plain = chain(*(layer * flags for layer, flags in zip(layers, largest(layers, count), strict=True)))
    in_vain = idle(plain)
    assert idle(model.proto) < in_vain or in_vain == 0 or idle(model.proto) == in_vain == count
    if in_vain == 0:
        assert all((after[name] == tensors(plain)[name]).all() for name in WEIGHTS)


def idle(proto: onnx.ModelProto) -> int:
    model = loaded(proto)
    return sum(int(flags.sum()) for flags in idle_weights(model, read_network(model)).values())


def test_a_subword_is_idle_with_its_weight() -> None:
    """Of two subwords each; one that is kept keeps its weight."""
    model = loaded(weak_filter())
    network = read_network(model)
    layers = network.owners
    masks = [
        network.matrix(layer) >= 1.0 for layer in layers
    ]  # the weak filter 1 goes, and all that reads filter 2
    whole = idle_in(model, network, layers)(masks)
    parts = [np.stack([mask, np.zeros_like(mask)], axis=2).reshape(len(mask), -1) for mask in masks]
    found = idle_in(model, network, layers, 2)(parts)
    assert whole and found.keys() == whole.keys()
    for number, flags in whole.items():
        assert (found[number] == np.repeat(flags, 2, axis=1)).all()


def test_subwords_are_balanced_between_layers_too() -> None:
    """As many subwords of four bits, divided otherwise."""
    kept = {}
    for criterion in ("magnitude", "balanced"):
        options = PruneOptions.of({"granularity": "subword", "sparsity": 0.6, "criterion": criterion})
        pruned, _ = prune(training.quantized("folded"), options)
        weights = [
            array for array in tensors(pruned.proto).values() if array.dtype == np.int8 and array.ndim > 1
        ]
        magnitudes = [np.abs(array.astype(np.int64)) for array in weights]
        kept[criterion] = [int((one % 16 > 0).sum() + (one // 16 > 0).sum()) for one in magnitudes]
    assert len(kept["magnitude"]) == 2
    assert kept["magnitude"] != kept["balanced"]
    assert sum(kept["magnitude"]) == sum(kept["balanced"]) == 2 * 200 - round(0.6 * 2 * 200)
