"""Idle weights: those on which no output of the network depends.

They multiply nothing but zeros, such as the depthwise filter of a channel that is always zero, or belong to a filter
that nobody reads. A filter without weights computes its bias everywhere. Where norm and activation make zero of that,
its channel is zero for every input of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from tightc.model.file import Model
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layers import Network
from tightc.model.layer_view.unread_filters import unread_filters
from tightc.model.onnx_proto.graph import Graph, Node, is_standard, read_graph

Channels = NDArray[np.float64]  # (channels,): what a channel holds everywhere, NaN where that is not known
Flags = NDArray[np.bool_]
Kept = Callable[[Layer], Flags]

_NORM_ROUNDING = 1e-4  # of the terms of a norm: where their sum is smaller, its sign is left open
_ZERO_FOR_ZERO = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
_DIMENSIONS_AROUND = 2  # axes of a convolution's weight before those of its kernel


def idle_weights(model: Model, network: Network, kept: Kept | None = None) -> dict[str, Flags]:
    """The weights that are not zero and on which no output depends, by name: (filters, inputs of a group) bool each.

    `network`: the layers of the plain `model`. `kept`: which weights of a layer will stay, (filters, inputs) bool, None
    for all; of the others are named those on which no output would depend if they stayed too. Followed are
    convolutions, norms, Relu, Clip and pooling, and backward what `unread_filters` names. A weight that several layers
    share is idle if it is in all of them. Names without an idle weight are left out.
    """
    graph = read_graph(model.proto)

    def staying(layer: Layer) -> Flags:
        flags: Flags = network.matrix(layer) != 0
        return flags if kept is None else flags & kept(layer)

    zeros = _multiplying_zeros(model, graph, network, staying)

    def used(layer: Layer) -> Flags:
        return staying(layer) & ~zeros[layer.output] if layer.output in zeros else staying(layer)

    unread = unread_filters(graph, network, used)
    found: dict[str, Flags] = {}
    for owner in network.owners:
        sharing = [layer for layer in network.layers if layer.weight == owner.weight]
        if not all(layer.output in zeros or layer.output in unread for layer in sharing):
            continue
        idle: Flags = network.matrix(owner) != 0
        for layer in sharing:
            own = zeros.get(layer.output, np.zeros((1, 1), bool))
            idle &= own | unread[layer.output][:, None] if layer.output in unread else own
        if idle.any():
            found[owner.weight] = idle
    return found


def _multiplying_zeros(model: Model, graph: Graph, network: Network, staying: Kept) -> dict[str, Flags]:
    """Which weights of each layer multiply only zeros, by its output, where there are some: (filters, inputs) bool.

    `staying`: the weights that are not zero.
    """
    layers = {layer.output: layer for layer in network.layers}
    fed = {value.name for value in model.proto.graph.input}
    known: dict[str, Channels] = {}
    found: dict[str, Flags] = {}
    for node in graph.nodes:
        if not is_standard(node.domain) or not node.outputs:
            continue
        layer = layers.get(node.outputs[0])
        if layer is None:
            _follow(node, graph, known, fed)
            continue
        shape = network.shapes[layer.weight]
        if layer.op == "Conv" and len(shape) > _DIMENSIONS_AROUND:
            has_bias = len(node.inputs) > 2 and node.inputs[2]
            bias = _constant(graph, fed, node, 2) if has_bias else np.zeros(layer.filters)
            zeros = _follow_layer(layer, shape[1], staying, known, bias)
            if zeros.any():
                found[layer.output] = zeros
    return found


def _follow_layer(
    layer: Layer, channels: int, staying: Kept, known: dict[str, Channels], bias: Channels | None
) -> Flags:
    """Which weights of a convolution multiply only zeros, (filters, inputs); notes what its output's channels hold.

    `channels`: those that a group reads; `bias`: None where it is not known.
    """
    read = known.get(layer.input, np.full(layer.groups * channels, np.nan))
    zero = np.repeat((read == 0).reshape(layer.groups, channels), layer.inputs // channels, axis=1)
    zeros: Flags = np.repeat(zero, layer.filters // layer.groups, axis=0)
    if bias is not None:
        known[layer.output] = np.where((staying(layer) & ~zeros).any(axis=1), np.nan, bias)
    return zeros


def _follow(node: Node, graph: Graph, known: dict[str, Channels], fed: set[str]) -> None:
    """Notes what the channels of the first output of `node` hold, where those of its first input are known."""
    read = known.get(node.inputs[0]) if node.inputs else None
    if read is None:
        return
    if node.op == "Identity":
        known[node.outputs[0]] = read
    elif node.op == "Relu":
        known[node.outputs[0]] = np.maximum(read, 0)
    elif node.op in _ZERO_FOR_ZERO:
        known[node.outputs[0]] = np.where(read == 0, 0, np.nan)
    elif node.op == "Clip":
        bounds = [_bound(graph, fed, node, slot) for slot in (1, 2)]
        if None not in bounds:
            known[node.outputs[0]] = np.clip(read, bounds[0], bounds[1])
    elif node.op == "BatchNormalization" and not node.attributes.get("training_mode", 0):
        parameters = [_constant(graph, fed, node, slot) for slot in (1, 2, 3, 4)]
        if all(one is not None for one in parameters):
            known[node.outputs[0]] = _normed(read, parameters, node.attributes)  # type: ignore[arg-type]


def _normed(read: Channels, parameters: list[Channels], attributes: Mapping[str, object]) -> Channels:
    """What a norm makes of channels; NaN where rounding decides the sign."""
    scale, shift, mean, variance = parameters
    epsilon = float(attributes.get("epsilon", 1e-5))  # type: ignore[arg-type]
    slope = scale / np.sqrt(variance + epsilon)
    terms = np.stack([slope * read, -slope * mean, shift])
    total, size = terms.sum(axis=0), np.abs(terms).sum(axis=0)
    return np.where((size == 0) | (np.abs(total) > _NORM_ROUNDING * size), total, np.nan)


def _constant(graph: Graph, fed: set[str], node: Node, slot: int) -> Channels | None:
    """The constant that `node` reads as input `slot`, in float64; None where it reads none."""
    name = node.inputs[slot] if slot < len(node.inputs) else ""
    return graph.tensors[name].astype(np.float64) if name in graph.tensors and name not in fed else None


def _bound(graph: Graph, fed: set[str], node: Node, slot: int) -> float | None:
    """A bound of Clip, infinite where there is none; None where it is not a constant."""
    attribute = node.attributes.get(("", "min", "max")[slot])
    if attribute is not None:
        return float(attribute)
    if slot >= len(node.inputs) or not node.inputs[slot]:
        return -np.inf if slot == 1 else np.inf
    value = _constant(graph, fed, node, slot)
    return None if value is None else float(value.reshape(-1)[0])
