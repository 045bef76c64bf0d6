"""The operators that multiply by a weight, and which of their inputs is what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tightc.model.onnx_proto.graph import is_standard


@dataclass(frozen=True)
class WeightOperator:
    """Places of the inputs of an operator that can be a layer.

    `operands` are the two that it multiplies. `weights` are those that may be the weight, the more likely one first.
    `zero_points` and `scales` map an operand to the input with its zero point or scale; `output` is the place of the
    scale and the zero point of the output, None where it is not quantized. `domain` is empty for standard operators.
    """

    operands: tuple[int, int] = (0, 1)
    weights: tuple[int, ...] = (1,)
    bias: int | None = None
    zero_points: Mapping[int, int] = field(default_factory=dict)
    scales: Mapping[int, int] = field(default_factory=dict)
    output: tuple[int, int] | None = None
    domain: str = ""

    @property
    def is_integer(self) -> bool:
        """Whether the operands are integers with zero points."""
        return bool(self.zero_points)

    def activation(self, weight: int) -> int:
        """The place of the other operand than `weight`."""
        left, right = self.operands
        return left if weight == right else right


_QLINEAR_ZERO_POINTS, _QLINEAR_SCALES = {0: 2, 3: 5}, {0: 1, 3: 4}

WEIGHT_OPERATORS = {
    "Conv": WeightOperator(bias=2),
    "ConvTranspose": WeightOperator(bias=2),
    "Gemm": WeightOperator(weights=(1, 0), bias=2),
    "MatMul": WeightOperator(weights=(1, 0)),
    "ConvInteger": WeightOperator(zero_points={0: 2, 1: 3}),
    "MatMulInteger": WeightOperator(weights=(1, 0), zero_points={0: 2, 1: 3}),
    "QLinearConv": WeightOperator((0, 3), (3,), 8, _QLINEAR_ZERO_POINTS, _QLINEAR_SCALES, (6, 7)),
    "QLinearMatMul": WeightOperator((0, 3), (3, 0), None, _QLINEAR_ZERO_POINTS, _QLINEAR_SCALES, (6, 7)),
    "QGemm": WeightOperator((0, 3), (3,), 6, _QLINEAR_ZERO_POINTS, _QLINEAR_SCALES, (7, 8), "com.microsoft"),
}

NBITS = "MatMulNBits"  # of onnxruntime: a MatMul by a constant that it stores in an order of its own


def has_weight(operator: str, domain: str) -> bool:
    """Whether `operator` of `domain` is among those that can be a layer."""
    found = WEIGHT_OPERATORS.get(operator)
    return found is not None and found.domain == ("" if is_standard(domain) else domain)


def weight_inputs(operator: str) -> tuple[int, ...]:
    """The inputs of an `operator` that may be its weight; none for those without one."""
    found = WEIGHT_OPERATORS.get(operator)
    return found.weights if found else ()
