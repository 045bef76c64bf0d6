"""The activations that a layer reads and writes, as matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.model.layer_view.convolution_geometry import conv_geometry, windows
from tightc.model.layer_view.layers import Layer
from tightc.model.onnx_proto.graph import Node

Values = NDArray[Any]


def im2col(layer: Layer, node: Node, value: Values, weight_shape: tuple[int, ...]) -> Values:
    """The input vectors of `layer`: (vectors, inputs of all groups), in the dtype of `value`.

    `value` is the tensor that its `node` reads, `weight_shape` the shape of its weight.
    """
    if layer.op == "Conv":
        return windows(value, conv_geometry(node, value.shape, weight_shape))
    if layer.op == "Gemm":
        return value.T if node.attributes.get("transA", 0) else value
    return _rows(value, layer)


def output_matrix(layer: Layer, value: Values) -> Values:
    """The output vectors of `layer`, (vectors, filters), from the tensor `value` that it computes, in its dtype."""
    if layer.op == "Conv":
        return np.moveaxis(value, 1, -1).reshape(-1, layer.filters)
    return _rows(value, layer)


def _rows(value: Values, layer: Layer) -> Values:
    """The vectors of a matrix product: rows of `value` if the weight is on the right, columns if it is on the left."""
    if layer.op == "MatMul" and layer.filters_first and value.ndim > 1:
        value = np.swapaxes(value, -1, -2)
    return value.reshape(-1, value.shape[-1])
