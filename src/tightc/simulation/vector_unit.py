"""The work of the vector unit: operations between layers, and layers that the array does not run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import ModelError
from tightc.model.layer_view.layer import Layer
from tightc.model.onnx_proto.graph import Graph, Node, read_graph
from tightc.model.runtime.shapes import Shape, value_shapes
from tightc.report import join_names
from tightc.simulation.workload import Workload

# addressing, constants, and conversions that are a part of writing a result
_FREE = frozenset(
    (
        *("Identity", "Dropout", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Concat", "Split", "Slice"),
        *("Shape", "Size", "Constant", "ConstantOfShape"),
        *("QuantizeLinear", "DequantizeLinear", "QLinearConcat"),
    )
)
_WRITES_ALONE = frozenset(("Gather", "GatherElements", "GatherND"))
_IN_REQUANTIZER = frozenset(("Relu", "Clip", "BatchNormalization", "Add", "Sub", "Mul", "Div", "Max", "Min"))
_PASSED_ON = frozenset(("Identity", "Dropout", "QuantizeLinear", "DequantizeLinear"))
_WITHOUT_DATA = frozenset(("Shape", "Size"))
_NORMALIZATION_OPERATIONS = 5
_TAPS = {"nearest": 1, "linear": 2, "cubic": 4}  # of an interpolation, along each axis that is resized

Shapes = Mapping[str, Shape]


@dataclass(frozen=True)
class VectorOperator:
    """An operator that the vector unit runs, and its `operations`, None where they are unknown."""

    name: str
    operator: str
    operations: int | None

    def cycles(self, operations_per_cycle: float) -> int | None:
        """Cycles at a rate of so many operations."""
        return None if self.operations is None else ceil(self.operations / operations_per_cycle)


def vector_operators(workload: Workload, input_sizes: InputSizeOptions) -> tuple[VectorOperator, ...]:
    """The operators of `workload` that the vector unit runs, with inputs of `input_sizes`, in order.

    Those behind a layer that the requantizer runs, those that only address or convert values, and those on constants
    are not among them. An operation is one addition, comparison, multiplication, look-up or multiply-accumulate.
    """
    graph = read_graph(workload.plain.proto)
    data = _data_values(graph)
    done = {layer.output for layer in workload.network.layers} | _requantized(graph, workload.network.layers)
    rows = zip(workload.network.uncovered, workload.uncovered, strict=True)
    macs = {entry.node.outputs: row["macs"] for entry, row in rows}
    nodes = [node for node in graph.nodes if _is_run(node, data, done)]
    counted = [node for node in nodes if node.outputs not in macs]
    wanted = [name for node in counted for name in (*node.inputs, *node.outputs) if name in data]
    proto, origin = workload.plain.proto, workload.plain.origin
    try:
        shapes = value_shapes(proto, origin, wanted, input_sizes)
    except (
        ModelError
    ):  # one of them is no tensor, or the model cannot be run: those that follow without a run
        shapes = value_shapes(proto, origin, (), input_sizes)
    found = []
    for node in nodes:
        operations = macs[node.outputs] if node.outputs in macs else _operations(node, data, shapes)
        found.append(VectorOperator(node.label, node.op, operations))
    return tuple(found)


def latency_metrics(
    operators: Sequence[VectorOperator], cycles: int, dense_cycles: int, rate: float, clock_hz: float
) -> dict[str, Any]:
    """The latency of a network by the names of the glossary; None where the work of an operator is unknown.

    `cycles`, `dense_cycles`: of its layers on the arrays. `rate`: operations of the vector unit in a cycle.
    """
    spent = [operator.cycles(rate) for operator in operators]
    known = None if None in spent else sum(count for count in spent if count is not None)
    both = {"latency_ms": cycles, "dense_latency_ms": dense_cycles}
    return {
        **{name: None if known is None else 1e3 * (own + known) / clock_hz for name, own in both.items()},
        "vector_unit_cycles": known,
        "vector_unit_operators": [
            {"name": operator.name, "operator": operator.operator, "operations": operator.operations}
            for operator in operators
        ],
    }


def latency_note(operators: Sequence[VectorOperator]) -> tuple[str, ...]:
    """A note where the latency is unknown."""
    unknown = [f"{one.operator} {one.name}" for one in operators if one.operations is None]
    if not unknown:
        return ()
    return (f"latency_ms is unknown, since the operations of {join_names(unknown)} are",)


def _data_values(graph: Graph) -> set[str]:
    """Names of the values that depend on what a caller feeds, by more than its shape."""
    found = set(graph.inputs)
    for node in graph.nodes:
        if node.op not in _WITHOUT_DATA and not found.isdisjoint((*node.inputs, *node.captured)):
            found.update(name for name in node.outputs if name)
    return found


def _is_run(node: Node, data: set[str], done: set[str]) -> bool:
    outputs = {name for name in node.outputs if name}
    return node.op not in _FREE and bool(outputs & data) and outputs.isdisjoint(done)


def _requantized(graph: Graph, layers: Sequence[Layer]) -> set[str]:
    """Outputs of the operators right behind `layers` that run on the way out of the array.

    They are linear for each filter, or cut to a range, and nothing else reads what they do.
    """
    consumers, ends = graph.consumers(), set(graph.outputs)
    ends.update(name for node in graph.nodes for name in node.captured)
    found: set[str] = set()
    for layer in layers:
        value = layer.output
        while value not in ends:
            readers = [node for node in consumers.get(value, ()) if node.op not in _WITHOUT_DATA]
            if len(readers) != 1:
                break
            (node,) = readers
            if node.op not in _PASSED_ON and not _is_per_filter(node, value, graph, layer.filters):
                break
            value = node.outputs[0]
            found.add(value)
    return found


def _is_per_filter(node: Node, value: str, graph: Graph, filters: int) -> bool:
    """Whether `node` is among _IN_REQUANTIZER, and all it reads but `value` are constants, one a filter at most."""
    others = [name for name in node.inputs if name and name != value]
    if node.op == "Div" and node.inputs[0] != value:
        return False
    return (
        node.op in _IN_REQUANTIZER
        and node.inputs.count(value) == 1
        and all(name in graph.tensors and prod(graph.shape(name)) <= filters for name in others)
    )


def _operations(node: Node, data: set[str], shapes: Shapes) -> int | None:
    """Operations of a node that is no layer; None where a shape is unknown."""
    inputs = [name for name in node.inputs if name in data]
    outputs = [name for name in node.outputs if name]
    if not all(name in shapes for name in (*inputs, *outputs)):
        return None
    written = sum(prod(shapes[name]) for name in outputs)
    if node.op in _WRITES_ALONE:
        return written
    rule = _RULES.get(node.op.removeprefix("QLinear"))
    if rule is not None:
        return prod(shapes[outputs[0]]) * rule(node, shapes)
    return max(written, *(prod(shapes[name]) for name in inputs))


def _window(node: Node, _shapes: Shapes) -> int:
    return prod(node.attributes.get("kernel_shape", ()))


def _terms(node: Node, _shapes: Shapes) -> int:
    return max(1, len(node.inputs) - 1)


def _normalization(_node: Node, _shapes: Shapes) -> int:
    return _NORMALIZATION_OPERATIONS


def _neighbors(node: Node, _shapes: Shapes) -> int:
    return int(node.attributes.get("size", 1))


def _interpolation(node: Node, shapes: Shapes) -> int:
    before, after = shapes[node.inputs[0]], shapes[node.outputs[0]]
    axes = sum(old != new for old, new in zip(before, after, strict=True))
    taps: int = _TAPS.get(node.attributes.get("mode", "nearest"), 1) ** axes
    return taps


# operations for each element of the first output
_RULES: dict[str, Callable[[Node, Shapes], int]] = {
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), _window),
    **dict.fromkeys(("Sum", "Mean", "Max", "Min"), _terms),
    **dict.fromkeys(
        (
            *("Softmax", "LogSoftmax", "LayerNormalization", "InstanceNormalization", "GroupNormalization"),
            *("RMSNormalization", "MeanVarianceNormalization", "LpNormalization"),
        ),
        _normalization,
    ),
    "LRN": _neighbors,
    **dict.fromkeys(("Resize", "Upsample"), _interpolation),
}
