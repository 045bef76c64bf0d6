"""The part of a graph that computes some of its values."""

from __future__ import annotations

from dataclasses import replace

from tightc.model.onnx_proto.graph import Graph, Node


def computing(graph: Graph, values: tuple[str, ...]) -> Graph:
    """`graph` with `values` as its outputs, without the nodes and constants that they do not depend on."""
    needed = set(values)
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs, node.captured)
            nodes.append(node)
    tensors = {name: array for name, array in graph.tensors.items() if name in needed}
    return replace(graph, nodes=tuple(nodes[::-1]), tensors=tensors, outputs=values)
