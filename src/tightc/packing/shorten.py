"""Short names for what flows between the nodes of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np
import onnx

from tightc.model.arrangement import write_headers
from tightc.model.functions import FORMS
from tightc.model.rebuild import DOMAIN, TENSORS

_MARK = f".{TENSORS[-1]}"


def shorten(proto: onnx.ModelProto, heads: Mapping[str, Mapping[str, Any]]) -> None:
    """Names all values and tensors anew, in place, and the packings of `heads`, by weight, after their new names.

    Inputs and outputs of the model keep their names, and so does what gives a node without a name its label. A branch
    or loop body sees the names around it, so one name is one value everywhere.
    """
    stems = {str(head.get("tensors", weight)): weight for weight, head in heads.items()}
    packed = _packed_tensors(proto.graph, stems)
    kept = {"", *(value.name for value in (*proto.graph.input, *proto.graph.output)), *_labels(proto.graph)}
    fresh = _fresh(kept)
    new = {weight: next(fresh) for weight in heads if weight not in kept}
    own = {weight: weight for weight in kept} | new
    for graph in _graphs(proto.graph):
        for name in _names(graph):
            if name in packed:
                weight, key = packed[name]
                own[name] = f"{own[weight]}.{key}"
            elif name not in own:
                own[name] = next(fresh)
    for graph in _graphs(proto.graph):
        _rename(graph, own)
    # the packed tensors are now named after their weights
    bare = {own[name]: {k: v for k, v in head.items() if k != "tensors"} for name, head in heads.items()}
    if heads:
        write_headers(proto, bare)


def _packed_tensors(graph: onnx.GraphProto, stems: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Of the name of each packed tensor its weight, and what it is of it."""
    found = {}
    for node in graph.node:
        if node.domain == DOMAIN:
            stem = node.input[-1].removesuffix(_MARK)
            names = {f"{stem}.{key}": (stems.get(stem, stem), key) for key in TENSORS}
            found.update({name: names[name] for name in node.input if name in names})
    return found


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """`graph` and all within its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _labels(graph: onnx.GraphProto) -> Iterator[str]:
    """The values after which nodes without a name are called, but for those that make a weight and are no layer."""
    for node in graph.node:
        makes_a_weight = (
            node.op_type not in FORMS if node.domain == DOMAIN else node.op_type == "DequantizeLinear"
        )
        if not (node.name or makes_a_weight):
            yield next((name for name in node.output if name), "")


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (tensor.name for tensor in graph.initializer)
    yield from (value.name for value in graph.input)
    for node in graph.node:
        yield from (*node.input, *node.output)


def _rename(graph: onnx.GraphProto, own: Mapping[str, str]) -> None:
    for entry in (*graph.initializer, *graph.input, *graph.output):
        entry.name = own[entry.name]
    for note in graph.quantization_annotation:
        note.tensor_name = own.get(note.tensor_name, note.tensor_name)
    for node in graph.node:
        node.input[:] = [own[name] for name in node.input]
        node.output[:] = [own[name] for name in node.output]


def _fresh(taken: Iterable[str]) -> Iterator[str]:
    """Names of letters and digits, short ones first, that no name taken is or begins with before a dot."""
    avoided = {name.partition(".")[0] for name in taken}
    return (name for name in (np.base_repr(number, 36).lower() for number in count()) if name not in avoided)
