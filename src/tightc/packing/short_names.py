"""Short names for the values and tensors of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np
import onnx

from tightc.model.file_format.functions import PACKED_OPERATORS
from tightc.model.file_format.headers import write_headers
from tightc.model.file_format.rebuild import DOMAIN, TENSORS
from tightc.model.onnx_proto.naming import rename_values, value_names, walk_graphs

_MARK = f".{TENSORS[-1]}"


def shorten(proto: onnx.ModelProto, headers: Mapping[str, Mapping[str, Any]]) -> None:
    """Rename all values and tensors of `proto`, in place, also in the `headers` of packings, by weight.

    Inputs and outputs of the model keep their names, and so do outputs that label a node without a name. A branch or
    loop body sees the names around it, so a name means the same value everywhere.
    """
    weights = {str(header.get("tensors", weight)): weight for weight, header in headers.items()}
    packed = _packed_tensors(proto.graph, weights)
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


def _packed_tensors(graph: onnx.GraphProto, weights: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The weight and the role of each packed tensor, by its name."""
    found = {}
    for node in graph.node:
        if node.domain == DOMAIN:
            stem = node.input[-1].removesuffix(_MARK)
            roles = {f"{stem}.{key}": (weights.get(stem, stem), key) for key in TENSORS}
            found.update({name: roles[name] for name in node.input if name in roles})
    return found


def _labels(graph: onnx.GraphProto) -> Iterator[str]:
    """The outputs that label nodes without a name, except nodes that only rebuild or dequantize a weight."""
    for node in graph.node:
        makes_weight = (
            node.op_type not in PACKED_OPERATORS
            if node.domain == DOMAIN
            else node.op_type == "DequantizeLinear"
        )
        if not (node.name or makes_weight):
            yield next((name for name in node.output if name), "")


def _short_names(taken: Iterable[str]) -> Iterator[str]:
    """Names of letters and digits, short ones first, that are not the part before a dot of any name in `taken`."""
    prefixes = {name.partition(".")[0] for name in taken}
    return (name for name in (np.base_repr(number, 36).lower() for number in count()) if name not in prefixes)
