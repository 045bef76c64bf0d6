"""The model-local functions of the packed form: an operator that first rebuilds its weight from the tiles.

A packed node calls `tightc.PackedConv`, `PackedConvBias`, `PackedGemm`, `PackedGemmBias`, `PackedMatMul` or
`PackedLeftMatMul`; each calls `tightc.Rebuild`, then the operator itself. A weight of whole numbers is rebuilt by a
node of its own, before its DequantizeLinear. All inputs of Rebuild are constants, so onnxruntime folds it at load.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

DOMAIN = "tightc"
REBUILD = "Rebuild"
# `values` in slot order, five arrays of tightc.tiles.store, then the weight's layout and shape and a zero of its dtype
TENSORS = ("values", "occupied", "select", "lane_starts", "inputs", "filters", "layout", "shape", "zero")
_ATTRIBUTES = {
    "Conv": ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"),
    "Gemm": ("alpha", "beta", "transA", "transB"),
    "MatMul": (),
}
_ATTRIBUTE_TYPES = {
    "auto_pad": onnx.AttributeProto.STRING,
    "dilations": onnx.AttributeProto.INTS,
    "group": onnx.AttributeProto.INT,
    "kernel_shape": onnx.AttributeProto.INTS,
    "pads": onnx.AttributeProto.INTS,
    "strides": onnx.AttributeProto.INTS,
    "alpha": onnx.AttributeProto.FLOAT,
    "beta": onnx.AttributeProto.FLOAT,
    "transA": onnx.AttributeProto.INT,
    "transB": onnx.AttributeProto.INT,
}


@dataclass(frozen=True, order=True)
class Form:
    """How a layer is called: its operator, whether it has a bias, whether the weight is the left operand."""

    operator: str
    bias: bool = False
    left: bool = False

    @property
    def function(self) -> str:
        """Name of the function in the domain."""
        return f"Packed{'Left' if self.left else ''}{self.operator}{'Bias' if self.bias else ''}"

    @property
    def operands(self) -> list[str]:
        """The operator's inputs: X the activations, W the weight, B the bias."""
        pair = ["W", "X"] if self.left else ["X", "W"]
        return [*pair, "B"] if self.bias else pair


FORMS = {
    form.function: form
    for form in (
        Form("Conv"),
        Form("Conv", bias=True),
        Form("Gemm"),
        Form("Gemm", bias=True),
        Form("MatMul"),
        Form("MatMul", left=True),
    )
}


def functions(forms: Iterable[Form], opset: int) -> list[onnx.FunctionProto]:
    """Rebuild and a function for each of `forms`, written in the standard operators of `opset`."""
    return [_rebuild(opset), *(_packed_operator(form, opset) for form in sorted(set(forms)))]


def layout(filters_first: bool, filters: int, inputs: int) -> NDArray[np.int64]:
    """(3,) int64: strides of a filter and of an input in the flat weight, and the inputs of a group."""
    return np.array([inputs, 1, inputs] if filters_first else [1, filters, inputs], np.int64)


def _packed_operator(form: Form, opset: int) -> onnx.FunctionProto:
    """Inputs: X, then B where there is a bias, then the tensors of Rebuild; attributes: the operator's."""
    names = _ATTRIBUTES[form.operator]
    call = helper.make_node(form.operator, form.operands, ["Y"])
    for name in names:
        call.attribute.append(onnx.AttributeProto(name=name, ref_attr_name=name, type=_ATTRIBUTE_TYPES[name]))
    return helper.make_function(
        DOMAIN,
        form.function,
        ["X", *(["B"] if form.bias else []), *TENSORS],
        ["Y"],
        [helper.make_node(REBUILD, list(TENSORS), ["W"], domain=DOMAIN), call],
        [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)],
        attributes=list(names),
    )


def _rebuild(opset: int) -> onnx.FunctionProto:
    """The dense weight from the arrays of `tightc.tiles.store`: slot -> lane's list -> input -> place in the weight.

    Every slot of the (tiles, lanes, columns) grid is computed; the empty ones write to a place behind the weight,
    which is then cut off. (NonZero would be shorter, but onnxruntime does not fold it.)
    """
    nodes = [
        *(_constant(f"number_{i}", np.array(i, np.int64)) for i in range(3)),
        _constant("first", np.array([0], np.int64)),
        _constant("last", np.array([-1], np.int64)),
        _constant("lane_axis", np.array([1], np.int64)),
        # occupied bits -> "taken" (tiles, lanes, columns)
        _constant("powers", np.array([1, 2, 4, 8, 16, 32, 64, 128], np.int64)),
        _constant("grid", np.array([0, 0, -1], np.int64)),
        _cast("occupied", "bytes", onnx.TensorProto.INT64),
        _node("Unsqueeze", ["bytes", "last"], "bytes_1"),
        _node("Div", ["bytes_1", "powers"], "shifted"),
        _node("Mod", ["shifted", "number_2"], "bits_8"),
        _node("Reshape", ["bits_8", "grid"], "bits"),
        _cast("bits", "taken", onnx.TensorProto.BOOL),
        # slot -> its number among the taken ones: "rank"
        _node("Reshape", ["bits", "last"], "bits_flat"),
        _node("CumSum", ["bits_flat", "number_0"], "count"),
        _node("Sub", ["count", "number_1"], "rank"),
        # slot -> input: the lane's start plus the select
        _node("Shape", ["bits"], "grid_shape"),
        _cast("select", "select_64", onnx.TensorProto.INT64),
        _node("Gather", ["select_64", "rank"], "slot_select", axis=0),
        _node("Reshape", ["slot_select", "grid_shape"], "select_grid"),
        _cast("lane_starts", "starts", onnx.TensorProto.INT64),
        _node("Unsqueeze", ["starts", "last"], "starts_1"),
        _node("Add", ["starts_1", "select_grid"], "positions_all"),
        _node("Where", ["taken", "positions_all", "number_0"], "positions"),
        _cast("inputs", "inputs_64", onnx.TensorProto.INT64),
        _node("Gather", ["inputs_64", "positions"], "slot_inputs", axis=0),
        # (filter, input) -> place in the flat weight; inputs are numbered over all groups, weights within one
        _node("Gather", ["layout", "number_0"], "filter_stride", axis=0),
        _node("Gather", ["layout", "number_1"], "input_stride", axis=0),
        _node("Gather", ["layout", "number_2"], "group_inputs", axis=0),
        _cast("filters", "filters_64", onnx.TensorProto.INT64),
        _node("Mul", ["filters_64", "filter_stride"], "filter_places"),
        _node("Unsqueeze", ["filter_places", "lane_axis"], "filter_places_1"),
        _node("Mod", ["slot_inputs", "group_inputs"], "local_inputs"),
        _node("Mul", ["local_inputs", "input_stride"], "input_places"),
        _node("Add", ["filter_places_1", "input_places"], "places_all"),
        # each place of the weight is written at most once, so no reduction is needed and the bits stay
        _node("ReduceProd", ["shape"], "size", keepdims=1),
        _node("Where", ["taken", "places_all", "size"], "places"),
        _node("Reshape", ["places", "last"], "places_flat"),
        _node("Gather", ["values", "rank"], "slot_values", axis=0),
        _node("Add", ["size", "number_1"], "size_1"),
        _node("Expand", ["zero", "size_1"], "zeros"),
        _node("ScatterElements", ["zeros", "places_flat", "slot_values"], "flat_1", axis=0),
        _node("Slice", ["flat_1", "first", "size"], "flat"),
        _node("Reshape", ["flat", "shape"], "W"),
    ]
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_function(DOMAIN, REBUILD, list(TENSORS), ["W"], nodes, opsets)


def _node(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, list(inputs), [output], **attributes)


def _cast(source: str, output: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [output], to=to)


def _constant(output: str, value: NDArray[Any]) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [output], value=numpy_helper.from_array(value))
