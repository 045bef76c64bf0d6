"""Verify: every layer on the cycle engine, with the values that onnxruntime gives, against it and the closed form."""

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
from tightc.simulation.cost_model.memory import LayerSchedule, schedule
from tightc.simulation.cost_model.passes import Dataflow
from tightc.simulation.engine.cycle_log import Traces
from tightc.simulation.engine.loaded_tile import Operands
from tightc.simulation.engine.run import Ran, run_dense, run_packing
from tightc.simulation.workload import LayerWork, Workload
from tightc.tile.matrix import LayerMatrix

TOLERANCE = 1e-4  # of the largest output of a layer
HALF_TOLERANCE = 2e-3  # the same where onnxruntime itself rounds outputs to float16
_REMEDY = "this is a fault of tightc, not of the model: please report it with the model"
_ACTIVATION_LIMIT, _WEIGHT_LIMIT = (
    127,
    63,
)  # onnxruntime may saturate sums of two full products on older processors


@dataclass(frozen=True)
class Verified:
    """What the engine found in a layer that agrees with everyone.

    `cycles`: on the arrays. `error`: the largest difference to onnxruntime / the largest output.
    """

    cycles: int
    error: float


def verify(
    workload: Workload, accelerator: Accelerator, dataflow: Dataflow, feeds: Values
) -> Iterator[Verified]:
    """Runs the layers one by one, as floats and as int8; VerifyError where the engine disagrees with anyone.

    Floats are the activations of onnxruntime's run of the whole model on `feeds`, the outputs too: within 1e-4 of the
    largest. For int8 both operands are rounded to whole numbers and onnxruntime multiplies them as such: exact. Cycles
    are those of the closed form. DataError where a layer's numbers are not finite.
    """
    for scene in _scenes(workload, workload.layers, feeds):
        yield _verify_layer(scene, accelerator, dataflow)


def trace_layer(
    workload: Workload, entry: LayerWork, accelerator: Accelerator, dataflow: Dataflow, feeds: Values
) -> Traces:
    """What happens in every cycle of one layer, on what onnxruntime feeds it when the model gets `feeds`."""
    traces: Traces = []
    (scene,) = _scenes(workload, (entry,), feeds)
    way = schedule(entry.passes(dataflow, accelerator), entry.work, accelerator)
    operands = _operands(entry, scene.node, scene.read.astype(np.float32), scene.weight.astype(np.float32))
    _run(entry, dataflow, operands, (accelerator, way), traces)
    return traces


def _scenes(workload: Workload, entries: Sequence[LayerWork], feeds: Values) -> Iterator[_Scene]:
    """What each of `entries` reads and gives in one run of the model."""
    graph = read_graph(workload.plain.proto)
    nodes = {node.outputs[0]: node for node in graph.nodes if node.outputs}
    names = {name for entry in entries for name in (entry.layer.input, entry.layer.output)}
    addends = {entry.layer.output: _addend(nodes[entry.layer.output]) for entry in entries}
    names |= set(filter(None, addends.values()))
    constants = {name: graph.tensors[name] for name in names if name in graph.tensors}
    values = intermediate_values(workload.plain, sorted(names - set(constants)), feeds) | constants
    for entry in entries:
        node = nodes[entry.layer.output]
        addend = values.get(addends[entry.layer.output])
        weight = workload.network.weights[entry.layer.weight]
        quantized = workload.network.quantized.get(entry.layer.weight)
        scale = None if quantized is None else quantized.scale
        yield _Scene(
            entry, node, weight, scale, addend, values[entry.layer.input], values[entry.layer.output]
        )


def _addend(node: Node) -> str:
    """The name of what the node adds to its products, empty where it adds nothing."""
    return next(iter(node.inputs[2:3]), "")


@dataclass(frozen=True)
class _Scene:
    """A layer with the node it is, its weight and bias, and the tensors that it read and gave.

    Sums of whole weights are multiplied by their `scale`, (filters,) or (1,), when they have left the array.
    """

    entry: LayerWork
    node: Node
    weight: Array
    scale: Array | None
    addend: Array | None
    read: Array
    given: Array


def _verify_layer(scene: _Scene, accelerator: Accelerator, dataflow: Dataflow) -> Verified:
    layer, entry = scene.entry.layer, scene.entry
    passes = entry.passes(dataflow, accelerator)
    way = schedule(passes, entry.work, accelerator)
    cycles = way.cycles.total

    def run(value: Array, weight: Array) -> Ran:
        return _run(entry, dataflow, _operands(entry, scene.node, value, weight), (accelerator, way))

    floats = run(scene.read.astype(np.float32), scene.weight.astype(np.float32))
    given = _as_given(scene, floats.outputs.astype(np.float64))
    expected = output_matrix(layer, scene.given).astype(np.float64)
    if not (np.isfinite(scene.read).all() and np.isfinite(expected).all()):
        raise DataError(
            f"{layer.name}: onnxruntime gives it, or it gives, numbers that are not finite",
            "give other --inputs",
        )
    error = float(np.abs(given - expected).max(initial=0) / (np.abs(expected).max(initial=0) or 1.0))
    if not error <= (HALF_TOLERANCE if scene.given.dtype == np.float16 else TOLERANCE):
        raise VerifyError(f"{layer.name}: the engine's values are off by {error:.2g} of the largest", _REMEDY)
    value = _rounded(scene.read, _ACTIVATION_LIMIT)
    weight = scene.weight if scene.scale is not None else _rounded(scene.weight, _WEIGHT_LIMIT)
    integers = run(value.astype(np.int32), weight.astype(np.int32))
    half = weight // 2  # products of whole weights in two parts, each within the limit
    parts = (_integer_product(layer, scene.node, value, part) for part in (half, weight - half))
    if not np.array_equal(integers.outputs, sum(parts)):
        raise VerifyError(f"{layer.name}: the engine's int8 values are not those of onnxruntime", _REMEDY)
    for took in (floats.cycles, integers.cycles):
        if took != cycles:
            raise VerifyError(
                f"{layer.name}: the engine took {took} cycles, the closed form {cycles}", _REMEDY
            )
    return Verified(cycles, error)


def _run(
    entry: LayerWork,
    dataflow: Dataflow,
    operands: Operands,
    plan: tuple[Accelerator, LayerSchedule],
    traces: Traces | None = None,
) -> Ran:
    """The layer on the engine, on a chip as a schedule says."""
    accelerator, way = plan[1].accelerator(plan[0]), plan[1]
    if entry.packing:
        return run_packing(entry.packing, operands, accelerator, way.pieces, traces)
    return run_dense(dataflow, operands, accelerator, way.pieces, traces)


def _operands(entry: LayerWork, node: Node, value: NDArray[Any], weight: NDArray[Any]) -> Operands:
    layer, bits = entry.layer, entry.packing.subword_bits if entry.packing else None
    vectors = np.ascontiguousarray(im2col(layer, node, value, weight.shape))
    matrix = LayerMatrix(np.ascontiguousarray(layer.matrix(weight)), layer.groups, subword_bits=bits)
    return Operands(matrix, vectors)


def _as_given(scene: _Scene, sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """`sums` with what follows them: scales of whole weights, a bias, the factors of a Gemm."""
    sums = sums if scene.scale is None else sums * scene.scale
    attributes = scene.node.attributes
    if scene.entry.layer.op != "Gemm":
        return sums if scene.addend is None else sums + scene.addend
    sums = sums * attributes.get("alpha", 1.0)
    return sums if scene.addend is None else sums + attributes.get("beta", 1.0) * scene.addend


def _rounded(values: NDArray[Any], limit: int) -> NDArray[np.int8]:
    """`values` as whole numbers up to `limit`, in proportion."""
    largest = float(np.abs(values).max(initial=0)) or 1.0
    return np.rint(values.astype(np.float64) * (limit / largest)).astype(np.int8)


def _integer_product(
    layer: Layer, node: Node, value: NDArray[np.int8], weight: NDArray[np.int8]
) -> NDArray[np.int32]:
    """(vectors, filters) of the layer on whole numbers, by onnxruntime's operators for them."""
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
