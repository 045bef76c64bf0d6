"""Filters that nobody reads: no output of the network depends on what they compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layers import Network
from tightc.model.onnx_proto.graph import Graph, Node, is_standard

Flags = NDArray[np.bool_]

# operators whose output channel depends on the same channel of their inputs alone
_BY_CHANNEL = (
    "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "DequantizeLinear", "Dropout", "Elu",
    "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "MaxPool", "Mul",
    "QuantizeLinear", "Relu", "Sigmoid", "Sub", "Sum", "Tanh",
)  # fmt: skip
_SECONDARY = {
    "BatchNormalization": 1,
    "Clip": 1,
    "DequantizeLinear": 1,
    "Dropout": 1,
    "QuantizeLinear": 1,
}  # inputs before those that are no channels
_CONVOLUTION_AXES = 2  # of a convolution's weight, before those of its kernel


class _Read(NamedTuple):
    """Which channels of a value are read, (channels,) bool.

    `rank`: axes of the value. None where the value is flattened behind: then a channel has several adjacent flags.
    """

    channels: Flags
    rank: int | None


def unread_filters(graph: Graph, network: Network, used: Callable[[Layer], Flags]) -> dict[str, Flags]:
    """Of the layers of `network` that have some, by output: (filters,) bool, which filters nobody reads.

    `used`: the weights of a layer that count, (filters, inputs) bool. A filter is read where a layer has such a weight
    on its channel in a filter that is read, or where anything else reads it. Followed are convolutions, Gemm, norms,
    pooling, Flatten and what works on each element alone.
    """
    layers = {layer.output: layer for layer in network.layers}
    reads: dict[str, _Read | None] = dict.fromkeys(graph.outputs)  # None: all of it
    found = {}
    for node in reversed(graph.nodes):
        layer = layers.get(node.outputs[0]) if node.outputs else None
        read = _of_outputs(node, reads)
        if layer is not None and is_standard(node.domain):
            filters = _filters(layer, network, read)
            if not filters.all():
                found[layer.output] = ~filters
            shape = network.shapes[layer.weight]
            own = (
                _of_layer(layer, shape, used(layer) & filters[:, None])
                if _is_followed(node, layer, shape)
                else None
            )
            passed: Mapping[str, _Read | None] = {layer.input: own}
        else:
            passed = _passed(node, graph, read)
        for name in (*node.inputs, *node.captured):
            _add(reads, name, passed.get(name))
    return found


_NOTHING = _Read(np.zeros(0, bool), None)


def _of_outputs(node: Node, reads: Mapping[str, _Read | None]) -> _Read | None:
    """What is read of the first output of `node`; all where others are read too."""
    first, *others = node.outputs or ("",)
    if any(name in reads for name in others if name):
        return None
    return reads.get(first, _NOTHING)


def _filters(layer: Layer, network: Network, read: _Read | None) -> Flags:
    """Which filters of `layer` are read where `read` says what is of its output: (filters,) bool."""
    if read is _NOTHING:
        return np.zeros(layer.filters, bool)
    rank = len(network.shapes[layer.weight])
    flattened = read is not None and read.rank is None and len(read.channels) % layer.filters == 0
    if read is None or layer.op not in ("Conv", "Gemm") or not (flattened or read.rank == rank):
        return np.ones(layer.filters, bool)
    if not flattened and len(read.channels) != layer.filters:
        return np.ones(layer.filters, bool)
    return np.asarray(read.channels.reshape(layer.filters, -1).any(axis=1))


def _is_followed(node: Node, layer: Layer, shape: tuple[int, ...]) -> bool:
    """Whether it is known which channels `layer` reads; `shape`: of its weight."""
    if layer.op == "Gemm":
        return layer.input == node.inputs[0] and not node.attributes.get("transA", 0)
    return layer.op == "Conv" and len(shape) > _CONVOLUTION_AXES


def _of_layer(layer: Layer, shape: tuple[int, ...], used: Flags) -> _Read:
    """What `layer`, whose weight has that `shape`, reads of its input with the weights that are `used`."""
    if layer.op == "Gemm":
        return _Read(np.asarray(used.any(axis=0)), 2)
    of_group = used.reshape(layer.groups, layer.filters // layer.groups, shape[1], -1)
    return _Read(np.asarray(of_group.any(axis=(1, 3))).reshape(-1), len(shape))


def _passed(node: Node, graph: Graph, read: _Read | None) -> dict[str, _Read | None]:
    """What `node` reads of its inputs, by name, where `read` says what is of its output; others are read whole."""
    if not is_standard(node.domain) or read is None:
        return {}
    most = (
        2 if read.rank is None else read.rank
    )  # axes of a constant, beyond which it adds axes to what is read
    if any(name in graph.tensors and graph.tensors[name].ndim > most for name in node.inputs):
        return {}
    if node.op == "Flatten" and node.attributes.get("axis", 1) == 1 and read.rank in (2, None):
        return {node.inputs[0]: _Read(read.channels, None)}
    if node.op in _BY_CHANNEL and not node.attributes.get("training_mode", 0):
        return dict.fromkeys(node.inputs[: _SECONDARY.get(node.op, len(node.inputs))], read)
    return {}


def _add(reads: dict[str, _Read | None], name: str, more: _Read | None) -> None:
    """Notes in `reads` that `more` of the value `name` is read; None for all of it."""
    before = reads.get(name, _NOTHING)
    if more is _NOTHING:
        reads.setdefault(name, more)
    elif before is _NOTHING:
        reads[name] = more
    elif (
        before is None
        or more is None
        or (before.rank, before.channels.shape) != (more.rank, more.channels.shape)
    ):
        reads[name] = None
    else:
        reads[name] = _Read(before.channels | more.channels, more.rank)
