"""What pack says about the size of the file."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from helpers import models
from helpers.loading import loaded
from tightc.packing.pack import pack
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.tile.array import ArrayShape

LARGER = "packing made the file larger: indices and functions take more bytes than the zeros"


def product(side: int, nonzeros: int, others: int) -> onnx.ModelProto:
    """A product with a weight of `side` x `side`, and a constant of `others` numbers added."""
    rng = np.random.default_rng(0)
    weight = np.zeros((side, side), np.float32)
    weight.flat[rng.choice(side * side, nonzeros, replace=False)] = rng.normal(size=nonzeros)
    added = np.ones((others, 1), np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["y"])]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [rows, side])
        for name, rows in (("x", 1), ("y", others))
    ]
    constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(added, "b")]
    graph = helper.make_graph(nodes, "product", ends[:1], ends[1:], constants)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", models.OPSET)], ir_version=models.ir_for(models.OPSET)
    )


@pytest.mark.parametrize(
    ("side", "nonzeros", "others"),
    [(4, 4, 1), (4, 4, 20000), (4, 16, 20000), (128, 200, 1), (128, 200, 20000)],
)
def test_a_larger_file_is_noted_however_little_it_grew(side: int, nonzeros: int, others: int) -> None:
    options = PermuteOptions(array=ArrayShape(8, 8), fan_in=4, method="first-fit", jobs=1)
    model = permute(loaded(product(side, nonzeros, others)), options)[0]
    packed, report = pack(model)
    before, after = len(model.to_bytes()), len(packed.to_bytes())
    assert (report.totals["bytes_in"], report.totals["bytes_out"]) == (before, after)
    assert (after > before) is (side == 4)
    assert (LARGER in report.notes) is (after > before)
