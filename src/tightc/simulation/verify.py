"""Verify: every layer on the cycle engine, its values against onnxruntime and its cycles against the closed form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tightc.errors import DataError, VerifyError
from tightc.model.intermediate_values import Values, intermediate_values
from tightc.model.layer_view.im2col import im2col, output_matrix
from tightc.model.layer_view.layers import Layer
from tightc.model.onnx_proto.graph import Array, Node, read_graph
from tightc.model.runtime.session import create_session
from tightc.simulation.accelerator.accelerator import Accelerator
from tightc.simulation.cost_model.memory import LayerSchedule, schedule_layer
from tightc.simulation.cost_model.passes import Dataflow
from tightc.simulation.engine.cycle_log import Traces
from tightc.simulation.engine.loaded_tile import Operands
from tightc.simulation.engine.run import EngineResult, run_dense, run_packing
from tightc.simulation.workload import LayerWorkload, Workload
from tightc.tile.matrix import LayerMatrix

TOLERANCE = 1e-4  # of the largest output of a layer
HALF_TOLERANCE = 2e-3  # the same where onnxruntime itself rounds outputs to float16
_REMEDY = "this is a fault of tightc, not of the model: please report it with the model"
# onnxruntime may saturate sums of two full int8 products on older processors
_ACTIVATION_LIMIT, _WEIGHT_LIMIT = 127, 63


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
    1e-4 of the largest. Int8: both operands are quantized, onnxruntime multiplies them as integers, and the outputs are
    equal. The cycles equal those of the closed form. VerifyError where the engine disagrees, DataError where a layer's
    values are not finite.
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
    schedule = schedule_layer(layer.passes(dataflow, accelerator), layer.gemm, accelerator)
    operands = _operands(
        layer, tensors.node, tensors.input.astype(np.float32), tensors.weight.astype(np.float32)
    )
    _run(layer, operands, accelerator, schedule, dataflow, traces=traces)
    return traces


@dataclass(frozen=True)
class _LayerTensors:
    """A layer with its node, weight and bias, and its input and output in one run of the model.

    `scale`: (filters,) or (1,), by which the sums of quantized weights are multiplied after the array; else None.
    """

    workload: LayerWorkload
    node: Node
    weight: Array
    scale: Array | None
    bias: Array | None
    input: Array
    output: Array


def _layer_tensors(
    workload: Workload, layers: Sequence[LayerWorkload], feeds: Values
) -> Iterator[_LayerTensors]:
    """The tensors of each of `layers` in one run of the model on `feeds`."""
    graph = read_graph(workload.plain.proto)
    nodes = {node.outputs[0]: node for node in graph.nodes if node.outputs}
    names = {name for entry in layers for name in (entry.layer.input, entry.layer.output)}
    biases = {entry.layer.output: _bias_name(nodes[entry.layer.output]) for entry in layers}
    names |= set(filter(None, biases.values()))
    constants = {name: graph.tensors[name] for name in names if name in graph.tensors}
    values = intermediate_values(workload.plain, sorted(names - set(constants)), feeds) | constants
    for entry in layers:
        quantized = workload.network.quantized.get(entry.layer.weight)
        yield _LayerTensors(
            workload=entry,
            node=nodes[entry.layer.output],
            weight=workload.network.weights[entry.layer.weight],
            scale=None if quantized is None else quantized.scale,
            bias=values.get(biases[entry.layer.output]),
            input=values[entry.layer.input],
            output=values[entry.layer.output],
        )


def _bias_name(node: Node) -> str:
    """The name of what the node adds to its products, empty where it adds nothing."""
    return next(iter(node.inputs[2:3]), "")


def _verify_layer(tensors: _LayerTensors, accelerator: Accelerator, dataflow: Dataflow) -> Verified:
    workload, layer = tensors.workload, tensors.workload.layer
    schedule = schedule_layer(workload.passes(dataflow, accelerator), workload.gemm, accelerator)
    cycles = schedule.cycles.total

    def run(value: Array, weight: Array) -> EngineResult:
        operands = _operands(workload, tensors.node, value, weight)
        return _run(workload, operands, accelerator, schedule, dataflow)

    floats = run(tensors.input.astype(np.float32), tensors.weight.astype(np.float32))
    error = _float_error(tensors, floats)
    value = _rounded(tensors.input, _ACTIVATION_LIMIT)
    weight = tensors.weight if tensors.scale is not None else _rounded(tensors.weight, _WEIGHT_LIMIT)
    integers = run(value.astype(np.int32), weight.astype(np.int32))
    half = weight // 2  # products of int8 weights in two parts, each within the limit
    parts = (_integer_product(layer, tensors.node, value, part) for part in (half, weight - half))
    if not np.array_equal(integers.outputs, sum(parts)):
        raise VerifyError(
            f"{layer.name}: expected the int8 values of onnxruntime, got different ones from the engine",
            _REMEDY,
        )
    for result in (floats, integers):
        if result.cycles != cycles:
            raise VerifyError(
                f"{layer.name}: expected {cycles} cycles, by the closed form, got {result.cycles} from the engine",
                _REMEDY,
            )
    return Verified(cycles, error)


def _float_error(tensors: _LayerTensors, result: EngineResult) -> float:
    """The largest difference to onnxruntime's outputs / the largest output; VerifyError beyond the tolerance."""
    layer = tensors.workload.layer
    outputs = _layer_outputs(tensors, result.outputs.astype(np.float64))
    expected = output_matrix(layer, tensors.output).astype(np.float64)
    if not (np.isfinite(tensors.input).all() and np.isfinite(expected).all()):
        raise DataError(
            f"{layer.name}: expected finite inputs and outputs in onnxruntime, got inf or nan",
            "give other --inputs",
        )
    error = float(np.abs(outputs - expected).max(initial=0) / (np.abs(expected).max(initial=0) or 1.0))
    tolerance = HALF_TOLERANCE if tensors.output.dtype == np.float16 else TOLERANCE
    if not error <= tolerance:
        raise VerifyError(
            f"{layer.name}: expected engine values within {tolerance:g} of the largest output, got {error:.2g}",
            _REMEDY,
        )
    return error


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
    return Operands(matrix, vectors)


def _layer_outputs(tensors: _LayerTensors, sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """The layer's outputs from the array's `sums`: weight scales, a bias, the factors of a Gemm."""
    sums = sums if tensors.scale is None else sums * tensors.scale
    attributes = tensors.node.attributes
    if tensors.workload.layer.op != "Gemm":
        return sums if tensors.bias is None else sums + tensors.bias
    sums = sums * attributes.get("alpha", 1.0)
    return sums if tensors.bias is None else sums + attributes.get("beta", 1.0) * tensors.bias


def _rounded(values: NDArray[Any], limit: int) -> NDArray[np.int8]:
    """`values` quantized symmetrically to -limit..limit."""
    largest = float(np.abs(values).max(initial=0)) or 1.0
    return np.rint(values.astype(np.float64) * (limit / largest)).astype(np.int8)


def _integer_product(
    layer: Layer, node: Node, value: NDArray[np.int8], weight: NDArray[np.int8]
) -> NDArray[np.int32]:
    """(vectors, filters) of the layer on int8 operands, by onnxruntime's integer operators."""
    if layer.op == "Conv":
        kept = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
        attributes = {name: entry for name, entry in node.attributes.items() if name in kept}
        operator = helper.make_node("ConvInteger", ["x", "w"], ["y"], **attributes)
    else:
        value = np.ascontiguousarray(im2col(layer, node, value, weight.shape))
        weight = np.ascontiguousarray(layer.matrix(weight).T)
        operator = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    graph = helper.make_graph(
        [operator],
        "integers",
        [helper.make_tensor_value_info("x", onnx.TensorProto.INT8, value.shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.INT32, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = create_session(model.SerializeToString(), layer.name)
    found = session.run(None, {"x": value})[0]
    return output_matrix(layer, found) if layer.op == "Conv" else found
