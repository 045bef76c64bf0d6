"""Exports that fix their batch, run on more samples at once: by onnxruntime and in torch one batch after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from helpers.zoo.families import FAMILIES, QUICK, Form, export
from tightc.bridge.module import TorchGraph
from tightc.model.onnx_proto.graph import Graph, read_graph

SAMPLES = 3
HOLD_THEIR_BATCH = ("shufflenet", "vit", "swin", "ssd", "yolo", "densenet")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The file of a family, exported with a batch of 1."""
    folder = tmp_path_factory.mktemp("fixed")

    def path_of(name: str) -> Path:
        path = folder / f"{name}.onnx"
        return path if path.exists() else export(name, QUICK, path)

    return path_of


def graph_of(path: Path) -> Graph:
    return read_graph(onnx.load(path))


def samples_of(name: str, count: int = SAMPLES) -> torch.Tensor:
    shape = (count, *FAMILIES[name].shape)
    return torch.from_numpy(np.random.default_rng(3).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("name", FAMILIES)
def test_outputs_are_those_of_onnxruntime_one_by_one(exported: Callable[[str], Path], name: str) -> None:
    path, samples = exported(name), samples_of(name)
    session = onnxruntime.InferenceSession(path)
    each = [session.run(None, {"input": sample[None].numpy()}) for sample in samples]
    with torch.no_grad():
        found = TorchGraph(replace(graph_of(path), micro_batch=1)).eval()(samples)
    for values, tensor in zip(zip(*each, strict=True), found, strict=True):
        wanted = np.concatenate(values)
        np.testing.assert_allclose(tensor.numpy(), wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("name", HOLD_THEIR_BATCH)
def test_gradients_are_the_sum_of_those_of_each_sample(exported: Callable[[str], Path], name: str) -> None:
    graph, samples = graph_of(exported(name)), samples_of(name)
    together, alone = TorchGraph(replace(graph, micro_batch=1)).eval(), TorchGraph(graph).eval()
    for module, batches in ((together, [samples]), (alone, samples.split(1))):
        for batch in batches:
            torch.stack([output.square().sum() for output in module(batch)]).sum().backward()
    for tensor in graph.tensors:
        if tensor in alone.roles and alone.parameter(tensor).grad is not None:
            wanted = alone.parameter(tensor).grad
            bound = 1e-4 * float(wanted.abs().max())
            torch.testing.assert_close(together.parameter(tensor).grad, wanted, rtol=0, atol=bound)


@pytest.mark.parametrize("samples", [1, 2, 3, 5, 6])
def test_the_last_batch_is_filled_and_its_filling_left_out(tmp_path: Path, samples: int) -> None:
    path = export("shufflenet", Form(17, open_batch=True), tmp_path / "open.onnx")
    proto = onnx.shape_inference.infer_shapes(onnx.load(path))
    fixed = replace(read_graph(proto), micro_batch=3)
    given = samples_of("shufflenet", samples)
    with torch.no_grad():
        (found,) = TorchGraph(fixed).eval()(given)
    (wanted,) = onnxruntime.InferenceSession(path).run(None, {"input": given.numpy()})
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-4 * np.abs(wanted).max())


def test_an_operator_that_reads_sizes_gives_those_of_one_batch() -> None:
    text = """<ir_version: 8, opset_import: ["" : 18]> g (float[2, 3, 4] x) => (float[2, 12] y) {
      s = Shape<end = 1>(x)\nrest = Constant<value_ints = [-1]>()
      to = Concat<axis = 0>(s, rest)\ny = Reshape(x, to)\n}"""
    graph = replace(read_graph(onnx.parser.parse_model(text)), micro_batch=2)
    x = torch.arange(72.0).reshape(6, 3, 4)
    torch.testing.assert_close(TorchGraph(graph)(x)[0], x.reshape(6, 12))
