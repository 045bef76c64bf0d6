"""Names of the values and tensors of a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx


def walk_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """`graph` and all subgraphs of its nodes, at any depth."""
    waiting = [graph]
    while waiting:  # no recursion: subgraphs may be many and deep
        graph = waiting.pop()
        yield graph
        waiting += [inner for node in reversed(graph.node) for inner in reversed(subgraphs(node))]


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The subgraphs of `node`, without those of their nodes."""
    found = []
    for attribute in node.attribute:
        found += [attribute.g] if attribute.HasField("g") else []
        found += attribute.graphs
    return found


def tensors_of(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """The initializers of `graph` and the tensors in attributes of its nodes, without subgraphs."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def value_names(graph: onnx.GraphProto) -> Iterator[str]:
    """The names of all values and tensors of `graph`, without subgraphs; omitted inputs give the empty name."""
    yield from (entry.name for entry in _declarations(graph))
    for node in graph.node:
        yield from (*node.input, *node.output)


def rename_values(graph: onnx.GraphProto, new: Callable[[str], str]) -> None:
    """Apply `new` to the names of all values and tensors of `graph` in place, without subgraphs."""
    for entry in _declarations(graph):
        entry.name = new(entry.name)
    for node in graph.node:
        node.input[:] = map(new, node.input)
        node.output[:] = map(new, node.output)
    for note in graph.quantization_annotation:
        note.tensor_name = new(note.tensor_name)
        for entry in note.quant_parameter_tensor_names:
            entry.value = new(entry.value)


def _declarations(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto | onnx.ValueInfoProto]:
    """The initializers, inputs and outputs of a graph."""
    yield from graph.initializer
    yield from graph.input
    yield from graph.output
