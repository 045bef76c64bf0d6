"""Filter pruning: which filters are removed, which inputs with them, and which must stay."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from helpers import models
from helpers.loading import loaded
from tightc.model.file import Model
from tightc.model.layer_view.layers import read_network
from tightc.pruning.options import PruneOptions
from tightc.selection.channels import ChannelGraph, Read, Write
from tightc.selection.filters import keep_filters
from tightc.selection.network.channel_dependencies import channels_of
from tightc.selection.select import Candidates


def full(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def weights(model: Model) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.proto.graph.initializer}


def of(proto: onnx.ModelProto, skip: tuple[str, ...] = ()) -> dict[str, tuple[set[str], bool]]:
    """For each layer by name, the layers that lose inputs with its first filter, and whether its filters may go."""
    model = loaded(proto)
    network = read_network(model)
    layers = [layer for layer in network.owners if layer.name not in skip]
    graph = channels_of(model, network, layers)
    none = [np.zeros(layer.filters, bool) for layer in layers]
    _, before = graph.live(none)
    found = {}
    for index, layer in enumerate(layers):
        _, after = graph.live([*none[:index], np.arange(layer.filters) == 0, *none[index + 1 :]])
        readers = {
            other.name
            for other, old, new in zip(layers, before, after, strict=True)
            if not np.array_equal(old, new)
        }
        found[layer.name] = (readers, bool(graph.removable[index].all()))
    return found


def chained(
    saliencies: list[np.ndarray],
    sources: list[int | None],
    groups: list[int] | None = None,
    removable: list[bool] | None = None,
) -> list[Candidates]:
    """Layers that read the channels of others, by number, or of the network's input."""
    groups = groups or [1] * len(saliencies)
    firsts = 2 + np.cumsum([0, *map(len, saliencies)])
    steps: list[Read | Write] = []
    for layer, (saliency, source) in enumerate(zip(saliencies, sources, strict=True)):
        channels = np.zeros(saliency.shape[1] * groups[layer], np.int64)
        if source is not None:
            channels = np.arange(firsts[source], firsts[source + 1])
        steps += [
            Read(layer, channels.reshape(groups[layer], -1)),
            Write(layer, firsts[layer], len(saliency)),
        ]
    may_go = removable or [True] * len(saliencies)
    unread = [np.arange(*firsts[layer : layer + 2]) for layer in range(len(sources)) if layer not in sources]
    graph = ChannelGraph(
        count=int(firsts[-1]),
        steps=tuple(steps),
        removable=tuple(
            np.full(len(saliency), may) for saliency, may in zip(saliencies, may_go, strict=True)
        ),
        read=np.concatenate(unread),
    )
    return [
        Candidates(saliency, count, channels=graph)
        for saliency, count in zip(saliencies, groups, strict=True)
    ]


def filtered(sparsity: float, **more: object) -> PruneOptions:
    return PruneOptions.of({"sparsity": sparsity, "granularity": "filter", **more})


# --- which filters


def left_by_hand(
    saliencies: list[np.ndarray], sources: list[int | None], removed: set[tuple[int, int]]
) -> list:
    """A weight stays if its filter stays and, with a source, the filter that it reads."""
    kept = []
    for place, saliency in enumerate(saliencies):
        layer = np.ones(saliency.shape, bool)
        for row in range(saliency.shape[0]):
            for column in range(saliency.shape[1]):
                source = sources[place]
                if (place, row) in removed:
                    layer[row, column] = False
                elif source is not None:
                    each = saliency.shape[1] // saliencies[source].shape[0]
                    layer[row, column] = bool(kept[source][column // each].any())
        kept.append(layer)
    return kept


@settings(max_examples=60)
@given(
    st.integers(0, 10_000),
    st.sampled_from([0.05, 0.2, 0.5, 0.8, 0.97]),
    st.booleans(),
    st.sampled_from([0.0, 1.0]),
)
def test_filters_are_removed_from_the_least_salient_until_the_fraction_is_met(
    seed: int, fraction: float, by_layer: bool, min_density: float
) -> None:
    rng = np.random.default_rng(seed)
    shapes, sources = [(4, 9), (3, 8), (5, 12)], [None, 0, 1]
    saliencies = [np.square(rng.normal(size=shape)) for shape in shapes]
    candidates = chained(saliencies, sources)
    means = [saliency.mean(axis=1) for saliency in saliencies]
    protected, order = set(), []
    for place, mean in enumerate(means):
        ranked = sorted(range(len(mean)), key=lambda row: mean[row])
        count = max(
            1, round(min_density * fraction * len(mean)), math.ceil(math.sqrt(fraction) / 4 * len(mean))
        )
        protected |= {(place, row) for row in ranked[len(ranked) - count :]}
        order += [
            ((rank + 0.5) / len(mean) if by_layer else mean[row], place, row)
            for rank, row in enumerate(ranked)
        ]
    order = [(place, row) for _, place, row in sorted(order) if (place, row) not in protected]
    total = sum(saliency.size for saliency in saliencies)
    removed: set[tuple[int, int]] = set()
    for one in order:
        if sum(kept.sum() for kept in left_by_hand(saliencies, sources, removed)) <= fraction * total:
            break
        removed.add(one)
    found = keep_filters(candidates, fraction, min_density, by_layer=by_layer)
    for ours, expected in zip(found, left_by_hand(saliencies, sources, removed), strict=True):
        assert np.array_equal(ours, expected)


def test_inputs_removed_earlier_do_not_lower_the_saliency_of_a_filter() -> None:
    one = np.array([[4.0, 0, 0, 0], [4.0, 0, 0, 0]])
    other = np.array([[1.1, 1.1, 1.1, 1.1], [1.2, 1.2, 1.2, 1.2]])
    ours, theirs = keep_filters([Candidates(one), Candidates(other)], 0.8, 0, by_layer=False)
    assert ours.all() and theirs.tolist() == [[False] * 4, [True] * 4]


def test_a_layer_that_can_lose_no_filter_keeps_all_but_loses_inputs() -> None:
    saliencies = [np.array([[1.0], [2.0], [3.0]]), np.full((2, 6), 0.1)]
    layers = chained(saliencies, [None, 0], removable=[True, False])
    ours, theirs = keep_filters(layers, 0.1, 0, by_layer=False)
    assert ours.ravel().tolist() == [False, False, True]
    assert theirs.tolist() == [[False] * 4 + [True] * 2] * 2


def test_a_depthwise_filter_is_removed_with_its_channel_and_the_next_layers_inputs() -> None:
    saliencies = [np.array([[1.0, 1], [9, 9], [2, 2]]), np.ones((3, 4)), np.ones((2, 3))]
    layers = chained(saliencies, [None, 0, 1], groups=[1, 3, 1], removable=[True, False, False])
    _, inner, after = keep_filters(layers, 0.7, 0, by_layer=False)
    assert inner.all(axis=1).tolist() == [False, True, True] and inner.any(axis=1).tolist() == [
        False,
        True,
        True,
    ]
    assert after.tolist() == [[False, True, True]] * 2


# --- channel dependencies


def test_a_chain_is_followed_through_norms_activations_pooling_and_flattening() -> None:
    proto = models.build(
        """net (float[B, 3, 8, 8] x) => (float[B, 5] y) {
            [one] a = Conv<pads = [1, 1, 1, 1]>(x, w1)
            b = BatchNormalization(a, s, s, s, s)
            c = Relu(b)
            d = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(c)
            [two] e = Conv(d, w2)
            f = Sigmoid(e)
            g = Mul(e, f)
            h = Mul(g, half)
            i = Flatten(h)
            [three] j = Gemm<transB = 1>(i, w3)
            k = Clip(j)
            [four] l = MatMul(k, w4)
            y = Add(l, bias)
        }""",
        w1=full(4, 3, 3, 3), s=np.ones(4, np.float32), w2=full(6, 4, 3, 3), half=np.float32(0.5),
        w3=full(7, 24), w4=full(7, 5), bias=np.ones(5, np.float32),
    )  # fmt: skip
    assert of(proto) == {
        "one": ({"two"}, True),
        "two": ({"three"}, True),
        "three": ({"four"}, True),
        "four": (set(), False),
    }
    assert of(proto, skip=("two",)) == {
        "one": (set(), True),
        "three": ({"four"}, True),
        "four": (set(), False),
    }


def test_channels_that_are_added_are_dead_if_both_are() -> None:
    proto = models.build(
        """net (float[1, 4, 6, 6] x) => (float[1, 2, 6, 6] y) {
            [stem] a = Conv<pads = [1, 1, 1, 1]>(x, w1)
            b = Relu(a)
            [inner] c = Conv<pads = [1, 1, 1, 1]>(b, w2)
            [outer] d = Conv<pads = [1, 1, 1, 1]>(c, w3)
            e = Add(b, d)
            [after] f = Conv<pads = [1, 1, 1, 1]>(e, w4)
            g = Concat<axis = 1>(f, b)
            [last] y = Conv(g, w5)
        }""",
        w1=full(4, 4, 3, 3), w2=full(4, 4, 3, 3, seed=1), w3=full(4, 4, 3, 3, seed=2), w4=full(4, 4, 3, 3, seed=3),
        w5=full(2, 8, 1, 1),
    )  # fmt: skip
    assert of(proto) == {
        "stem": ({"inner", "last"}, True),
        "inner": ({"outer"}, True),
        "outer": (set(), True),
        "after": ({"last"}, True),
        "last": (set(), False),
    }
    model = loaded(proto)
    network = read_network(model)
    graph = channels_of(model, network, network.owners)
    first = np.arange(4) == 0
    removed = [first, np.zeros(4, bool), first, np.zeros(4, bool), np.zeros(2, bool)]
    _, channels = graph.live(removed)
    assert channels[3].tolist() == [[False, True, True, True]]


def test_what_reaches_an_output_past_all_other_layers_stays() -> None:
    proto = models.build(
        """net (float[1, 4, 6, 6] x) => (float[1, 4, 6, 6] y) {
            [one] a = Conv<pads = [1, 1, 1, 1]>(x, w1)
            [two] b = Conv<pads = [1, 1, 1, 1]>(a, w2)
            y = Add(a, b)
        }""",
        w1=full(4, 4, 3, 3),
        w2=full(4, 4, 3, 3, seed=1),
    )
    assert of(proto) == {"one": ({"two"}, False), "two": (set(), False)}


def test_what_reaches_an_output_through_a_branch_stays() -> None:
    model = loaded(models.with_if("v"))
    network = read_network(model)
    graph = channels_of(model, network, network.owners)
    assert not graph.removable[0].any() and not graph.obstacles


def test_grouped_layers_lose_inputs_and_depthwise_ones_follow() -> None:
    proto = models.build(
        """net (float[1, 3, 6, 6] x) => (float[1, 2, 2, 2] y) {
            [one] a = Conv(x, w1)
            [deep] b = Conv<group = 4>(a, w2)
            [pairs] c = Conv<group = 2, pads = [1, 1, 1, 1]>(b, w3)
            [last] y = Conv(c, w4)
        }""",
        w1=full(4, 3, 3, 3), w2=full(4, 1, 3, 3), w3=full(6, 2, 3, 3), w4=full(2, 6, 1, 1),
    )  # fmt: skip
    assert of(proto) == {
        "one": ({"deep", "pairs"}, True),
        "deep": ({"pairs"}, False),
        "pairs": ({"last"}, True),
        "last": (set(), False),
    }


@pytest.mark.parametrize("name", ["shared weight", "matmul left", "gemm transA", "weight through Identity"])
def test_outputs_of_unusual_layers_stay(name: str) -> None:
    assert not any(removable for _, removable in of(models.FORMS[name]()).values())


def test_a_matmul_that_reads_an_image_row_by_row_reads_all_channels_in_each_input() -> None:
    proto = models.build(
        """net (float[1, 3, 6, 6] x) => (float[1, 4, 4, 5] y) {
            [conv] a = Conv(x, w)
            [rows] y = MatMul(a, v)
        }""",
        w=full(4, 3, 3, 3),
        v=full(4, 5),
    )
    assert of(proto) == {"conv": (set(), True), "rows": (set(), False)}


def test_a_reshape_that_mixes_images_with_pixels_removes_what_is_zero_in_all() -> None:
    proto = models.build(
        """net (float[2, 3, 4, 4] x) => (float[4, 5] y) {
            [conv] a = Conv(x, w)
            b = Reshape(a, shape)
            [last] y = Gemm(b, v)
        }""",
        w=full(4, 3, 3, 3),
        shape=np.array([4, 8]),
        v=full(8, 5),
    )
    assert of(proto) == {"conv": (set(), True), "last": (set(), False)}
