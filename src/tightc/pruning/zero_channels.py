"""Channels of removed filters: their biases and norms add nothing, so that they are exactly zero."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from tightc.model.file import Model
from tightc.model.onnx_proto.graph import read_graph
from tightc.model.onnx_proto.naming import value_names, walk_graphs
from tightc.selection.channels import ChannelGraph
from tightc.selection.top_k import Mask


def with_zero_channels(model: Model, graph: ChannelGraph, masks: Sequence[Mask]) -> Model:
    """`model` with the biases and norms of its zero channels set to zero.

    `masks`: the kept weights of each layer of `graph`, (filters, inputs) bool; a filter without any is removed. A
    tensor that other nodes read too is copied for the node that changes.
    """
    removed = [
        np.logical_not(kept.reshape(filters, -1).any(axis=1))
        for kept, filters in zip(masks, graph.filters(), strict=True)
    ]
    zero = graph.zero_channels(removed)
    tensors = read_graph(model.proto).tensors
    changed: dict[str, np.ndarray] = {}
    copied: dict[tuple[str, int], np.ndarray] = {}
    for shift in graph.shifts:
        tensor, elements = tensors[shift.tensor], zero[shift.channels]
        if (elements & (tensor != 0)).any():
            values = np.where(elements, tensor.dtype.type(0), tensor)
            if shift.shared:
                copied[shift.node, shift.slot] = values
            else:
                changed[shift.tensor] = values
    model = model.with_tensors(changed)
    return _with_copies(model, copied) if copied else model


def _with_copies(model: Model, copies: dict[tuple[str, int], np.ndarray]) -> Model:
    """`model` with new constants for inputs of nodes, each named by its first output and its place."""
    proto = model.copy_proto()
    used = {name for graph in walk_graphs(proto.graph) for name in value_names(graph)}
    for node in proto.graph.node:
        for slot in range(len(node.input)):
            values = copies.get((node.output[0], slot)) if node.output else None
            if values is not None:
                node.input[slot] = _new_name(f"{node.input[slot]}.{node.output[0]}", used)
                proto.graph.initializer.append(_tensor(values, node.input[slot]))
    return model.with_proto(proto)


def _new_name(name: str, used: set[str]) -> str:
    while name in used:
        name += "_"
    used.add(name)
    return name


def _tensor(values: np.ndarray, name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(values), name)
