"""A model's graph as plain Python: nodes, tensors and names, without protobuf."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]

# the operators that are packed, and the inputs that may be their weight, the likelier first
WEIGHT_INPUTS = {"Conv": (1,), "Gemm": (1,), "MatMul": (1, 0)}


@dataclass(frozen=True)
class Node:
    """One operator call; an omitted optional input or output is the empty name.

    `captured`: the names that the bodies of an If, Loop or Scan read, from inside or outside. `attributes` holds Python
    values: int, float, str, lists of these, and numpy arrays for tensors.
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
        """The node's name, or what it computes where it has none."""
        return self.name or next((output for output in self.outputs if output), self.op)


@dataclass(frozen=True)
class Graph:
    """The main graph: nodes in execution order, constant tensors by name, inputs that a caller feeds, outputs."""

    nodes: tuple[Node, ...]
    tensors: Mapping[str, Array]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int

    def consumers(self) -> dict[str, list[Node]]:
        """For each value, the nodes that read it."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                found.setdefault(name, []).append(node)
        return found


def is_standard(domain: str) -> bool:
    """Whether operators of `domain` are those of the ONNX standard."""
    return domain in ("", "ai.onnx")


def is_identity(operator: str, domain: str) -> bool:
    """Whether an operator of that name and domain gives what it gets."""
    return operator == "Identity" and is_standard(domain)


def read_graph(proto: onnx.ModelProto) -> Graph:
    """The main graph of `proto`; weights in Constant nodes count as tensors and stay visible as nodes too."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    nodes = tuple(_read_node(node) for node in proto.graph.node)
    for node in nodes:
        if (
            node.op == "Constant"
            and is_standard(node.domain)
            and isinstance(node.attributes.get("value"), np.ndarray)
        ):
            tensors[node.outputs[0]] = node.attributes["value"]
    return Graph(
        nodes=nodes,
        tensors=tensors,
        inputs=tuple(i.name for i in proto.graph.input if i.name not in tensors),
        outputs=tuple(o.name for o in proto.graph.output),
        opset=default_opset(proto),
    )


def outer_reads(proto: onnx.ModelProto) -> dict[str, str]:
    """Names that subgraphs (of If, Loop, Scan) read, from inside or outside, each with the node that holds one."""
    return {name: node.name or node.output[0] for node in proto.graph.node for name in _read_inside(node)}


def _read_inside(node: onnx.NodeProto) -> Iterator[str]:
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from (value.name for value in graph.output)
            for inner in graph.node:
                yield from inner.input
                yield from _read_inside(inner)


def default_opset(proto: onnx.ModelProto) -> int:
    """The version of the standard operator set that `proto` imports; 0 where it imports none."""
    return next((o.version for o in proto.opset_import if is_standard(o.domain)), 0)


def constant_slots(proto: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Every constant tensor of the main graph, in place: initializers, then Constant nodes by their output's name."""
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
    inputs, outputs, captured = tuple(node.input), tuple(node.output), tuple(_read_inside(node))
    return Node(node.op_type, node.domain, node.name, inputs, outputs, attributes, captured)
