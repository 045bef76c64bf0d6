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
from tightc.model.onnx_proto.graph import Node, read_graph
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
    transposed = layer.op == "ConvTranspose"  # its outputs are sums of products of several vectors
    wanted = layer.input if transposed else layer.output
    outputs_of, inputs_of = calibration.probe(dense, [wanted]), calibration.probe(pruned, [layer.input])
    weight = read_graph(dense.proto).tensors[layer.weight] if transposed else None

    def gather(batch: range) -> CalibrationSums:
        outputs, inputs = outputs_of(batch)[wanted], inputs_of(batch)[layer.input]
        if reader.bias is not None and not transposed:
            outputs = outputs - reader.bias
        found = zero_sums(layer.filters, layer.inputs, layer.groups)
        for images in _image_slices(layer, outputs):
            vectors = im2col(layer, reader.node, inputs[images], shape).astype(np.float32, copy=False)
            if weight is None:
                products = output_matrix(layer, outputs[images]).astype(np.float32, copy=False)
            else:
                products = _products(layer, im2col(layer, reader.node, outputs[images], shape), weight)
            found += vector_sums(vectors * _input_factor(reader.node), products, layer.groups)
        return found

    for found in ordered_map(gather, calibration.batches):
        sums += found
    if not all(np.isfinite(part).all() for part in (sums.hessian, sums.cross, sums.output_squares)):
        raise ModelError(
            f"layer {layer.label}: expected finite inputs and outputs on these images, got NaN or infinity",
            "check --mean and --std, or train the model again",
        )
    return sums


def _products(layer: Layer, vectors: NDArray[Any], weight: NDArray[Any]) -> NDArray[np.float32]:
    """The products of input vectors with all filters: (vectors, filters)."""
    blocks = vectors.astype(np.float32).reshape(-1, layer.groups, layer.inputs).swapaxes(0, 1)
    matrix = layer.matrix(weight).astype(np.float32).reshape(layer.groups, -1, layer.inputs)
    found: NDArray[np.float32] = (blocks @ matrix.swapaxes(1, 2)).swapaxes(0, 1).reshape(-1, layer.filters)
    return found


def _image_slices(layer: Layer, output: NDArray[Any]) -> list[slice]:
    """The images of a convolution to unfold at once; all rows of a matrix product."""
    if layer.op != "Conv":
        return [slice(0, max(len(output), layer.inputs))]
    each = prod(output.shape[2:]) * layer.inputs * layer.groups
    return [slice(*bounds) for bounds in ranges(len(output), max(1, _ELEMENTS // max(1, each)))]


def _input_factor(node: Node) -> np.float32:
    """The factor `alpha` of a Gemm, else 1."""
    return np.float32(node.attributes.get("alpha", 1.0) if node.op == "Gemm" else 1.0)
