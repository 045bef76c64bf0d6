"""The places where a weight is used, and the moments of what flows into and out of them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.calibration.calibration import Calibration
from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.layer_view.im2col import im2col, output_matrix
from tightc.model.layer_view.layers import Layer
from tightc.model.onnx_proto.graph import Node
from tightc.parallel import ordered_map, ranges
from tightc.pruning.obs.hessian import Moments, empty_moments, moments_of

_ELEMENTS = 1 << 22  # of the input vectors that are laid out at once


@dataclass(frozen=True)
class Use:
    """One place where a weight is used: the layer, its node, and what it adds to its products."""

    layer: Layer
    node: Node
    bias: NDArray[Any] | None


def use_moments(
    calibration: Calibration, dense: Model, now: Model, use: Use, weight: NDArray[Any]
) -> Moments:
    """Of the inputs that a layer gets in the model as it is `now`, with the products that it computed in the `dense`.

    ModelError where they are not finite.
    """
    layer = use.layer
    sums = empty_moments(layer.filters, layer.inputs, layer.groups)

    wanted, given = calibration.probe(dense, [layer.output]), calibration.probe(now, [layer.input])

    def gather(batch: tuple[int, int]) -> Moments:
        outputs, inputs = wanted(batch)[layer.output], given(batch)[layer.input]
        if use.bias is not None:
            outputs = outputs - use.bias
        found = empty_moments(layer.filters, layer.inputs, layer.groups)
        for begin, end in _slices(layer, outputs):
            part = slice(begin, end)
            vectors = im2col(layer, use.node, inputs[part], weight.shape).astype(np.float32, copy=False)
            products = output_matrix(layer, outputs[part]).astype(np.float32, copy=False)
            found += moments_of(vectors * _factor(use.node), products, layer.groups)
        return found

    for found in ordered_map(gather, calibration.batches):
        sums += found
    if not all(np.isfinite(part).all() for part in (sums.inputs, sums.across, sums.outputs)):
        raise ModelError(
            f"layer {layer.name}: what flows through it is not finite on these images",
            "check --mean and --std, or train the model again",
        )
    return sums


def _slices(layer: Layer, output: NDArray[Any]) -> list[tuple[int, int]]:
    """Which images of a convolution to lay out at once; a product takes all of its rows."""
    if layer.op != "Conv":
        return [(0, max(len(output), layer.inputs))]
    each = prod(output.shape[2:]) * layer.inputs * layer.groups
    return ranges(len(output), max(1, _ELEMENTS // max(1, each)))


def _factor(node: Node) -> np.float32:
    return np.float32(node.attributes.get("alpha", 1.0) if node.op == "Gemm" else 1.0)
