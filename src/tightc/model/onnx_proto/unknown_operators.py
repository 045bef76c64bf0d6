"""Operators that claim the standard domain but are not in it, such as plugins of TensorRT."""

from __future__ import annotations

import onnx

from tightc.model.onnx_proto.graph import default_opset, is_standard
from tightc.model.onnx_proto.naming import walk_graphs

_DOMAIN = "unknown"


def unknown_operators(proto: onnx.ModelProto) -> list[str]:
    """The names of the operators of `proto` that ONNX does not know, each once."""
    opset = default_opset(proto)
    found = {
        node.op_type
        for graph in walk_graphs(proto.graph)
        for node in graph.node
        if is_standard(node.domain) and not is_known(node.op_type, opset)
    }
    return sorted(found)


def is_known(operator: str, opset: int) -> bool:
    """Whether ONNX has a standard `operator` in `opset`."""
    return bool(onnx.defs.has(operator, opset, ""))


def in_domain_of_their_own(proto: onnx.ModelProto) -> onnx.ModelProto:
    """`proto` itself, or a copy in which unknown operators have another domain, so that the checker passes them by."""
    if not unknown_operators(proto):
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    opset = default_opset(proto)
    for graph in walk_graphs(copy.graph):
        for node in graph.node:
            if is_standard(node.domain) and not is_known(node.op_type, opset):
                node.domain = _DOMAIN
    copy.opset_import.append(onnx.helper.make_opsetid(_DOMAIN, 1))
    return copy
