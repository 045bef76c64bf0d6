"""The layers of a model as matrices, and the operators that cannot be one, with reasons."""

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
from tightc.report import join_names

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
    """A Conv, Gemm or MatMul with a constant `weight`, float or int8, that is a matrix of `filters` x `inputs`.

    `filters` counts all groups and `inputs` those of one group: the blocks of a grouped layer are stacked. With
    `filters_first`, filters are the first axis of the weight tensor. `input` and `output` are the values that the
    layer reads and computes. `shared_with` names an earlier layer with the same weight.
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
    shared_with: str | None = None

    def matrix(self, weight: Array) -> Array:
        """The weight tensor as (filters, inputs), a view where its layout allows."""
        return weight.reshape(self.filters, self.inputs) if self.filters_first else weight.T

    def tensor(self, matrix: Array, shape: tuple[int, ...]) -> Array:
        """The inverse of `matrix`: from (filters, inputs) to the `shape` of the weight tensor."""
        return np.ascontiguousarray(matrix.reshape(shape) if self.filters_first else matrix.T)


@dataclass(frozen=True)
class Uncovered:
    """An operator that multiplies but cannot be a layer, and the reason."""

    node: Node
    reason: str


@dataclass(frozen=True)
class Network:
    """The layers of a model in execution order, their weights by name, and the operators that are not covered.

    `quantized`: the scales of int8 weights, by weight. `tied`: weights with other readers than layers, such as a
    product with the transpose, or the DequantizeLinear of an int8 weight.
    """

    layers: tuple[Layer, ...]
    uncovered: tuple[Uncovered, ...]
    weights: dict[str, NDArray[Any]]
    quantized: dict[str, QuantizedWeight]
    tied: frozenset[str] = frozenset()

    @property
    def owners(self) -> tuple[Layer, ...]:
        """The first layer of each weight: all layers except those that share the weight of an earlier one."""
        return tuple(layer for layer in self.layers if layer.shared_with is None)

    def matrix(self, layer: Layer) -> Array:
        """The layer matrix of `layer`, (filters, inputs), in the weight's dtype."""
        return layer.matrix(self.weights[layer.weight])

    def dequantized_matrix(self, layer: Layer) -> NDArray[np.float64]:
        """The layer matrix of `layer` in float64, int8 weights times their scales."""
        matrix: NDArray[np.float64] = self.matrix(layer).astype(np.float64)
        quantized = self.quantized.get(layer.weight)
        return matrix if quantized is None else matrix * quantized.scale[:, None]

    def require_subwords(self, layers: Sequence[Layer], origin: str) -> None:
        """ModelError, naming `origin`, where the weight of one of `layers` is not int8 or contains -128.

        Subwords are parts of a 7-bit magnitude, which -128 does not fit.
        """
        floats = [layer.name for layer in layers if layer.weight not in self.quantized]
        if floats:
            raise ModelError(
                f"{origin}: expected int8 weights, which have subwords, got float weights in {join_names(floats)}",
                "run tightc quantize first, or skip those layers",
            )
        for layer in layers:
            if (self.weights[layer.weight] == -128).any():
                raise ModelError(
                    f"{origin}: expected values from -127 to 127 in the weight {layer.weight}, got -128",
                    "quantize it to that range, as tightc quantize does",
                )

    def dequantized(self, model: Model) -> Model:
        """The `model` of this network with float weights in place of int8 weights and their DequantizeLinear."""
        proto = model.copy_proto()
        floats = {
            self.quantized[layer.weight].value: self.dequantized_tensor(layer)
            for layer in self.owners
            if layer.weight in self.quantized
        }
        kept = [node for node in proto.graph.node if not (set(node.output) & floats.keys())]
        del proto.graph.node[:]
        proto.graph.node.extend(kept)
        proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in floats.items())
        return model.with_proto(proto)

    def dequantized_tensor(self, layer: Layer) -> Array:
        """The weight tensor of `layer`: unchanged if it is float, else float32, int8 weights times their scales."""
        weight = self.weights[layer.weight]
        if layer.weight not in self.quantized:
            return weight
        return layer.tensor(self.dequantized_matrix(layer).astype(np.float32), weight.shape)


def read_network(model: Model) -> Network:
    """Find the layers of a plain `model`; ModelError where there is none.

    Every operator that multiplies becomes a Layer, or an Uncovered with the reason. Others, such as activations and
    pooling, are not listed.
    """
    graph = read_graph(model.proto)
    weights = _WeightReaders(graph, model)
    layers: list[Layer] = []
    uncovered: list[Uncovered] = []
    for node in graph.nodes:
        if _multiplies(node):
            found = weights.find_layer(node, layers)
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
    return Network(tuple(layers), tuple(uncovered), used, quantized, weights.find_tied(layers))


class _WeightReaders:
    """The readers of each constant, which decide whether it can be a layer matrix."""

    def __init__(self, graph: Graph, model: Model) -> None:
        proto = model.proto
        self.graph = graph
        self.quantized = quantized_weights(graph, model.origin)
        self.identities = {
            node.outputs[0]: node.inputs[0] for node in graph.nodes if is_identity(node.op, node.domain)
        }
        self.producers = {name: node for node in graph.nodes for name in node.outputs}
        self.readers = graph.consumers()
        self.outputs = {self.skip_identities(name) for name in graph.outputs}
        self.subgraph_reads = {
            self.skip_identities(name): label for name, label in subgraph_reads(proto).items()
        }
        self.graph_inputs = {value.name for value in proto.graph.input}

    def skip_identities(self, name: str) -> str:
        """The value at the start of the chain of Identity nodes that ends in `name`."""
        while name in self.identities:
            name = self.identities[name]
        return name

    def find_tied(self, layers: Sequence[Layer]) -> frozenset[str]:
        """The weights of `layers` that another node reads too."""
        outputs = {layer.output for layer in layers}
        return frozenset(
            layer.weight
            for layer in layers
            if any(not outputs.intersection(reader.outputs) for reader in self._find_readers(layer.weight))
        )

    def find_layer(self, node: Node, earlier: list[Layer]) -> Layer | str:
        """The layer of `node`, or the reason why it cannot be one; `earlier` are the layers before it."""
        reason = _unsupported_operator(node)
        if reason:
            return reason
        slots = [
            slot
            for slot in WEIGHT_INPUTS[node.op]
            if self._constant_behind(self.skip_identities(node.inputs[slot]))
        ]
        if not slots:
            return self._explain_not_constant(node)
        value = self.skip_identities(node.inputs[slots[0]])
        name = self._constant_behind(value)
        reason = self._unsupported_weight(node, value, slots[0])
        if reason:
            return reason
        layer = _build_layer(node, name, self.graph.tensors[name].shape, slots[0])
        if value in self.quantized and not _scales_along_filters(self.quantized[value], layer):
            return f"its weight {name} has scales that do not go along its filters"
        first = next((other for other in earlier if other.weight == name), None)
        if first is None:
            return layer
        if (first.groups, first.filters_first, first.filters) != (
            layer.groups,
            layer.filters_first,
            layer.filters,
        ):
            return f"its weight {name} is shared with {first.name}, which reads it as another matrix"
        return replace(layer, shared_with=first.name)

    def _constant_behind(self, value: str) -> str:
        """`value` itself if it is a constant, the int8 weight that it is dequantized from, or an empty name."""
        if value in self.quantized:
            return self.quantized[value].weight
        return value if value in self.graph.tensors else ""

    def _explain_not_constant(self, node: Node) -> str:
        """The reason why no operand of `node` is a constant weight."""
        value = self.skip_identities(node.inputs[1])
        producer = self.producers.get(value)
        if producer is None or not self._depends_on_constants(value):
            if producer is not None and producer.op == "DequantizeLinear":
                return "its weight is dequantized by scales that are computed at run time"
            return "it has no constant weight: both sides are computed at run time"
        if producer.op == "DequantizeLinear" and all(name in self.graph.tensors for name in producer.inputs):
            return "its weight is quantized by blocks"
        return f"its weight is computed from constants by {producer.op}, which is not folded here"

    def _depends_on_constants(self, value: str) -> bool:
        """Whether a value depends on nothing but constants."""
        seen: set[str] = set()
        waiting = [value]
        while waiting:
            name = waiting.pop()
            if name in seen or not name or (name in self.graph.tensors and name not in self.graph_inputs):
                continue
            if name not in self.producers:
                return False
            seen.add(name)
            waiting += self.producers[name].inputs
        return True

    def _unsupported_weight(self, node: Node, value: str, slot: int) -> str:
        """The reason why the weight `value`, input `slot` of `node`, cannot be a layer matrix, or empty."""
        name = self._constant_behind(value)
        tensor = self.graph.tensors[name]
        if name in self.graph_inputs:
            return f"its weight {name} is also an input of the model, which a caller may replace"
        if value not in self.quantized and tensor.dtype.name not in _FLOATS:
            return f"its weight {name} is {tensor.dtype.name}, not a floating-point type numpy has"
        if node.op != "Conv" and tensor.ndim != 2:
            return f"its weight {name} has {tensor.ndim} dimensions, not 2"
        if tensor.size == 0:
            return f"its weight {name} is empty"
        readers = [reader for reader in self._find_readers(value) if not self._reads_as_weight(reader, value)]
        if value in self.quantized:
            readers += self.readers[name][1:]
        labels = [reader.label for reader in readers]
        labels += [self.subgraph_reads[read] for read in (value, name) if read in self.subgraph_reads]
        if labels:
            return f"its weight {name} also feeds {labels[0]}"
        if {value, name} & self.outputs:
            return f"its weight {name} is also an output of the model"
        if node.op == "MatMul" and slot == 1 and self._constant_behind(self.skip_identities(node.inputs[0])):
            return "both of its sides are constant"
        return ""

    def _find_readers(self, name: str) -> list[Node]:
        """The nodes that read a value, directly or through Identity nodes."""
        found = []
        for reader in self.readers.get(name, []):
            found += (
                self._find_readers(reader.outputs[0]) if is_identity(reader.op, reader.domain) else [reader]
            )
        return found

    def _reads_as_weight(self, node: Node, name: str) -> bool:
        """Whether `node` reads the value `name` as its weight and nowhere else."""
        slots = [slot for slot, value in enumerate(node.inputs) if self.skip_identities(value) == name]
        return is_standard(node.domain) and len(slots) == 1 and slots[0] in WEIGHT_INPUTS.get(node.op, ())


def _build_layer(node: Node, weight: str, shape: tuple[int, ...], slot: int) -> Layer:
    """The layer of `node` with its weight, of a given shape, as input `slot`."""
    if node.op == "Conv":
        filters, inputs, filters_first = shape[0], prod(shape[1:]), True
        groups = node.attributes.get("group", 1)
    else:
        filters_first = slot == 0 or bool(node.attributes.get("transB", 0))
        filters, inputs = shape if filters_first else shape[::-1]
        groups = 1
    return Layer(
        name=node.label,
        op=node.op,
        weight=weight,
        filters=filters,
        inputs=inputs,
        groups=groups,
        filters_first=filters_first,
        input=node.inputs[1 - slot],
        output=node.outputs[0],
    )


def _scales_along_filters(quantized: QuantizedWeight, layer: Layer) -> bool:
    """Whether there is one scale, or one for each filter."""
    return len(quantized.scale) == 1 or quantized.axis == (0 if layer.filters_first else 1)


def _multiplies(node: Node) -> bool:
    """Whether a node multiplies, or may do so: other domains and subgraphs count as such."""
    return (
        not is_standard(node.domain)
        or node.op in WEIGHT_INPUTS
        or node.op in _OTHER_MULTIPLIERS
        or node.op in _WITH_SUBGRAPHS
    )


def _unsupported_operator(node: Node) -> str:
    """The reason why the operator of `node` cannot be a layer, or empty."""
    if not is_standard(node.domain):
        hint = _FOREIGN_HINTS.get(node.domain, "functions: inline them with onnx.inliner")
        return f"operators of the domain {node.domain} are not known ({hint})"
    if node.op in _WITH_SUBGRAPHS:
        return "layers inside a subgraph are not read"
    if node.op not in WEIGHT_INPUTS:
        return f"{node.op} is not among the operators that are packed ({', '.join(WEIGHT_INPUTS)})"
    return ""
