"""The layers of a model as matrices, and the list of what cannot be one, with reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.layer_view.quantized_weights import QuantizedWeight, quantized_weights
from tightc.model.onnx_proto.graph import (
    WEIGHT_INPUTS,
    Array,
    Graph,
    Node,
    is_identity,
    is_standard,
    read_graph,
    subgraph_reads,
)
from tightc.report import first_few

_OTHER_MULTIPLIERS = frozenset(
    [
        "ConvTranspose",
        "ConvInteger",
        "QLinearConv",
        "MatMulInteger",
        "QLinearMatMul",
        "DeformConv",
        "Einsum",
        "LSTM",
        "GRU",
        "RNN",
        "Attention",
    ]
)
_WITH_SUBGRAPHS = frozenset(("If", "Loop", "Scan"))
_FOREIGN_HINTS = {"com.microsoft": "give the model as it was before onnxruntime optimized it"}
_FLOATS = ("float16", "float32", "float64")


@dataclass(frozen=True)
class Layer:
    """A Conv, Gemm or MatMul whose constant `weight`, of real or whole numbers, is a matrix of `filters` x `inputs`.

    `filters` counts all groups, `inputs` one group, so that a grouped layer stores its blocks one below the other.
    `input` is the value that streams in, `output` the one that it computes; `shares` names the earlier layer that has
    the same weight, if one has.
    """

    name: str
    op: str
    weight: str
    filters: int
    inputs: int
    groups: int
    filters_first: bool
    input: str
    output: str
    shares: str | None = None

    def matrix(self, weight: Array) -> Array:
        """The weight tensor as (filters, inputs), a view where its layout allows."""
        return weight.reshape(self.filters, self.inputs) if self.filters_first else weight.T

    def tensor(self, matrix: Array, shape: tuple[int, ...]) -> Array:
        """The inverse of `matrix`: (filters, inputs) back to the weight's own `shape`."""
        return np.ascontiguousarray(matrix.reshape(shape) if self.filters_first else matrix.T)


@dataclass(frozen=True)
class Uncovered:
    """An operator that multiplies but is not a layer here, and why."""

    node: Node
    reason: str


@dataclass(frozen=True)
class Network:
    """The layers of a model in execution order, their weights, and what is not covered.

    `quantized`: of the weights that are whole numbers, what makes them real. `tied`: weights that something else reads
    too, such as a product with the transpose, or the DequantizeLinear of an int8 weight.
    """

    layers: tuple[Layer, ...]
    uncovered: tuple[Uncovered, ...]
    weights: dict[str, NDArray[Any]]
    quantized: dict[str, QuantizedWeight]
    tied: frozenset[str] = frozenset()

    @property
    def owners(self) -> tuple[Layer, ...]:
        """The layers without those that share the weight of an earlier one."""
        return tuple(layer for layer in self.layers if layer.shares is None)

    def matrix(self, layer: Layer) -> Array:
        """The layer matrix of `layer`, (filters, inputs), in the weight's dtype."""
        return layer.matrix(self.weights[layer.weight])

    def dequantized_matrix(self, layer: Layer) -> NDArray[np.float64]:
        """The same as real numbers: whole ones times their scales."""
        matrix: NDArray[np.float64] = self.matrix(layer).astype(np.float64)
        quantized = self.quantized.get(layer.weight)
        return matrix if quantized is None else matrix * quantized.scale[:, None]

    def require_subwords(self, layers: Sequence[Layer], origin: str) -> None:
        """ModelError where the weight of one of `layers` has no digits: it is real, or holds -128."""
        real = [layer.name for layer in layers if layer.weight not in self.quantized]
        if real:
            raise ModelError(
                f"{origin}: the weights of {first_few(real)} are real numbers, which have no subwords",
                "run tightc quantize first, or keep those layers",
            )
        for layer in layers:
            if (self.weights[layer.weight] == -128).any():
                raise ModelError(
                    f"{origin}: the weight {layer.weight} holds -128, which has no sign and magnitude in eight bits",
                    "quantize it to -127 to 127, as tightc quantize does",
                )

    def dequantized(self, model: Model) -> Model:
        """`model`, whose network this is, with real constants in place of whole ones and their DequantizeLinear."""
        proto = model.editable()
        real = {
            self.quantized[layer.weight].value: self.dequantized_tensor(layer)
            for layer in self.owners
            if layer.weight in self.quantized
        }
        kept = [node for node in proto.graph.node if not (set(node.output) & real.keys())]
        del proto.graph.node[:]
        proto.graph.node.extend(kept)
        proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in real.items())
        return model.changed(proto)

    def dequantized_tensor(self, layer: Layer) -> Array:
        """The weight of `layer` in its own shape: as it is, or float32 where it is whole numbers times scales."""
        weight = self.weights[layer.weight]
        if layer.weight not in self.quantized:
            return weight
        return layer.tensor(self.dequantized_matrix(layer).astype(np.float32), weight.shape)


def read_network(model: Model) -> Network:
    """Finds the layers of a plain model; ModelError where there is none.

    Every Conv, Gemm and MatMul becomes a Layer or an Uncovered with its reason, as does every other operator that
    multiplies; the rest (activations, pooling, sums) is not listed.
    """
    graph = read_graph(model.proto)
    weights = _Weights(graph, model)
    layers: list[Layer] = []
    uncovered: list[Uncovered] = []
    for node in graph.nodes:
        if _multiplies(node):
            found = weights.layer_of(node, layers)
            if isinstance(found, Layer):
                layers.append(found)
            else:
                uncovered.append(Uncovered(node, found))
    if not layers:
        reasons = "; ".join(f"{entry.node.op} {entry.node.label}: {entry.reason}" for entry in uncovered[:3])
        raise ModelError(
            f"{model.origin}: no layer can be packed ({reasons or 'it has no Conv, Gemm or MatMul'})",
            "give a model with Conv, Gemm or MatMul layers that have constant weights",
        )
    used = {layer.weight: graph.tensors[layer.weight] for layer in layers}
    quantized = {entry.weight: entry for entry in weights.quantized.values() if entry.weight in used}
    return Network(tuple(layers), tuple(uncovered), used, quantized, weights.tied(layers))


class _Weights:
    """Which constants may serve as a layer matrix, by who else reads them."""

    def __init__(self, graph: Graph, model: Model) -> None:
        proto = model.proto
        self.graph = graph
        self.quantized = quantized_weights(graph, model.origin)
        self.identities = {
            node.outputs[0]: node.inputs[0] for node in graph.nodes if is_identity(node.op, node.domain)
        }
        self.producers = {name: node for node in graph.nodes for name in node.outputs}
        self.readers = graph.consumers()
        self.outputs = {self.root(name) for name in graph.outputs}
        self.inside = {self.root(name): label for name, label in subgraph_reads(proto).items()}
        self.replaceable = {value.name for value in proto.graph.input}

    def root(self, name: str) -> str:
        """The name behind a chain of Identity nodes."""
        while name in self.identities:
            name = self.identities[name]
        return name

    def tied(self, layers: Sequence[Layer]) -> frozenset[str]:
        """The weights of `layers` that have a reader besides them."""
        outputs = {layer.output for layer in layers}
        return frozenset(
            layer.weight
            for layer in layers
            if any(not outputs.intersection(reader.outputs) for reader in self._all_readers(layer.weight))
        )

    def layer_of(self, node: Node, earlier: list[Layer]) -> Layer | str:
        """The layer that `node` is, or the reason why it is none."""
        reason = _foreign(node)
        if reason:
            return reason
        slots = [slot for slot in WEIGHT_INPUTS[node.op] if self._constant(self.root(node.inputs[slot]))]
        if not slots:
            return self._why_not_constant(node)
        value = self.root(node.inputs[slots[0]])
        name = self._constant(value)
        reason = self._refusal(node, value, slots[0])
        if reason:
            return reason
        layer = _layer(node, name, self.graph.tensors[name].shape, slots[0])
        if value in self.quantized and not _along_filters(self.quantized[value], layer):
            return f"its weight {name} has scales that do not go along its filters"
        twin = next((other for other in earlier if other.weight == name), None)
        if twin is None:
            return layer
        if (twin.groups, twin.filters_first, twin.filters) != (
            layer.groups,
            layer.filters_first,
            layer.filters,
        ):
            return f"its weight {name} is shared with {twin.name}, which reads it as another matrix"
        return replace(layer, shares=twin.name)

    def _constant(self, value: str) -> str:
        """The constant that a value is, or is made of by DequantizeLinear; empty where it is neither."""
        if value in self.quantized:
            return self.quantized[value].weight
        return value if value in self.graph.tensors else ""

    def _why_not_constant(self, node: Node) -> str:
        value = self.root(node.inputs[1])
        producer = self.producers.get(value)
        if producer is None or not self._of_constants(value):
            if producer is not None and producer.op == "DequantizeLinear":
                return "its weight is dequantized by scales that are computed at run time"
            return "it has no constant weight: both sides are computed at run time"
        if producer.op == "DequantizeLinear" and all(name in self.graph.tensors for name in producer.inputs):
            return "its weight is quantized by blocks"
        return f"its weight is computed from constants by {producer.op}, which is not folded here"

    def _of_constants(self, value: str) -> bool:
        """Whether a value depends on constants alone."""
        seen: set[str] = set()
        waiting = [value]
        while waiting:
            name = waiting.pop()
            if name in seen or not name or (name in self.graph.tensors and name not in self.replaceable):
                continue
            if name not in self.producers:
                return False
            seen.add(name)
            waiting += self.producers[name].inputs
        return True

    def _refusal(self, node: Node, value: str, slot: int) -> str:
        name = self._constant(value)
        tensor = self.graph.tensors[name]
        if name in self.replaceable:
            return f"its weight {name} is also an input of the model, which a caller may replace"
        if value not in self.quantized and tensor.dtype.name not in _FLOATS:
            return f"its weight {name} is {tensor.dtype.name}, not a floating-point type numpy has"
        if node.op != "Conv" and tensor.ndim != 2:
            return f"its weight {name} has {tensor.ndim} dimensions, not 2"
        if tensor.size == 0:
            return f"its weight {name} is empty"
        others = [reader for reader in self._all_readers(value) if not self._reads_as_weight(reader, value)]
        if value in self.quantized:
            others += self.readers[name][1:]
        inside = next((self.inside[read] for read in (value, name) if read in self.inside), "")
        if others or inside:
            return f"its weight {name} also feeds {others[0].label if others else inside}"
        if {value, name} & self.outputs:
            return f"its weight {name} is also an output of the model"
        if node.op == "MatMul" and slot == 1 and self._constant(self.root(node.inputs[0])):
            return "both of its sides are constant"
        return ""

    def _all_readers(self, name: str) -> list[Node]:
        found = []
        for reader in self.readers.get(name, []):
            found += (
                self._all_readers(reader.outputs[0]) if is_identity(reader.op, reader.domain) else [reader]
            )
        return found

    def _reads_as_weight(self, node: Node, name: str) -> bool:
        slots = [slot for slot, value in enumerate(node.inputs) if self.root(value) == name]
        return is_standard(node.domain) and len(slots) == 1 and slots[0] in WEIGHT_INPUTS.get(node.op, ())


def _layer(node: Node, weight: str, shape: tuple[int, ...], slot: int) -> Layer:
    if node.op == "Conv":
        filters, inputs, groups, first = shape[0], prod(shape[1:]), node.attributes.get("group", 1), True
    else:
        first = slot == 0 or bool(node.attributes.get("transB", 0))
        filters, inputs = shape if first else shape[::-1]
        groups = 1
    streamed = node.inputs[1 - slot]
    return Layer(node.label, node.op, weight, filters, inputs, groups, first, streamed, node.outputs[0])


def _along_filters(quantized: QuantizedWeight, layer: Layer) -> bool:
    return len(quantized.scale) == 1 or quantized.axis == (0 if layer.filters_first else 1)


def _multiplies(node: Node) -> bool:
    return (
        not is_standard(node.domain)
        or node.op in WEIGHT_INPUTS
        or node.op in _OTHER_MULTIPLIERS
        or node.op in _WITH_SUBGRAPHS
    )


def _foreign(node: Node) -> str:
    if not is_standard(node.domain):
        hint = _FOREIGN_HINTS.get(node.domain, "functions: inline them with onnx.inliner")
        return f"operators of the domain {node.domain} are not known ({hint})"
    if node.op in _WITH_SUBGRAPHS:
        return "layers inside a subgraph are not read"
    if node.op not in WEIGHT_INPUTS:
        return f"{node.op} is not among the operators that are packed ({', '.join(WEIGHT_INPUTS)})"
    return ""
