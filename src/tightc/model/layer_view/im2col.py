"""The values that stream in and out of a layer, as the matrices that its weights are multiplied with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.model.layer_view.convolution_geometry import conv_geometry, windows
from tightc.model.layer_view.layers import Layer
from tightc.model.onnx_proto.graph import Node

Values = NDArray[Any]


def im2col(layer: Layer, node: Node, value: Values, weight_shape: tuple[int, ...]) -> Values:
    """(vectors, inputs of all groups) from the tensor that `node` reads, in its dtype."""
    if layer.op == "Conv":
        return windows(value, conv_geometry(node, value.shape, weight_shape))
    if layer.op == "Gemm":
        return value.T if node.attributes.get("transA", 0) else value
    return _rows(value, layer)


def output_matrix(layer: Layer, value: Values) -> Values:
    """(vectors, filters) from the tensor that the layer gives, in its dtype."""
    if layer.op == "Conv":
        return np.moveaxis(value, 1, -1).reshape(-1, layer.filters)
    return _rows(value, layer)


def _rows(value: Values, layer: Layer) -> Values:
    """The vectors of a product: rows where the weight is on the right, columns where it is on the left."""
    if layer.op == "MatMul" and layer.filters_first and value.ndim > 1:
        value = np.swapaxes(value, -1, -2)
    return value.reshape(-1, value.shape[-1])
