"""The bridge against onnxruntime where sizes and coordinates are a matter of rounding: pools and resizes."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, parser

from helpers import sized
from helpers.loading import loaded
from helpers.sized import Sized, by_onnxruntime
from tightc.bridge.module import TorchGraph
from tightc.errors import ModelError
from tightc.model.onnx_proto.graph import read_graph


def by_bridge(case: Sized) -> np.ndarray:
    with torch.no_grad():
        return TorchGraph(read_graph(case.model())).eval()(torch.from_numpy(case.image()))[0].numpy()


def check(case: Sized) -> None:
    """Shape and values are those of a run, or the error names the window that is larger than its input."""
    found = by_onnxruntime(case.model(), ["z"], x=case.image())
    if found is None:
        return
    try:
        given_values = by_bridge(case)
    except ModelError as refusal:
        window = re.search(
            r"expected a padded input of at least its window's size, (\d+), got (-?\d+);", str(refusal)
        )
        assert window and int(window[1]) > int(window[2])
        return
    assert given_values.shape == found[0].shape
    np.testing.assert_allclose(given_values, found[0], rtol=1e-4, atol=1e-5)


CASES = sized.POOLS | sized.RESIZES


@pytest.mark.parametrize("case", CASES)
def test_sizes_and_values_are_those_of_onnxruntime(case: str) -> None:
    (found,) = by_onnxruntime(CASES[case].model(), ["z"], x=CASES[case].image()) or []
    np.testing.assert_allclose(by_bridge(CASES[case]), found, rtol=1e-4, atol=1e-5)


@given(st.one_of(sized.pools(), sized.resizes()))
@settings(max_examples=200)
def test_sizes_and_values_of_any_pool_and_resize_are_those_of_onnxruntime(case: Sized) -> None:
    check(case)


def test_a_window_that_does_not_fit_is_refused() -> None:
    case = Sized("AveragePool", (1, 1, 6, 6, 1), (), {"kernel_shape": [3, 2, 2], "ceil_mode": 0})
    with pytest.raises(
        ModelError,
        match=r"^operator AveragePool of node sized: expected a padded input of at least its window's size, 2, got 1;",
    ):
        by_bridge(case)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize(
    ("shape", "kernel", "strides"),
    [((11, 13), (2, 1), (9, 13)), ((12,), (2,), (6,)), ((3, 6), (1, 1), (1, 6))],
)
def test_a_convolution_with_strides_that_cut_pixels_off(
    auto_pad: str, shape: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    weight = np.random.default_rng(1).standard_normal((3, 2, *kernel)).astype(np.float32)
    case = Sized("Conv", (2, 2, *shape), (weight,), {"auto_pad": auto_pad, "strides": list(strides)})
    (found,) = by_onnxruntime(case.model(), ["z"], x=case.image()) or []
    np.testing.assert_allclose(by_bridge(case), found, rtol=1e-4, atol=1e-5)


def test_a_network_with_resize_trains_as_onnxruntime_runs_it() -> None:
    """Outputs before a step, and after it from the weights that the step gave."""
    model = loaded(sized.scaled())
    image = np.random.default_rng(0).standard_normal((4, 3, 10, 10)).astype(np.float32)
    module = TorchGraph(read_graph(model.proto))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(2):
        (outputs,) = module(torch.from_numpy(image))
        (found,) = by_onnxruntime(model.with_tensors(module.trained()).proto, ["y"], x=image) or []
        np.testing.assert_allclose(outputs.detach().numpy(), found, rtol=1e-4, atol=1e-5)
        outputs.square().sum().backward()
        assert all(weight.grad is not None and weight.grad.any() for weight in module.weights())
        optimizer.step()


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("operator", ["AveragePool", "MaxPool"])
def test_pools_in_float16(operator: str, dimensions: int) -> None:
    """torch has no mean over three dimensions in float16 on the CPU."""
    kernel = [2] * dimensions
    graph = parser.parse_graph(
        f"g (float16[1,2{',6' * dimensions}] x) => (float16[1,2{',5' * dimensions}] z) "
        f"{{ z = {operator} <kernel_shape = {kernel}> (x) }}"
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = np.random.default_rng(0).normal(size=(1, 2, *[6] * dimensions)).astype(np.float16)
    with torch.no_grad():
        (given_values,) = TorchGraph(read_graph(model)).eval()(torch.from_numpy(x))
    (wanted,) = by_onnxruntime(model, ["z"], x=x) or []
    np.testing.assert_allclose(given_values.numpy(), wanted, rtol=2e-3, atol=2e-3)
