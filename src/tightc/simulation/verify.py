"""Verify: every layer on the cycle engine, its values against onnxruntime and its cycles against the closed form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tightc.accelerator.accelerator import Accelerator
from tightc.cost_model.memory import LayerSchedule, schedule_layer
from tightc.cost_model.passes import Dataflow
from tightc.errors import DataError, VerifyError
from tightc.model.intermediate_values import Values, intermediate_values
from tightc.model.layer_view.im2col import im2col, output_matrix, output_tensor
from tightc.model.layer_view.layer import Layer
from tightc.model.onnx_proto.graph import Array, Graph, Node, read_graph
from tightc.model.onnx_proto.weight_operators import WEIGHT_OPERATORS
from tightc.model.runtime.session import create_session
from tightc.simulation.engine.cycle_log import Traces
from tightc.simulation.engine.loaded_tile import Operands
from tightc.simulation.engine.run import EngineResult, run_dense, run_packing
from tightc.simulation.integer_products import ACTIVATION_LIMIT, WEIGHT_LIMIT, integer_product, parts
from tightc.simulation.rounding import rounding_bound
from tightc.simulation.workload import LayerWorkload, Workload
from tightc.tile.matrix import LayerMatrix

_REMEDY = "this is a fault of tightc, not of the model: please report it with the model"


@dataclass(frozen=True)
class Verified:
    """A layer on which the engine agrees with onnxruntime and the closed form.

    `cycles`: on the arrays. `error`: the largest difference to onnxruntime / the largest output.
    """

    cycles: int
    error: float


def verify(
    workload: Workload, accelerator: Accelerator, dataflow: Dataflow, feeds: Values
) -> Iterator[Verified]:
    """Runs the layers of `workload` one by one in `dataflow` on `accelerator`, as floats and as int8.

    Floats: the activations are those of onnxruntime's run of the whole model on `feeds`, and the outputs agree within
    what rounding can make of them. Int8: both operands are quantized, onnxruntime multiplies them as integers, and the
    outputs are equal. The cycles equal those of the closed form. VerifyError where the engine disagrees, DataError
    where a layer's values are not finite.
    """
    for tensors in _layer_tensors(workload, workload.layers, feeds):
        yield _verify_layer(tensors, accelerator, dataflow)


def trace_layer(
    workload: Workload, layer: LayerWorkload, accelerator: Accelerator, dataflow: Dataflow, feeds: Values
) -> Traces:
    """Every cycle of one `layer` of `workload` in `dataflow` on `accelerator`.

    Its input is that of onnxruntime's run of the model on `feeds`.
    """
    traces: Traces = []
    (tensors,) = _layer_tensors(workload, (layer,), feeds)
    passes = layer.passes(dataflow, accelerator)
    schedule = schedule_layer(passes, layer.gemm, accelerator)
    operands = _operands(
        layer, tensors.node, tensors.input.astype(np.float32), tensors.weight.astype(np.float32)
    )
    operands = replace(operands, input_banks=passes.input_banks)
    _run(layer, operands, accelerator, schedule, dataflow, traces=traces)
    return traces


@dataclass(frozen=True)
class _LayerTensors:
    """A layer with its node, weight and bias, and its input and output in one run of the model.

    Integer operands are given minus their zero points. `scale`: (filters,) or (1,), by which the sums of quantized
    weights are multiplied after the array; else None. Weights whose scale changes within a filter are dequantized.
    `requantization` is that of an operator with quantized outputs.
    """

    workload: LayerWorkload
    node: Node
    weight: Array
    scale: Array | None
    bias: Array | None
    input: Array
    output: Array
    requantization: Requantization | None = None

    @property
    def is_integer(self) -> bool:
        """Whether the operator multiplies integers."""
        return WEIGHT_OPERATORS[self.node.op].is_integer


@dataclass(frozen=True)
class Requantization:
    """Outputs = round((sums + bias) * `factor`) + `zero_point`, within the range of their dtype.

    `factor`: (1,) or (filters,).
    """

    factor: Array
    zero_point: int


def _layer_tensors(
    workload: Workload, layers: Sequence[LayerWorkload], feeds: Values
) -> Iterator[_LayerTensors]:
    """The tensors of each of `layers` in one run of the model on `feeds`."""
    graph = read_graph(workload.plain.proto)
    nodes = {node.outputs[0]: node for node in graph.nodes if node.outputs}
    names = {name for entry in layers for name in (entry.layer.input, entry.layer.output)}
    biases = {entry.layer.output: _bias_name(nodes[entry.layer.output]) for entry in layers}
    names |= set(filter(None, biases.values()))
    names |= {name for entry in layers for name in _quantization_names(nodes[entry.layer.output])}
    halves = _half_layers(workload, layers)
    names |= {name for output in halves for name in nodes[output].inputs if name}
    constants = {name: graph.tensors[name] for name in names if name in graph.tensors}
    values = intermediate_values(workload.plain, sorted(names - set(constants)), feeds) | constants
    for entry in layers:
        node, layer = nodes[entry.layer.output], entry.layer
        weight, scale = _weight_and_scale(workload, layer, graph)
        value = values[layer.input]
        if WEIGHT_OPERATORS[node.op].is_integer:
            zero_points = WEIGHT_OPERATORS[node.op].zero_points
            place = zero_points[WEIGHT_OPERATORS[node.op].activation(layer.slot)]
            value = value.astype(np.int32) - np.int32(_operand(node, place, values, 0))
        yield _LayerTensors(
            workload=entry,
            node=node,
            weight=weight,
            scale=scale,
            bias=values.get(biases[layer.output]),
            input=value,
            output=_alone(node, layer, values, graph.opset)
            if layer.output in halves
            else values[layer.output],
            requantization=_requantization(node, layer, scale, values),
        )


def _weight_and_scale(workload: Workload, layer: Layer, graph: Graph) -> tuple[Array, Array | None]:
    """The weight that the array multiplies by, and the scales of the sums, None for floats."""
    network = workload.network
    scale = network.scales.get(layer.weight)
    if scale is None or scale.ndim == 1:
        return network.weights[layer.weight], scale
    # sums of products with different scales: as onnxruntime dequantizes them, in the type of the scales
    dtype = graph.tensors[network.quantized[layer.weight].scale_name].dtype
    return network.dequantized_tensor(layer).astype(dtype), None


def _half_layers(workload: Workload, layers: Sequence[LayerWorkload]) -> set[str]:
    """The outputs of the layers with float16 weights, stored or dequantized."""
    network = workload.network
    graph = read_graph(workload.plain.proto)
    found = set()
    for entry in layers:
        quantized = network.quantized.get(entry.layer.weight)
        source = entry.layer.weight if quantized is None else quantized.scale_name
        if source in graph.tensors and graph.tensors[source].dtype == np.float16:
            found.add(entry.layer.output)
    return found


def _alone(node: Node, layer: Layer, values: Values, opset: int) -> Array:
    """The output of a float16 layer on its own: in a chain, onnxruntime may not round between two layers."""
    constants = [name for name in dict.fromkeys(node.inputs) if name and name != layer.input]
    value = helper.make_tensor_value_info(layer.input, onnx.TensorProto.FLOAT16, None)
    result = helper.make_tensor_value_info(layer.output, onnx.TensorProto.FLOAT16, None)
    attributes = {key: entry for key, entry in node.attributes.items() if entry != []}
    single = helper.make_node(node.op, list(node.inputs), [layer.output], **attributes)
    tensors = [numpy_helper.from_array(values[name], name) for name in constants]
    graph = helper.make_graph([single], "layer", [value], [result], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    session = create_session(model.SerializeToString(), layer.label)
    found: Array = session.run(None, {layer.input: values[layer.input]})[0]
    return found


def _operand(node: Node, place: int, values: Values, default: float) -> Any:
    """The value of an optional scalar input."""
    name = node.inputs[place] if place < len(node.inputs) else ""
    return values[name].reshape(-1)[0] if name else default


def _requantization(node: Node, layer: Layer, scale: Array | None, values: Values) -> Requantization | None:
    operator = WEIGHT_OPERATORS[node.op]
    if operator.output is None or scale is None:
        return None
    of_input = operator.scales[operator.activation(layer.slot)]
    of_output, zero_point = operator.output
    factor = np.float64(_operand(node, of_input, values, 1.0)) / _operand(node, of_output, values, 1.0)
    factor *= float(node.attributes.get("alpha", 1.0))
    return Requantization(scale * factor, int(_operand(node, zero_point, values, 0)))


def _quantization_names(node: Node) -> list[str]:
    """The names of the scales and zero points of an integer operator."""
    operator = WEIGHT_OPERATORS[node.op]
    places = [*operator.zero_points.values(), *operator.scales.values(), *(operator.output or ())]
    return [node.inputs[place] for place in places if place < len(node.inputs) and node.inputs[place]]


def _bias_name(node: Node) -> str:
    """The name of what the node adds to its products, empty where it adds nothing."""
    place = WEIGHT_OPERATORS[node.op].bias
    return node.inputs[place] if place is not None and place < len(node.inputs) else ""


def _verify_layer(tensors: _LayerTensors, accelerator: Accelerator, dataflow: Dataflow) -> Verified:
    workload, layer = tensors.workload, tensors.workload.layer
    passes = workload.passes(dataflow, accelerator)
    schedule = schedule_layer(passes, workload.gemm, accelerator)
    cycles = schedule.cycles.total

    def run(value: Array, weight: Array) -> EngineResult:
        operands = _operands(workload, tensors.node, value, weight)
        placed = replace(operands, input_banks=passes.input_banks)
        return _run(workload, placed, accelerator, schedule, dataflow)

    dtype = np.int32 if tensors.is_integer else np.float32
    actual = run(tensors.input.astype(dtype), tensors.weight.astype(dtype))
    error = _value_error(tensors, actual)
    value = _rounded(tensors.input, ACTIVATION_LIMIT)
    weight = tensors.weight if tensors.scale is not None else _rounded(tensors.weight, WEIGHT_LIMIT)
    integers = run(value.astype(np.int32), weight.astype(np.int32))
    products = (integer_product(layer, tensors.node, value, part) for part in parts(weight, WEIGHT_LIMIT))
    if not np.array_equal(integers.outputs, sum(products)):
        raise VerifyError(
            f"{layer.label}: expected the int8 values of onnxruntime, got different ones from the engine",
            _REMEDY,
        )
    for result in (actual, integers):
        if result.cycles != cycles:
            raise VerifyError(
                f"{layer.label}: expected {cycles} cycles, by the closed form, got {result.cycles} from the engine",
                _REMEDY,
            )
    return Verified(cycles, error)


def _value_error(tensors: _LayerTensors, result: EngineResult) -> float:
    """The largest difference to onnxruntime's outputs / the largest output; VerifyError beyond rounding."""
    layer = tensors.workload.layer
    outputs = _layer_outputs(tensors, result.outputs.astype(np.float64))
    transposed = layer.op == "ConvTranspose"
    expected = (tensors.output if transposed else output_matrix(layer, tensors.output)).astype(np.float64)
    if not (np.isfinite(tensors.input).all() and np.isfinite(expected).all()):
        raise DataError(
            f"{layer.label}: expected finite inputs and outputs in onnxruntime, got inf or nan",
            "give other --inputs",
        )
    difference, largest = np.abs(outputs - expected), np.abs(expected).max(initial=0) or 1.0
    bound = _bound(tensors, expected)
    if not (difference <= bound).all():
        worst = np.unravel_index(np.argmax(np.nan_to_num(difference - bound, nan=np.inf)), difference.shape)
        raise VerifyError(
            f"{layer.label}: expected engine values within {bound[worst] / largest:.1g} of the largest output, "
            f"got {difference[worst] / largest:.2g}",
            _REMEDY,
        )
    return float(difference.max(initial=0) / largest)


def _bound(tensors: _LayerTensors, expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each output may be off: by rounding, or by one where integers are requantized."""
    if tensors.is_integer:  # halves may be rounded either way
        return np.full(expected.shape, float(tensors.requantization is not None))
    layer = tensors.workload.layer
    vectors = np.abs(im2col(layer, tensors.node, tensors.input, tensors.weight.shape).astype(np.float32))
    matrix = np.abs(layer.matrix(tensors.weight).astype(np.float32))
    blocks = vectors.reshape(-1, layer.groups, layer.inputs).swapaxes(0, 1)
    sums = blocks @ matrix.reshape(layer.groups, -1, layer.inputs).swapaxes(1, 2)
    magnitudes = sums.swapaxes(0, 1).reshape(-1, layer.filters).astype(np.float64)
    positive = replace(
        tensors,
        bias=None if tensors.bias is None else np.abs(tensors.bias),
        scale=None if tensors.scale is None else np.abs(tensors.scale),
        node=_with_positive_factors(tensors.node),
    )
    terms = layer.inputs * (prod(tensors.weight.shape[2:]) if layer.op == "ConvTranspose" else 1)
    largest = _layer_outputs(positive, magnitudes)
    bound = rounding_bound(largest, terms, expected, tensors.output.dtype)
    if tensors.scale is not None and tensors.output.dtype == np.float16:
        # each weight is rounded to float16 too
        bound += largest * float(np.finfo(np.float16).eps) / 2
    return bound


def _with_positive_factors(node: Node) -> Node:
    factors = {key: abs(node.attributes[key]) for key in ("alpha", "beta") if key in node.attributes}
    return replace(node, attributes={**node.attributes, **factors})


def _run(
    layer: LayerWorkload,
    operands: Operands,
    accelerator: Accelerator,
    schedule: LayerSchedule,
    dataflow: Dataflow,
    *,
    traces: Traces | None = None,
) -> EngineResult:
    """The layer on the engine, by `schedule`."""
    used, temporal_tiles = schedule.used_part(accelerator), schedule.temporal_tiles
    if layer.packing:
        return run_packing(layer.packing, operands, used, temporal_tiles, traces)
    return run_dense(dataflow, operands, used, temporal_tiles, traces)


def _operands(workload: LayerWorkload, node: Node, value: NDArray[Any], weight: NDArray[Any]) -> Operands:
    layer, bits = workload.layer, workload.packing.subword_bits if workload.packing else None
    vectors = np.ascontiguousarray(im2col(layer, node, value, weight.shape))
    matrix = LayerMatrix(np.ascontiguousarray(layer.matrix(weight)), layer.groups, subword_bits=bits)
    return Operands(matrix, vectors, overlaps=workload.gemm.overlaps)


def _layer_outputs(tensors: _LayerTensors, sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """The layer's outputs from the array's `sums`: weight scales, a bias, the factors of a Gemm, requantization.

    (vectors, filters), or the tensor of a transposed convolution.
    """
    layer, attributes, bias = tensors.workload.layer, tensors.node.attributes, tensors.bias
    if tensors.is_integer:
        return _requantized(tensors, sums if bias is None else sums + bias)
    sums = sums if tensors.scale is None else sums * tensors.scale
    if layer.op == "ConvTranspose":
        outputs: NDArray[np.float64] = output_tensor(
            layer, tensors.node, sums, tensors.input.shape, tensors.weight.shape
        )
        return outputs if bias is None else outputs + bias.reshape(-1, *(1,) * (outputs.ndim - 2))
    if layer.op != "Gemm":
        return sums if bias is None else sums + bias
    sums = sums * float(attributes.get("alpha", 1.0))
    if bias is None:
        return sums
    if layer.weight_is_left:  # the bias is that of the output, whose rows are filters
        bias = np.broadcast_to(bias, tensors.output.shape).T
    return sums + float(attributes.get("beta", 1.0)) * bias


def _requantized(tensors: _LayerTensors, sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Integer outputs from int32 `sums`: as they are, or scaled, rounded and cut to the dtype of the output."""
    rule = tensors.requantization
    if rule is None:
        return sums
    limits = np.iinfo(tensors.output.dtype)
    rounded: NDArray[np.float64] = np.rint(sums * rule.factor) + rule.zero_point
    return np.clip(rounded, limits.min, limits.max)


def _rounded(values: NDArray[Any], limit: int) -> NDArray[np.int8]:
    """`values` quantized symmetrically to -limit..limit."""
    largest = float(np.abs(values).max(initial=0)) or 1.0
    return np.rint(values.astype(np.float64) * (limit / largest)).astype(np.int8)
