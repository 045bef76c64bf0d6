"""The activations that a layer reads and writes, as matrices."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.model.layer_view.convolution_geometry import (
    conv_geometry,
    overlap_add,
    transposed_geometry,
    windows,
)
from tightc.model.layer_view.layer import Layer
from tightc.model.onnx_proto.graph import Node

Values = NDArray[Any]


def im2col(layer: Layer, node: Node, value: Values, weight_shape: tuple[int, ...]) -> Values:
    """The input vectors of `layer`: (vectors, inputs of all groups), in the dtype of `value`.

    `value` is the tensor that its `node` reads, `weight_shape` the shape of its weight. A transposed convolution has a
    vector for each input pixel.
    """
    if layer.is_convolution:
        return windows(value, conv_geometry(node, value.shape, weight_shape))
    if layer.op == "ConvTranspose":
        return np.moveaxis(value, 1, -1).reshape(-1, value.shape[1])
    if layer.op in ("Gemm", "QGemm"):
        transposed = bool(node.attributes.get("transB" if layer.weight_is_left else "transA", 0))
        return value.T if transposed != layer.weight_is_left else value
    return _vectors(_vectors_last(layer, value), layer.groups, weight_shape[:-2])


def output_matrix(layer: Layer, value: Values) -> Values:
    """The output vectors of `layer`, (vectors, filters), from the tensor `value` that it computes, in its dtype.

    Not of a transposed convolution, whose outputs are sums of several products: see `output_tensor`.
    """
    if layer.is_convolution:
        return np.moveaxis(value, 1, -1).reshape(-1, layer.filters)
    if layer.op in ("Gemm", "QGemm"):
        return value.T if layer.weight_is_left else value
    if layer.filters == 1:  # a weight with one axis leaves none for filters
        return value.reshape(-1, 1)
    return _vectors(_vectors_last(layer, value), layer.groups, ())


def output_tensor(
    layer: Layer, node: Node, products: Values, input_shape: tuple[int, ...], weight_shape: tuple[int, ...]
) -> Values:
    """What a transposed convolution makes of its `products`, (vectors, filters): they overlap and are added.

    Returns (batch, channels, *sizes) in the dtype of `products`.
    """
    geometry = transposed_geometry(node, input_shape, weight_shape)
    channels = layer.groups * weight_shape[1]
    return overlap_add(products, geometry, input_shape[0], channels)


def _vectors_last(layer: Layer, value: Values) -> Values:
    """The operand of a matrix product with one vector in each row: transposed where the weight is on the left."""
    return np.swapaxes(value, -1, -2) if layer.weight_is_left and value.ndim > 1 else value


def _vectors(value: Values, groups: int, batch: tuple[int, ...]) -> Values:
    """The vectors of a matrix product with `groups` weights: (vectors, groups * features).

    `value`: (..., vectors, features), without the axis of vectors where there is one. It is repeated over the axes of
    the weights' `batch` that it lacks.
    """
    rows = value if value.ndim > 1 else value[None]
    if groups == 1:
        return rows.reshape(-1, rows.shape[-1])
    lead = np.broadcast_shapes(rows.shape[:-2], batch) if batch else rows.shape[:-2]
    count, features = rows.shape[-2:]
    if prod(lead) % groups:  # the axis of vectors was left out of a product with several weights
        lead, count = value.shape[:-1], 1
        rows = value[..., None, :]
    blocks = np.broadcast_to(rows, (*lead, count, features)).reshape(-1, groups, count, features)
    return blocks.transpose(0, 2, 1, 3).reshape(-1, groups * features)
