"""The layers of a model as matrices, and the operators that cannot be one, with reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layer_names import with_modules
from tightc.model.layer_view.quantized_weights import (
    QuantizedWeight,
    deviation,
    layer_scales,
    with_zero_points,
)
from tightc.model.layer_view.weight_readers import WeightReaders, multiplies
from tightc.model.onnx_proto.graph import Array, Graph, Node, read_graph, subgraph_reads
from tightc.model.onnx_proto.integer_types import weight_bits
from tightc.model.onnx_proto.repeated_fields import replace_items
from tightc.model.onnx_proto.stored_tensors import LazyArrays, tensor_from_array
from tightc.report import join_names
from tightc.tile.matrix import scaled

_LARGEST = 127  # of a weight whose subwords are parts of a 7-bit magnitude


@dataclass(frozen=True)
class Uncovered:
    """An operator that multiplies but cannot be a layer, and the reason."""

    node: Node
    reason: str


@dataclass(frozen=True)
class Network:
    """The layers of a model in execution order, their weights by name, and the operators that are not covered.

    An integer weight is stored as it is minus its zero points, so that zero means no product; `stored` are its dtypes.
    `weights` are read at each access; `shapes` are theirs. `quantized`: the scales and zero points of integer weights,
    by weight. `scales`: those of the layer matrix, (1,) or (filters,), or (filters, inputs) where they change within a
    filter, as those of blocks do.
    """

    layers: tuple[Layer, ...]
    uncovered: tuple[Uncovered, ...]
    weights: Mapping[str, Array]
    quantized: dict[str, QuantizedWeight]
    scales: dict[str, NDArray[np.float64]]
    stored: dict[str, np.dtype[Any]]
    shapes: dict[str, tuple[int, ...]]

    @property
    def owners(self) -> tuple[Layer, ...]:
        """The first layer of each weight: all layers except those that share the weight of an earlier one."""
        return tuple(layer for layer in self.layers if layer.shared_with is None)

    def store(self, model: Model, weights: Mapping[str, Array]) -> Model:
        """`model` with new values of `weights`, by name, their zero points added."""
        return model.with_tensors(self.with_zero_points(weights))

    def with_zero_points(self, weights: Mapping[str, Array]) -> Mapping[str, Array]:
        """The values of `weights`, by name, as the model stores them; those of other tensors stay."""

        def stored(name: str) -> Array:
            if name not in self.quantized:
                return weights[name]
            return with_zero_points(weights[name], self.quantized[name], self.stored[name])

        return LazyArrays({name: partial(stored, name) for name in weights})

    def weight_bits(self, layer: Layer) -> int:
        """Bits of a weight of `layer` as the model stores it."""
        return weight_bits(self.stored[layer.weight])

    def matrix(self, layer: Layer) -> Array:
        """The layer matrix of `layer`, (filters, inputs), in the weight's dtype."""
        return layer.matrix(self.weights[layer.weight])

    def dequantized_matrix(self, layer: Layer) -> NDArray[np.float64]:
        """The layer matrix of `layer` in float64, integer weights times their scales."""
        return scaled(self.matrix(layer).astype(np.float64), self.scales.get(layer.weight))

    def require_subwords(self, layers: Sequence[Layer], origin: str) -> None:
        """ModelError, naming `origin`, where the weight of one of `layers` is not int8 as `quantize` writes it.

        Subwords are parts of a 7-bit magnitude, which -128 does not fit. The packed form rebuilds int8 from them.
        """
        floats = [layer.label for layer in layers if layer.weight not in self.quantized]
        if floats:
            raise ModelError(
                f"{origin}: expected int8 weights, which have subwords, got float weights in {join_names(floats)}",
                "run tightc quantize first, or skip those layers",
            )
        for layer in layers:
            kind, zeros = self.stored[layer.weight].name, self.quantized[layer.weight].zero_points
            if kind != "int8" or zeros.any() or self.scales[layer.weight].ndim > 1:
                found = [
                    kind,
                    f"the zero point {zeros.flat[0]}" if zeros.size == 1 else "several zero points",
                ]
                found += ["several scales in a filter"] if self.scales[layer.weight].ndim > 1 else []
                raise ModelError(
                    f"{origin}: subwords: expected int8 weights with the zero point 0 and a scale for each filter, "
                    f"got {', '.join(found)} in {layer.label}",
                    "start from the float model and run tightc quantize, or skip that layer",
                )
            weight = self.weights[layer.weight].astype(np.int64)
            if np.abs(weight).max(initial=0) > _LARGEST:
                raise ModelError(
                    f"{origin}: expected values from -127 to 127 in the weight {layer.weight}, "
                    f"got {weight.flat[np.abs(weight).argmax()]}",
                    "quantize it to that range, as tightc quantize does",
                )

    def dequantized(self, model: Model) -> Model:
        """The `model` of this network with float weights in place of integer weights and their DequantizeLinear."""
        proto = model.copy_proto()
        floats = {
            self.quantized[layer.weight].value: layer
            for layer in self.owners
            if layer.weight in self.quantized and self.quantized[layer.weight].is_dequantized
        }
        replaced = [node for node in proto.graph.node if floats.keys() & set(node.output)]
        kept = [node for node in proto.graph.node if not floats.keys() & set(node.output)]
        read = {name for node in kept for name in node.input} | {value.name for value in proto.graph.output}
        obsolete = {name for node in replaced for name in node.input} - read - subgraph_reads(proto).keys()
        replace_items(proto.graph.node, [node for node in kept if not obsolete & set(node.output)])
        tensors = [tensor for tensor in proto.graph.initializer if tensor.name not in obsolete]
        tensors += [
            tensor_from_array(self.dequantized_tensor(layer), name, model.storage)
            for name, layer in floats.items()
        ]
        replace_items(proto.graph.initializer, tensors)
        return model.with_proto(proto)

    def dequantized_tensor(self, layer: Layer) -> Array:
        """The weight tensor of `layer`: unchanged if it is float, else float32, integers times their scales."""
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
    readers = WeightReaders(graph, model)
    layers: list[Layer] = []
    uncovered: list[Uncovered] = []
    for node in graph.nodes:
        if multiplies(node, graph.opset):
            found = readers.find_layer(node, layers)
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
    names = {layer.weight: None for layer in layers}
    quantized = {entry.weight: entry for entry in readers.quantized.values() if entry.weight in names}
    scales = {}
    for layer in layers:
        if layer.weight in quantized and layer.weight not in scales:
            scales[layer.weight] = layer_scales(quantized[layer.weight], layer, graph.shape(layer.weight))
    return Network(
        with_modules(layers),
        tuple(uncovered),
        weights=LazyArrays({name: partial(_weight, graph, name, quantized.get(name)) for name in names}),
        quantized=quantized,
        scales=scales,
        stored={name: graph.dtype(name) for name in names},
        shapes={name: graph.shape(name) for name in names},
    )


def _weight(graph: Graph, name: str, entry: QuantizedWeight | None) -> Array:
    """The weight `name`, an integer one minus its zero points."""
    weight = graph.tensors[name]
    return weight if entry is None else deviation(weight, entry)
