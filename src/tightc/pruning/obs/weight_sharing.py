"""Weight sharing: the layers that read a weight, and the sums over their inputs and outputs."""

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
from tightc.model.layer_view.layer import Layer
from tightc.model.onnx_proto.graph import Node
from tightc.parallel import ordered_map, ranges
from tightc.pruning.obs.hessian import CalibrationSums, vector_sums, zero_sums

_ELEMENTS = 1 << 22  # of the im2col matrix at once


@dataclass(frozen=True)
class SharingLayer:
    """One layer that reads a weight, with its node and its bias."""

    layer: Layer
    node: Node
    bias: NDArray[Any] | None


def layer_sums(
    calibration: Calibration, dense: Model, pruned: Model, reader: SharingLayer, shape: tuple[int, ...]
) -> CalibrationSums:
    """The sums over a layer's inputs in the `pruned` model and its outputs, without bias, in the `dense` model.

    `reader`: the layer; `shape`: of its weight; `calibration`: the images. ModelError if they are not finite.
    """
    layer = reader.layer
    sums = zero_sums(layer.filters, layer.inputs, layer.groups)
    outputs_of, inputs_of = calibration.probe(dense, [layer.output]), calibration.probe(pruned, [layer.input])

    def gather(batch: range) -> CalibrationSums:
        outputs, inputs = outputs_of(batch)[layer.output], inputs_of(batch)[layer.input]
        if reader.bias is not None:
            outputs = outputs - reader.bias
        found = zero_sums(layer.filters, layer.inputs, layer.groups)
        for images in _image_slices(layer, outputs):
            vectors = im2col(layer, reader.node, inputs[images], shape).astype(np.float32, copy=False)
            products = output_matrix(layer, outputs[images]).astype(np.float32, copy=False)
            found += vector_sums(vectors * _input_factor(reader.node), products, layer.groups)
        return found

    for found in ordered_map(gather, calibration.batches):
        sums += found
    if not all(np.isfinite(part).all() for part in (sums.hessian, sums.cross, sums.output_squares)):
        raise ModelError(
            f"layer {layer.name}: expected finite inputs and outputs on these images, got NaN or infinity",
            "check --mean and --std, or train the model again",
        )
    return sums


def _image_slices(layer: Layer, output: NDArray[Any]) -> list[slice]:
    """The images of a convolution to unfold at once; all rows of a matrix product."""
    if layer.op != "Conv":
        return [slice(0, max(len(output), layer.inputs))]
    each = prod(output.shape[2:]) * layer.inputs * layer.groups
    return [slice(*bounds) for bounds in ranges(len(output), max(1, _ELEMENTS // max(1, each)))]


def _input_factor(node: Node) -> np.float32:
    """The factor `alpha` of a Gemm, else 1."""
    return np.float32(node.attributes.get("alpha", 1.0) if node.op == "Gemm" else 1.0)
