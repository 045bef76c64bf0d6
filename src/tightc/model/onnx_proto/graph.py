"""A model's graph as plain Python objects: nodes, constant tensors and names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tightc.model.onnx_proto.naming import subgraphs, walk_graphs
from tightc.model.onnx_proto.stored_tensors import Array as Array
from tightc.model.onnx_proto.stored_tensors import Tensors


@dataclass(frozen=True)
class Node:
    """One operator call; an omitted optional input or output has the empty name.

    `attributes` are Python values: int, float, str, lists of these, and numpy arrays for tensors. `captured` are the
    names that the subgraphs of an If, Loop or Scan read, defined inside or outside of them.
    """

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    captured: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The node's name, or that of its first output where it has none."""
        return self.name or next((output for output in self.outputs if output), self.op)


@dataclass(frozen=True)
class Graph:
    """The main graph of a model.

    `nodes` are in execution order, `tensors` are the constants by name, `inputs` those that a caller feeds.
    `micro_batch`: the number of samples that a caller feeds where the graph can take no other, not known to read_graph.
    """

    nodes: tuple[Node, ...]
    tensors: Mapping[str, Array]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int
    micro_batch: int | None = None

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the constant `name`, without reading it where it is stored."""
        return self.tensors.shape(name) if isinstance(self.tensors, Tensors) else self.tensors[name].shape

    def dtype(self, name: str) -> np.dtype[Any]:
        """The dtype of the constant `name`, without reading it where it is stored."""
        return self.tensors.dtype(name) if isinstance(self.tensors, Tensors) else self.tensors[name].dtype

    def consumers(self) -> dict[str, list[Node]]:
        """The nodes that read each value, by its name."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                found.setdefault(name, []).append(node)
        return found


def is_standard(domain: str) -> bool:
    """Whether `domain` is that of the ONNX standard operators."""
    return domain in ("", "ai.onnx")


def is_identity(operator: str, domain: str) -> bool:
    """Whether `operator` of `domain` is the standard Identity."""
    return operator == "Identity" and is_standard(domain)


def read_graph(proto: onnx.ModelProto) -> Graph:
    """The main graph of `proto`; Constant nodes are among the nodes, and their values among the tensors."""
    nodes = tuple(_read_node(node) for node in proto.graph.node)
    constants = {
        node.outputs[0]: node.attributes["value"]
        for node in nodes
        if node.op == "Constant"
        and is_standard(node.domain)
        and isinstance(node.attributes.get("value"), np.ndarray)
    }
    tensors = Tensors(proto.graph.initializer, constants)
    return Graph(
        nodes=nodes,
        tensors=tensors,
        inputs=tuple(i.name for i in proto.graph.input if i.name not in tensors),
        outputs=tuple(o.name for o in proto.graph.output),
        opset=default_opset(proto),
    )


def subgraph_reads(proto: onnx.ModelProto) -> dict[str, str]:
    """Names that subgraphs of If, Loop and Scan read, each with the label of a node that has such a subgraph."""
    return {name: node.name or node.output[0] for node in proto.graph.node for name in _captured_names(node)}


def _captured_names(node: onnx.NodeProto) -> Iterator[str]:
    """Every name that the subgraphs of `node` read, at any depth."""
    for first in subgraphs(node):
        for graph in walk_graphs(first):
            yield from (value.name for value in graph.output)
            for inner in graph.node:
                yield from inner.input


def default_opset(proto: onnx.ModelProto) -> int:
    """The opset version of the standard domain that `proto` imports; 0 where it imports none."""
    return next((o.version for o in proto.opset_import if is_standard(o.domain)), 0)


def constant_tensors(proto: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Every constant of the main graph, by name, to read or edit in place: initializers, then Constant nodes."""
    for tensor in proto.graph.initializer:
        yield tensor.name, tensor
    for node in proto.graph.node:
        if node.op_type == "Constant" and is_standard(node.domain):
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], attribute.t


def _read_node(node: onnx.NodeProto) -> Node:
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode("utf-8", errors="replace")
        elif isinstance(value, onnx.TensorProto):
            value = numpy_helper.to_array(value)
        elif not isinstance(value, (int, float)):
            value = list(value) if hasattr(value, "__iter__") else value
        attributes[attribute.name] = value
    return Node(
        op=node.op_type,
        domain=node.domain,
        name=node.name,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes=attributes,
        captured=tuple(_captured_names(node)),
    )
