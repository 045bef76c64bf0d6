"""Products of int8 operands by onnxruntime's integer operators: the sums that an array must give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tightc.model.layer_view.im2col import im2col, output_matrix
from tightc.model.layer_view.layer import Layer
from tightc.model.onnx_proto.graph import Node
from tightc.model.runtime.session import create_session

# onnxruntime may saturate sums of two full int8 products on older processors
ACTIVATION_LIMIT, WEIGHT_LIMIT = 127, 63


def parts(values: NDArray[Any], limit: int) -> Iterator[NDArray[np.int8]]:
    """Integer `values` as a sum of parts from -`limit` to `limit`."""
    rest = values.astype(np.int32)
    while True:
        part = np.clip(rest, -limit, limit).astype(np.int8)
        yield part
        rest = rest - part
        if not rest.any():
            return


def integer_product(
    layer: Layer, node: Node, value: NDArray[np.int8], weight: NDArray[np.int8]
) -> NDArray[np.int32]:
    """(vectors, filters) of the layer on int8 operands, by onnxruntime's integer operators."""
    if layer.is_convolution:
        kept = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
        attributes = {name: entry for name, entry in node.attributes.items() if name in kept}
        operator = helper.make_node("ConvInteger", ["x", "w"], ["y"], **attributes)
    else:
        vectors = im2col(layer, node, value, weight.shape)
        blocks = layer.matrix(weight).reshape(layer.groups, -1, layer.inputs)
        value = np.ascontiguousarray(vectors.reshape(-1, layer.groups, layer.inputs).swapaxes(0, 1))
        weight = np.ascontiguousarray(blocks.swapaxes(1, 2))
        operator = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    graph = helper.make_graph(
        [operator],
        "integers",
        [helper.make_tensor_value_info("x", onnx.TensorProto.INT8, value.shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.INT32, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = create_session(model.SerializeToString(), layer.label)
    found = session.run(None, {"x": value})[0]
    if layer.is_convolution:
        return output_matrix(layer, found)
    return np.ascontiguousarray(found.swapaxes(0, 1)).reshape(-1, layer.filters)
