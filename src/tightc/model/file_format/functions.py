"""The model-local functions of the packed form: an operator that first rebuilds its weight from the tiles.

A packed node calls `tightc.PackedConv`, `PackedConvBias`, `PackedGemm`, `PackedGemmBias`, `PackedMatMul` or
`PackedLeftMatMul`; each calls `tightc.Rebuild`, then the operator itself. A weight of whole numbers is rebuilt by a
node of its own, before its DequantizeLinear. All inputs of Rebuild are constants, so onnxruntime folds it at load.
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


PACKED_OPERATORS = {
    form.function: form
    for form in (
        PackedOperator("Conv"),
        PackedOperator("Conv", bias=True),
        PackedOperator("Gemm"),
        PackedOperator("Gemm", bias=True),
        PackedOperator("MatMul"),
        PackedOperator("MatMul", left=True),
    )
}


def packed_functions(
    forms: Iterable[PackedOperator], opset: int, kinds: Iterable[int | None]
) -> list[onnx.FunctionProto]:
    """One function for each of `forms`, and those that rebuild weights: of the `kinds` None (values) and digits' bits.

    In standard operators of `opset`.
    """
    found = set(kinds)
    whole = [rebuild_function(opset)] if None in found else []
    digits = [
        subword_rebuild_function(bits, opset) for bits in sorted(bits for bits in found if bits is not None)
    ]
    return [
        section_function(opset),
        *whole,
        *digits,
        *(_packed_operator(form, opset) for form in sorted(set(forms))),
    ]


def _packed_operator(form: PackedOperator, opset: int) -> onnx.FunctionProto:
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
