"""Short names for the values and tensors of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np
import onnx

from tightc.model.file_format.headers import tensor_names, write_headers
from tightc.model.file_format.rebuild import DOMAIN
from tightc.model.onnx_proto.naming import rename_values, value_names, walk_graphs


def shorten(proto: onnx.ModelProto, headers: Mapping[str, Mapping[str, Any]]) -> None:
    """Rename all values and tensors of `proto`, in place, also in the `headers` of packings, by weight.

    Inputs and outputs of the model keep their names, and so do outputs that label a node without a name. A branch or
    loop body sees the names around it, so a name means the same value everywhere.
    """
    packed = {
        name: (weight, name.rpartition(".")[2])
        for weight, header in headers.items()
        for name in tensor_names(weight, header)
    }
    kept = {"", *(value.name for value in (*proto.graph.input, *proto.graph.output)), *_labels(proto.graph)}
    unused = _short_names(kept)
    short = {weight: next(unused) for weight in headers if weight not in kept}
    renamed = {name: name for name in kept} | short
    for graph in walk_graphs(proto.graph):
        for name in value_names(graph):
            if name in packed:
                weight, key = packed[name]
                renamed[name] = f"{renamed[weight]}.{key}"
            elif name not in renamed:
                renamed[name] = next(unused)
    for graph in walk_graphs(proto.graph):
        rename_values(graph, lambda name: renamed.get(name, name))
    # packed tensors are now named after their weights
    bare = {
        renamed[name]: {k: v for k, v in header.items() if k != "tensors"} for name, header in headers.items()
    }
    if headers:
        write_headers(proto, bare)


def _labels(graph: onnx.GraphProto) -> Iterator[str]:
    """The outputs that label nodes without a name, except nodes that only rebuild or dequantize a weight."""
    for node in graph.node:
        makes_weight = node.domain == DOMAIN or node.op_type == "DequantizeLinear"
        if not (node.name or makes_weight):
            yield next((name for name in node.output if name), "")


def _short_names(taken: Iterable[str]) -> Iterator[str]:
    """Names of letters and digits, short ones first, that are not the part before a dot of any name in `taken`."""
    prefixes = {name.partition(".")[0] for name in taken}
    return (name for name in (np.base_repr(number, 36).lower() for number in count()) if name not in prefixes)
