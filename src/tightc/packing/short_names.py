"""Short names for what flows between the nodes of a model."""

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
    own = {name: name for name in kept} | new
    for graph in walk_graphs(proto.graph):
        for name in value_names(graph):
            if name in packed:
                weight, key = packed[name]
                own[name] = f"{own[weight]}.{key}"
            elif name not in own:
                own[name] = next(fresh)
    for graph in walk_graphs(proto.graph):
        rename_values(graph, lambda name: own.get(name, name))
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
            own = {f"{stem}.{key}": (stems.get(stem, stem), key) for key in TENSORS}
            found.update({name: own[name] for name in node.input if name in own})
    return found


def _labels(graph: onnx.GraphProto) -> Iterator[str]:
    """The values after which nodes without a name are called, but for those that make a weight and are no layer."""
    for node in graph.node:
        makes_a_weight = (
            node.op_type not in PACKED_OPERATORS
            if node.domain == DOMAIN
            else node.op_type == "DequantizeLinear"
        )
        if not (node.name or makes_a_weight):
            yield next((name for name in node.output if name), "")


def _fresh(taken: Iterable[str]) -> Iterator[str]:
    """Names of letters and digits, short ones first, that no name taken is or begins with before a dot."""
    avoided = {name.partition(".")[0] for name in taken}
    return (name for name in (np.base_repr(number, 36).lower() for number in count()) if name not in avoided)
