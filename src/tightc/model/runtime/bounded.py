"""Whether onnxruntime needs little time and memory for a model, by its operators and inferred shapes."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import onnx

from tightc.model.onnx_proto.graph import is_standard

Shape = tuple[int, ...]

_MOST_ELEMENTS = 2**28  # of all values together, 1 GiB in float32
_MOST_FOLDED = 2**26  # of all values that are computed from constants, when a model is loaded
_MOST_MACS = 2**37  # seconds, on one core
# whose output has the shape that ONNX infers from those of the inputs, or no more elements than an input
_NAMES = """
    Abs Acos Add And ArgMax ArgMin Asin Atan AveragePool BatchNormalization Cast Ceil Celu Clip Concat Constant
    Conv ConvInteger ConvTranspose Cos DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Elu Equal
    Erf Exp Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater
    GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization LayerNormalization
    LeakyRelu Less LessOrEqual Log LogSoftmax LRN MatMul MatMulInteger Max MaxPool Mean Min Mish Mod Mul Neg Not
    Or PRelu Pow QLinearConv QLinearMatMul QuantizeLinear Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean
    ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Round ScatterElements ScatterND Selu Shape
    Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh
    ThresholdedRelu TopK Transpose Trilu Unsqueeze Where Xor
"""
_OPERATORS = frozenset(_NAMES.split())
# and those whose output has any size, which these inputs give; they have to be constants
_SIZED_BY = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Resize": (2, 3),
    "Tile": (1,),
    "Upsample": (1,),
}
# the input whose shape times the output gives the multiplications, and the axes of it that count
_MULTIPLYING = {"Conv": 1, "ConvTranspose": 1, "Gemm": 0, "MatMul": 0, "QLinearConv": 3, "QLinearMatMul": 0}


def is_bounded(proto: onnx.ModelProto, graph: onnx.GraphProto, *, is_run: bool = True) -> bool:
    """Whether onnxruntime surely needs little time and memory to load `proto`, and to run it where it `is_run`.

    `graph` is that of `proto` with inferred shapes, for inputs of the size that will be fed. When a model is loaded,
    only nodes that read constants alone are computed.
    """
    if _has_subgraphs(graph):
        return False
    constants = {tensor.name for tensor in proto.graph.initializer}
    shapes = _known_shapes(proto, graph)
    elements, folded, macs = 0, 0, 0
    for node in graph.node:
        is_folded = all(name in constants for name in node.input if name)
        if is_folded:
            constants.update(node.output)
        if not (is_run or is_folded):
            continue
        outputs = [shapes.get(name) for name in node.output if name]
        if not is_standard(node.domain) or None in outputs or not _is_sized(node, constants):
            return False
        own = sum(prod(shape) for shape in outputs if shape is not None)
        elements, folded, macs = elements + own, folded + own * is_folded, macs + own * _terms(node, shapes)
    return elements <= _MOST_ELEMENTS and folded <= _MOST_FOLDED and macs <= _MOST_MACS


def _has_subgraphs(graph: onnx.GraphProto) -> bool:
    return any(
        attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute
    )


def _known_shapes(proto: onnx.ModelProto, graph: onnx.GraphProto) -> dict[str, Shape]:
    """The shapes without open dimensions."""
    known: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        dimensions = tensor.shape.dim
        if tensor.HasField("shape") and all(dimension.HasField("dim_value") for dimension in dimensions):
            known[value.name] = tuple(dimension.dim_value for dimension in dimensions)
    return known


def _is_sized(node: onnx.NodeProto, constants: set[str]) -> bool:
    """Whether the size of the output follows from shapes and constants."""
    if node.op_type in _SIZED_BY:
        sizes = [node.input[slot] for slot in _SIZED_BY[node.op_type] if slot < len(node.input)]
        return all(name in constants for name in sizes if name)
    return node.op_type in _OPERATORS


def _terms(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int:
    """How many multiplications, at most, an element of the output takes."""
    kernel = next((attribute.ints for attribute in node.attribute if attribute.name == "kernel_shape"), ())
    slot = _MULTIPLYING.get(node.op_type)
    if slot is None or slot >= len(node.input):
        return max(1, prod(kernel))
    shape = shapes.get(node.input[slot])
    if shape is None:
        return _MOST_MACS
    return max(shape, default=1) if slot == 0 else max(1, prod(shape[1:]))
