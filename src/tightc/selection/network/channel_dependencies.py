"""Channel dependencies: the graph is followed once, and for each value it is known which filters compute it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tightc.model.file import Model
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layers import Network
from tightc.model.onnx_proto.graph import Node, is_identity, is_standard
from tightc.model.onnx_proto.weight_operators import WEIGHT_OPERATORS
from tightc.selection.channels import NEVER, ChannelGraph, ChannelNumbers
from tightc.selection.network.channel_map import ChannelMap
from tightc.selection.network.channel_operators import follow
from tightc.selection.network.channel_trace import ChannelTrace
from tightc.selection.network.graph_values import GraphValues, read_values, with_shapes

_SHAPE_ONLY = frozenset(("Shape", "Size"))
_CONVOLUTIONS = ("Conv", "ConvTranspose")
_FOLLOWED = (*_CONVOLUTIONS, "Gemm", "MatMul")  # the layers whose filters are channels of their output


def channels_of(model: Model, network: Network, layers: Sequence[Layer]) -> ChannelGraph:
    """How the filters and inputs of `layers`, in execution order, depend on each other.

    `network`: the layers of the plain `model`.

    Channels are followed through all operators that compute or move them one by one. Where an operator mixes them, or
    turns a channel of zeros into something else that is read, their filters stay. The same holds for filters of the
    outputs, and of weights that something else than a layer reads.
    """
    bare = read_values(model)
    found = [_Follower(values, network, layers).graph() for values in with_shapes(model, bare)]
    if found and all(found[0].same_as(other) for other in found[1:]):
        return found[0]
    return _Follower(bare, network, layers).graph()


@dataclass(frozen=True)
class _Axes:
    """The axis of its input that a layer sums over, the axis of its filters in its output, and the output's rank."""

    read: int
    write: int
    rank: int


class _Follower:
    """Follows the channels of one network; `layers` are those that take part."""

    def __init__(self, values: GraphValues, network: Network, layers: Sequence[Layer]) -> None:
        self.values, self.trace = values, ChannelTrace(values)
        self.indices = {layer.weight: index for index, layer in enumerate(layers)}
        self.layers = {layer.output: layer for layer in network.layers}
        self.tied = _read_by_others(values.graph.nodes, network)
        self.shared = {layer.weight for layer in network.layers if layer.shared_with}
        self.last_outputs = {layer.weight: layer.output for layer in network.layers}
        self.filters: dict[str, ChannelNumbers] = {}  # of weights that layers share, ...
        self.inputs: dict[str, list[ChannelNumbers]] = {}  # ... and what each of these layers reads
        self.output_values = self._values_of_outputs()

    def graph(self) -> ChannelGraph:
        """The dependencies that were found."""
        for node in self.values.graph.nodes:
            if node.outputs and node.outputs[0] in self.layers:
                self._follow_layer(node, self.layers[node.outputs[0]])
            elif not (is_standard(node.domain) and node.op in _SHAPE_ONLY):
                self._follow_operator(node)
        for name in self.values.graph.outputs:
            if name in self.trace.maps:
                self.trace.keep(self.trace.maps[name], "")
        return self.trace.graph(len(self.indices))

    def _follow_operator(self, node: Node) -> None:
        maps = self.trace.maps
        read = [maps[name] for name in dict.fromkeys((*node.inputs, *node.captured)) if name in maps]
        if not read:
            return
        found = None
        if is_standard(node.domain) and not node.captured:
            if node.op in WEIGHT_OPERATORS and node.inputs[1] in self.values.constants:
                self.trace.mark_read(read[0])  # multiplied by weights that stay: zero adds nothing
                return
            found = follow(self.trace, node)
        if found is None:
            operator = "" if self.output_values.intersection(node.outputs) else f"{node.op} {node.label}"
            for channels in read:
                self.trace.keep(channels, operator)
        else:
            maps.update({name: one for name, one in zip(node.outputs, found, strict=False) if name})

    def _follow_layer(self, node: Node, layer: Layer) -> None:
        channels, index = self.trace.maps.get(layer.input), self.indices.get(layer.weight)
        axes = self._axes(node, layer)
        inputs = self._read_channels(layer, axes, channels)
        followed = inputs is not None and axes is not None and layer.weight not in self.tied
        if channels is not None and not (followed and index is not None):
            self.trace.mark_read(channels)
        if index is None:
            return
        if inputs is None or not followed:
            inputs = np.full((layer.groups, self._channels_per_group(layer)), NEVER)
        filters = self._connect(index, layer, inputs)
        if axes is None or not followed:
            tied = layer.weight in self.tied
            self.trace.keep(filters, "the other readers of its weight" if tied else f"{node.op} {node.label}")
            return
        shape = [1] * axes.rank
        shape[axes.write] = filters.size
        found = filters.reshape(shape)
        if layer.op != "MatMul" and any(node.inputs[2:3]):
            found = self.trace.shifted(found, node, 2, (1,) if layer.op in _CONVOLUTIONS else ())
        self.trace.maps[layer.output] = found

    def _connect(self, index: int, layer: Layer, inputs: ChannelNumbers) -> ChannelNumbers:
        """Add a layer that reads `inputs`, (groups, channels of a group), and give the channels of its filters.

        Layers that share a weight have the same filters. An input of the weight can go if all of them read zeros there.
        """
        weight = layer.weight
        if weight not in self.shared:
            self.trace.read(index, inputs)
            return self.trace.write(index, self._filters(layer))
        if weight not in self.filters:
            self.filters[weight] = self.trace.write(index, self._filters(layer))
        self.inputs.setdefault(weight, []).append(inputs)
        if layer.output == self.last_outputs[weight]:
            together = self.trace.join(self.inputs[weight], "all")
            assert together is not None, "all have the shape that the weight needs"
            self.trace.read(index, together)
        return self.filters[weight]

    def _read_channels(
        self, layer: Layer, axes: _Axes | None, channels: ChannelMap | None
    ) -> ChannelNumbers | None:
        """The channels that a layer sums over, (groups, channels of a group); None where they cannot be told."""
        shape = (layer.groups, self._channels_per_group(layer))
        if channels is None:
            return np.full(shape, NEVER)
        if axes is None or channels.ndim <= axes.read:
            return None
        others = [axis for axis in range(channels.ndim) if axis != axes.read]
        summed = self.trace.sum_along(channels, others).ravel()
        if summed.size not in (1, shape[0] * shape[1]):
            return None
        return np.broadcast_to(summed, shape[0] * shape[1]).reshape(shape)

    def _channels_per_group(self, layer: Layer) -> int:
        return self.values.constants[layer.weight].shape[1] if layer.op == "Conv" else layer.inputs

    def _filters(self, layer: Layer) -> int:
        """The number of channels that a layer computes: of a transposed convolution fewer than rows."""
        if layer.op != "ConvTranspose":
            return layer.filters
        return layer.groups * int(self.values.constants[layer.weight].shape[1])

    def _axes(self, node: Node, layer: Layer) -> _Axes | None:
        """None where the rank is not known, or filters are no channels."""
        if layer.op not in _FOLLOWED or (
            layer.op not in _CONVOLUTIONS and self.values.constants[layer.weight].ndim != 2
        ):
            return None
        if layer.op in _CONVOLUTIONS:
            return _Axes(1, 1, self.values.constants[layer.weight].ndim)
        if layer.op == "Gemm":
            if layer.input == node.inputs[0]:
                return _Axes(0 if node.attributes.get("transA", 0) else 1, 1, 2)
            return _Axes(1 if node.attributes.get("transB", 0) else 0, 0, 2)
        channels = self.trace.maps.get(layer.input)
        rank = self.values.ranks.get(layer.input, 0) if channels is None else channels.ndim
        if rank == 0:
            return None
        axis = max(0, rank - 2) if layer.filters_first else rank - 1
        return _Axes(axis, axis, rank)

    def _values_of_outputs(self) -> set[str]:
        """The values that outputs of the network are computed from without a layer in between."""
        found = set(self.values.graph.outputs)
        for node in reversed(self.values.graph.nodes):
            if found.intersection(node.outputs) and node.op not in WEIGHT_OPERATORS:
                found.update((*node.inputs, *node.captured))
        return found


def _read_by_others(nodes: Sequence[Node], network: Network) -> set[str]:
    """The constants that operators which are no layers multiply by, such as the transpose of another layer's weight."""
    found = {name for other in network.uncovered for name in other.node.inputs}
    for node in reversed(nodes):
        if is_identity(node.op, node.domain) and node.outputs[0] in found:
            found.add(node.inputs[0])
    return found
