"""The operators that finetune supports: ONNX names to the functions that build them."""

from __future__ import annotations

from tightc.bridge import constant, convolution, linear, pooling, quantization, resize, shape
from tightc.bridge.activation import ACTIVATIONS
from tightc.bridge.arithmetic import ARITHMETIC
from tightc.bridge.normalization import NORMALIZATIONS
from tightc.bridge.operator import Build
from tightc.bridge.rearrangement import REARRANGEMENTS
from tightc.bridge.reduction import REDUCTIONS

OPERATORS: dict[str, Build] = {
    **ACTIVATIONS,
    **ARITHMETIC,
    **NORMALIZATIONS,
    **REARRANGEMENTS,
    **REDUCTIONS,
    "AveragePool": pooling.average_pool,
    "Cast": constant.cast,
    "CastLike": constant.cast_like,
    "Concat": shape.concat,
    "Constant": constant.constant,
    "ConstantOfShape": constant.constant_of_shape,
    "Conv": convolution.convolution,
    "ConvTranspose": convolution.transposed_convolution,
    "DequantizeLinear": quantization.dequantize_linear,
    "Einsum": linear.einsum,
    "Flatten": shape.flatten,
    "Gather": shape.gather,
    "Gemm": linear.gemm,
    "GlobalAveragePool": pooling.global_average_pool,
    "GlobalMaxPool": pooling.global_max_pool,
    "Identity": shape.identity,
    "MatMul": linear.matmul,
    "MaxPool": pooling.max_pool,
    "Pad": shape.pad,
    "QuantizeLinear": quantization.quantize_linear,
    "Reshape": shape.reshape,
    "Resize": resize.resize,
    "Shape": shape.shape,
    "Slice": shape.slices,
    "Squeeze": shape.squeeze,
    "Transpose": shape.transpose,
    "Unsqueeze": shape.unsqueeze,
}

DEPENDS_ON_TRAINING = frozenset({"BatchNormalization", "Dropout"})
"""Operators that take `training`, True or False, as a keyword."""

OUTPUTS: dict[str, int | None] = {
    "BatchNormalization": 3,
    "Dropout": 2,
    "LayerNormalization": 3,
    "Split": None,
    "TopK": 2,
}
"""The number of outputs of operators that can have more than one; None for any number."""

CONSTANT_INPUTS: dict[str, frozenset[int]] = {
    "Clip": frozenset({1, 2}),
    "ConstantOfShape": frozenset({0}),
    "CumSum": frozenset({1}),
    "Dropout": frozenset({1, 2}),
    "Expand": frozenset({1}),
    "OneHot": frozenset({1}),
    "Pad": frozenset({1, 2, 3}),
    "Pow": frozenset({1}),
    "Range": frozenset({0, 1, 2}),
    "Reshape": frozenset({1}),
    "Resize": frozenset({1, 2, 3}),
    "Slice": frozenset({1, 2, 3, 4}),
    "Split": frozenset({1}),
    "Squeeze": frozenset({1}),
    "Tile": frozenset({1}),
    "TopK": frozenset({1}),
    "Trilu": frozenset({1}),
    "Unsqueeze": frozenset({1}),
    **{name: frozenset({1}) for name in REDUCTIONS if name.startswith("Reduce")},
}
"""Inputs, by position, that are read as Python numbers; constants there stay on the CPU."""
