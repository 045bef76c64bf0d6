"""Batch normalization inserted for training and folded after it keeps the outputs."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper, parser

from tightc.bridge.module import TorchGraph
from tightc.finetuning.network.batchnorm_unfolding import fold, insertable_norms, unfold
from tightc.model.onnx_proto.graph import Graph, read_graph

CPU = torch.device("cpu")
TWO_CONVS = (
    "a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)\nr = Relu (a)\n"
    "c = Conv <group = 2> (r, w2, b2)\ny = GlobalAveragePool (c)"
)


def build(text: str = TWO_CONVS, seed: int = 0) -> Graph:
    proto = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g (float[b, 2, 6, 6] x) => (float[b, 6, 1, 1] y) {{ {text} }}'
    )
    random = np.random.default_rng(seed)
    for name, shape in {"w1": (4, 2, 3, 3), "b1": (4,), "w2": (6, 2, 3, 3), "b2": (6,), "s": (4,)}.items():
        array = random.standard_normal(shape).astype(np.float32)
        if name == "w1":
            array[0] = 0  # a filter without weights
            array[1:, 0, 0] = 0
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.checker.check_model(proto)
    return read_graph(proto)


def images(seed: int = 0) -> list[torch.Tensor]:
    return list(torch.randn(3, 8, 2, 6, 6, generator=torch.Generator().manual_seed(seed)))


def batches() -> list[tuple[torch.Tensor]]:
    return [(batch,) for batch in images()]


def outputs(graph: Graph) -> torch.Tensor:
    with torch.no_grad():
        (found,) = TorchGraph(graph).eval()(torch.cat(images()))
    return found


@pytest.mark.parametrize("quiet", [1.0, 1e-3])
def test_unfolding_keeps_the_outputs(quiet: float) -> None:
    """Also with variances as small as the epsilon of the norms."""
    graph = build()
    quieter = {name: graph.tensors[name] * np.float32(quiet) for name in ("w1", "b1")}
    graph = Graph(graph.nodes, {**graph.tensors, **quieter}, graph.inputs, graph.outputs, graph.opset)
    norms = insertable_norms(graph)
    assert [norm.node.label for norm in norms] == ["a", "c"]
    torch.testing.assert_close(
        outputs(unfold(graph, norms, batches(), CPU)[0]), outputs(graph), rtol=1e-4, atol=1e-5
    )


def test_all_layers_are_rescaled_to_one_filter_norm() -> None:
    graph = build()
    norms = insertable_norms(graph)
    found, factors = unfold(graph, norms, batches(), CPU)
    assert set(factors) == {"w1", "w2"}
    for name, factor in factors.items():
        old, new = graph.tensors[name], found.tensors[name]
        np.testing.assert_allclose(new, old * factor, rtol=1e-6)
        sizes = np.linalg.norm(new.reshape(len(new), -1), axis=1)
        assert (sizes == 0).sum() == (1 if name == "w1" else 0)
        assert np.sqrt(np.mean(sizes[sizes > 0] ** 2)) == pytest.approx(2)


def test_a_layer_without_weights_keeps_its_size() -> None:
    graph = build()
    empty = {**graph.tensors, "w1": np.zeros_like(graph.tensors["w1"])}
    graph = Graph(graph.nodes, empty, graph.inputs, graph.outputs, graph.opset)
    _, factors = unfold(graph, insertable_norms(graph), batches(), CPU)
    assert factors["w1"] == 1


def test_folding_a_trained_network_keeps_its_outputs() -> None:
    graph = build()
    norms = insertable_norms(graph)
    module = TorchGraph(unfold(graph, norms, batches(), CPU)[0]).train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for batch in images():
        module(batch)[0].square().sum().backward()
        optimizer.step()
    trained = module.trained()
    back, factors = fold(trained, norms)
    for name, factor in factors.items():
        np.testing.assert_allclose(back[name], trained[name] * factor.reshape(-1, 1, 1, 1), rtol=1e-6)
    assert set(back) == {"w1", "b1", "w2", "b2"}
    assert all(array.dtype == np.float32 for array in back.values())
    with torch.no_grad():
        (wanted,) = module.eval()(torch.cat(images()))
    folded_graph = Graph(graph.nodes, {**graph.tensors, **back}, graph.inputs, graph.outputs, graph.opset)
    torch.testing.assert_close(outputs(folded_graph), wanted, rtol=1e-4, atol=1e-5)


def test_zeros_come_back_as_zeros_without_a_sign() -> None:
    graph = build()
    norms = insertable_norms(graph)
    trained = TorchGraph(unfold(graph, norms, batches(), CPU)[0]).trained()
    for norm in norms:
        trained[norm.scale] = -trained[norm.scale]
    back, _ = fold(trained, norms)
    zero = graph.tensors["w1"] == 0
    assert (back["w1"][zero] == 0).all()
    assert not np.signbit(back["w1"][zero]).any()


def test_teacher_gives_each_channel_its_mean_and_variance() -> None:
    graph, teacher = build(), build(seed=1)
    norms = insertable_norms(graph)
    found, _ = unfold(graph, norms, batches(), CPU, teacher)
    first = TorchGraph(Graph(teacher.nodes, teacher.tensors, teacher.inputs, ("a",), teacher.opset))
    with torch.no_grad():
        (wanted,) = first(torch.cat(images()))
    np.testing.assert_allclose(found.tensors["a/shift"], wanted.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        found.tensors["a/scale"], wanted.std((0, 2, 3), correction=0), rtol=1e-3, atol=4e-3
    )


def test_statistics_of_a_teacher_with_other_convolutions_are_not_used() -> None:
    graph = build()
    norms = insertable_norms(graph)
    other = build(TWO_CONVS.replace("a = Conv", "z = Conv").replace("(a)", "(z)"), seed=1)
    alone, _ = unfold(graph, norms, batches(), CPU)
    with_teacher, _ = unfold(graph, norms, batches(), CPU, other)
    assert all(np.array_equal(alone.tensors[name], with_teacher.tensors[name]) for name in alone.tensors)


@pytest.mark.parametrize(
    "text",
    [
        "a = Conv <pads = [1, 1, 1, 1]> (x, w1)\nr = Conv <group = 2> (a, w2)\ny = GlobalAveragePool (r)",
        "a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)\nn = BatchNormalization (a, s, s, s, s)\n"
        "c = Conv <group = 2> (n, w2)\ny = GlobalAveragePool (c)",
        "r = GlobalAveragePool (x)\nc = Concat <axis = 1> (r, r, r)\ny = Relu (c)",
    ],
    ids=["no bias", "its own norm", "no convolution"],
)
def test_convolutions_that_cannot_fold_a_norm_get_none(text: str) -> None:
    assert insertable_norms(build(text)) == []
