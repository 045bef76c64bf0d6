"""Gradients under autocast to bfloat16 on the CPU, against sums of products by NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from helpers.loading import loaded
from tightc.bridge.module import TorchGraph
from tightc.model.onnx_proto.graph import read_graph

TOLERANCE = 0.02  # of the largest value: operands of eight bits, over sums of many products


def windows(x: NDArray[np.float64], kernel: tuple[int, ...]) -> NDArray[np.float64]:
    """Windows of maps: batch, channels, places..., kernel..."""
    return sliding_window_view(x, kernel, tuple(range(2, x.ndim)))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_the_gradient_of_a_weight_is_right_in_bfloat16(operator: str, dimensions: int) -> None:
    random = np.random.default_rng(0)
    taken, whole = (2, 4, 4)[-dimensions:], (4, 6, 6)[-dimensions:]
    given, pads = (taken, 1) if operator == "Conv" else (whole, 0)
    shape = (40, 24) if operator == "Conv" else (24, 40)
    weight = random.standard_normal((*shape, *[3] * dimensions)).astype(np.float32)
    x, error = random.standard_normal((4, 24, *taken)), random.standard_normal((4, 40, *given))
    sizes = ", ".join(map(str, taken)), ", ".join(map(str, given))
    proto = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g (float[4, 24, {sizes[0]}] x) => '
        f"(float[4, 40, {sizes[1]}] y) {{ y = {operator}<pads = {[pads] * 2 * dimensions}>(x, w) }}"
    )
    proto.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    module = TorchGraph(read_graph(loaded(proto).proto))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (y,) = module(torch.from_numpy(x.astype(np.float32)))
    (y.float() * torch.from_numpy(error.astype(np.float32))).sum().backward()
    places, kernel = "pqr"[:dimensions], "abc"[:dimensions]
    if operator == "Conv":
        parts = f"ni{places}{kernel},no{places}->oi{kernel}"
        framed = np.pad(x, [(0, 0), (0, 0), *[(pads, pads)] * dimensions])
        wanted = np.einsum(parts, windows(framed, (3,) * dimensions), error)
    else:
        parts = f"ni{places},no{places}{kernel}->io{kernel}"
        wanted = np.einsum(parts, x, windows(error, (3,) * dimensions))
    found = module.parameter("w").grad
    assert found is not None
    np.testing.assert_allclose(found.numpy(), wanted, atol=TOLERANCE * np.abs(wanted).max())
