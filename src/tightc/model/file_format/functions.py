"""The model-local functions of the packed form: operators that first rebuild their weight from the tiles.

A packed node calls `tightc.PackedConv`, `PackedConvBias`, `PackedGemm`, `PackedGemmBias`, `PackedMatMul` or
`PackedLeftMatMul`; each calls `tightc.Rebuild`, then the operator itself. An int8 weight is rebuilt by a separate node
before its DequantizeLinear. All inputs of Rebuild are constants, so onnxruntime folds it at load.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx
from onnx import helper

from tightc.model.file_format.rebuild import (
    DOMAIN,
    REBUILD,
    TENSORS,
    rebuild_function,
    section_function,
    subword_rebuild_function,
)

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
class PackedOperator:
    """The operator of a packed layer, whether it has a bias, and whether the weight is its left operand."""

    operator: str
    bias: bool = False
    left: bool = False

    @property
    def function(self) -> str:
        """Name of its function in the domain `tightc`."""
        return f"Packed{'Left' if self.left else ''}{self.operator}{'Bias' if self.bias else ''}"

    @property
    def operands(self) -> list[str]:
        """Names of the operator's inputs, in order: X the activations, W the weight, B the bias."""
        pair = ["W", "X"] if self.left else ["X", "W"]
        return [*pair, "B"] if self.bias else pair


PACKED_OPERATORS = {
    operator.function: operator
    for operator in (
        PackedOperator("Conv"),
        PackedOperator("Conv", bias=True),
        PackedOperator("Gemm"),
        PackedOperator("Gemm", bias=True),
        PackedOperator("MatMul"),
        PackedOperator("MatMul", left=True),
    )
}


def packed_functions(
    operators: Iterable[PackedOperator], opset: int, subword_bits: Iterable[int | None]
) -> list[onnx.FunctionProto]:
    """The functions that a packed model needs, in standard operators of `opset`.

    One for each of `operators`, and those that rebuild weights: from subwords of the given bits, or whole weights
    where `subword_bits` contains None.
    """
    widths = set(subword_bits)
    rebuilds = [rebuild_function(opset)] if None in widths else []
    for bits in sorted(bits for bits in widths if bits is not None):
        rebuilds.append(subword_rebuild_function(bits, opset))
    calls = [_operator_function(operator, opset) for operator in sorted(set(operators))]
    return [section_function(opset), *rebuilds, *calls]


def _operator_function(packed: PackedOperator, opset: int) -> onnx.FunctionProto:
    """The function of a packed operator.

    Inputs: X, then B where there is a bias, then the tensors of Rebuild. Attributes: those of the operator.
    """
    names = _ATTRIBUTES[packed.operator]
    call = helper.make_node(packed.operator, packed.operands, ["Y"])
    for name in names:
        call.attribute.append(onnx.AttributeProto(name=name, ref_attr_name=name, type=_ATTRIBUTE_TYPES[name]))
    return helper.make_function(
        DOMAIN,
        packed.function,
        ["X", *(["B"] if packed.bias else []), *TENSORS],
        ["Y"],
        [helper.make_node(REBUILD, list(TENSORS), ["W"], domain=DOMAIN), call],
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)],
        attributes=list(names),
    )
