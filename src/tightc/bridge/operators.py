"""The operators that finetune supports: ONNX names to the functions that build them."""

from __future__ import annotations

from tightc.bridge import (
    activation,
    arithmetic,
    constant,
    convolution,
    linear,
    normalization,
    pooling,
    quantization,
    resize,
    shape,
)
from tightc.bridge.operator import Build

OPERATORS: dict[str, Build] = {
    "Add": arithmetic.add,
    "AveragePool": pooling.average_pool,
    "BatchNormalization": normalization.batch_normalization,
    "Cast": constant.cast,
    "Clip": activation.clip,
    "Concat": shape.concat,
    "Constant": constant.constant,
    "ConstantOfShape": constant.constant_of_shape,
    "Conv": convolution.convolution,
    "DequantizeLinear": quantization.dequantize_linear,
    "Div": arithmetic.divide,
    "Dropout": normalization.dropout,
    "Flatten": shape.flatten,
    "Gather": shape.gather,
    "Gemm": linear.gemm,
    "GlobalAveragePool": pooling.global_average_pool,
    "GlobalMaxPool": pooling.global_max_pool,
    "HardSigmoid": activation.hard_sigmoid,
    "HardSwish": activation.hard_swish,
    "Identity": shape.identity,
    "LeakyRelu": activation.leaky_relu,
    "MatMul": linear.matmul,
    "MaxPool": pooling.max_pool,
    "Mul": arithmetic.multiply,
    "PRelu": activation.prelu,
    "Pad": shape.pad,
    "QuantizeLinear": quantization.quantize_linear,
    "ReduceMean": arithmetic.reduce_mean,
    "Relu": activation.relu,
    "Reshape": shape.reshape,
    "Resize": resize.resize,
    "Shape": shape.shape,
    "Sigmoid": activation.sigmoid,
    "Slice": shape.slices,
    "Softmax": activation.softmax,
    "Squeeze": shape.squeeze,
    "Sub": arithmetic.subtract,
    "Transpose": shape.transpose,
    "Unsqueeze": shape.unsqueeze,
}

DEPENDS_ON_TRAINING = frozenset({"BatchNormalization", "Dropout"})
"""Operators that take `training`, True or False, as a keyword."""

OUTPUTS = {"BatchNormalization": 3, "Dropout": 2}
"""The number of outputs of operators that can have more than one."""

CONSTANT_INPUTS: dict[str, frozenset[int]] = {
    "Clip": frozenset({1, 2}),
    "ConstantOfShape": frozenset({0}),
    "Dropout": frozenset({1, 2}),
    "Pad": frozenset({1, 2, 3}),
    "ReduceMean": frozenset({1}),
    "Reshape": frozenset({1}),
    "Resize": frozenset({1, 2, 3}),
    "Slice": frozenset({1, 2, 3, 4}),
    "Squeeze": frozenset({1}),
    "Unsqueeze": frozenset({1}),
}
"""Inputs, by position, that are read as Python numbers; constants there stay on the CPU."""
