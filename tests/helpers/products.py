"""A model of products in a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from helpers import models


def chain_of(weights: Sequence[NDArray[Any]], opset: int = models.OPSET) -> onnx.ModelProto:
    """Products in a row, each with its weight, which has its own type."""
    nodes, value = [], "x"
    for i, weight in enumerate(weights):
        dtype = helper.np_dtype_to_tensor_dtype(weight.dtype)
        nodes.append(helper.make_node("Cast", [value], [f"c{i}"], to=dtype))
        nodes.append(helper.make_node("MatMul", [f"c{i}", f"w{i}"], [f"y{i}"], name=f"layer{i}"))
        value = f"y{i}"
    last = helper.np_dtype_to_tensor_dtype(weights[-1].dtype)
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, weights[0].shape[0]])],
        [helper.make_tensor_value_info(value, last, [2, weights[-1].shape[1]])],
        [numpy_helper.from_array(weight, f"w{i}") for i, weight in enumerate(weights)],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=models.ir_for(opset)
    )
