"""The names that a graph gives to its values and tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """`graph` and all within its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from graphs(inner)


def names(graph: onnx.GraphProto) -> Iterator[str]:
    """The name of every value and tensor of `graph` alone, also the empty one of what is left out."""
    yield from (entry.name for entry in _named(graph))
    for node in graph.node:
        yield from (*node.input, *node.output)


def rename(graph: onnx.GraphProto, new: Callable[[str], str]) -> None:
    """Calls every value and tensor of `graph` alone by its `new` name, in place."""
    for entry in _named(graph):
        entry.name = new(entry.name)
    for node in graph.node:
        node.input[:] = map(new, node.input)
        node.output[:] = map(new, node.output)
    for note in graph.quantization_annotation:
        note.tensor_name = new(note.tensor_name)
        for entry in note.quant_parameter_tensor_names:
            entry.value = new(entry.value)


def _named(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto | onnx.ValueInfoProto]:
    yield from graph.initializer
    yield from (tensor.values for tensor in graph.sparse_initializer)
    yield from graph.input
    yield from graph.output
