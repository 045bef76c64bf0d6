"""Opsets, calls of functions and sparse sizes that no model needs are refused before any work."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from helpers import models
from helpers.loading import loaded
from tightc.errors import ModelError


@pytest.mark.parametrize("opset", [2**60, 2**31, 0, -1])
def test_an_opset_that_never_was(opset: int) -> None:
    proto = models.cnn()
    proto.opset_import[0].version = opset
    newest = onnx.defs.onnx_opset_version()
    with pytest.raises(
        ModelError, match=rf"expected an opset from 1 to {newest}, got {opset}; export the model again"
    ):
        loaded(proto)


def nested_functions(levels: int, calls: int, first: str = "Identity") -> onnx.ModelProto:
    """A model that calls a function, which calls another several times, and so on."""
    functions = []
    for level in range(levels):
        callee, domain = (f"F{level - 1}", "mine") if level else (first, "")
        names = ["x", *(f"v{i}" for i in range(1, calls)), "y"]
        nodes = [helper.make_node(callee, [one], [other], domain=domain) for one, other in pairwise(names)]
        imports = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
        functions.append(helper.make_function("mine", f"F{level}", ["x"], ["y"], nodes, imports))
    graph = helper.make_graph(
        [
            helper.make_node(f"F{levels - 1}", ["x"], ["a"], domain="mine"),
            helper.make_node("MatMul", ["a", "w"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(np.ones((4, 4), np.float32), "w")],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    return helper.make_model(graph, functions=functions, opset_imports=imports, ir_version=10)


def test_functions_that_stand_for_a_million_nodes_are_refused() -> None:
    began = time.monotonic()
    with pytest.raises(
        ModelError, match="expected at most 100000 nodes with its functions written out, got 100000000"
    ):
        loaded(nested_functions(levels=9, calls=10))
    assert time.monotonic() - began < 5


def test_functions_that_stand_for_few_nodes_are_read() -> None:
    assert len(loaded(nested_functions(levels=3, calls=10)).proto.graph.node) == 1001


def test_functions_a_hundred_calls_deep_are_refused() -> None:
    with pytest.raises(ModelError, match=r"its functions are more than 64 calls deep \(F64\)"):
        loaded(nested_functions(levels=100, calls=1))


def test_a_function_that_calls_itself_is_refused() -> None:
    proto = nested_functions(levels=2, calls=1)
    proto.functions[0].node[0].op_type, proto.functions[0].node[0].domain = "F1", "mine"
    with pytest.raises(ModelError, match="its functions call each other in a circle"):
        loaded(proto)


@pytest.mark.parametrize("dims", [[2**30, 2**30], [-4, 4], [2**14, 2**13]])
def test_a_sparse_tensor_of_petabytes(dims: list[int]) -> None:
    proto = models.cnn()
    sparse = proto.graph.sparse_initializer.add()
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(2, np.float32), "sparse"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.arange(2), "indices"))
    sparse.dims[:] = dims
    shape = "x".join(map(str, dims))
    with pytest.raises(
        ModelError, match=f"elements in the sparse tensor sparse with 2 values, got the shape {shape};"
    ):
        loaded(proto)
