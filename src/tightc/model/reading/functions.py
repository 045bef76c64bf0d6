"""Calls of a model's own functions, replaced by the nodes of the functions: layers may stand in them."""

from __future__ import annotations

import onnx
from onnx import inliner

from tightc.errors import ModelError, first_line
from tightc.model.onnx_proto.naming import walk_graphs
from tightc.model.onnx_proto.serialization import serialized_size
from tightc.model.onnx_proto.stored_tensors import embed_all

_MOST_BYTES = 2**31 - 1  # that onnx's inliner takes: it reads the model as one message


def inline_functions(proto: onnx.ModelProto, origin: str) -> list[str]:
    """Replace each call of a function of `proto` by its nodes, in place; returns the names of the functions.

    A function that nothing calls, or for another opset than that of `proto`, stays. ModelError, naming `origin`, where
    functions call each other in a circle.
    """
    functions = [(function.domain, function.name) for function in proto.functions if _fits(function, proto)]
    if not called_functions(proto).intersection(functions) or serialized_size(proto) > _MOST_BYTES:
        return []
    embed_all(proto, origin)
    try:
        inlined = inliner.inline_selected_functions(proto, functions)
    except onnx.checker.ValidationError as fault:
        raise ModelError(
            f"{origin}: its functions cannot be inlined ({first_line(fault)})", "export the model again"
        ) from None
    left = {(function.domain, function.name) for function in inlined.functions}
    names = [name for domain, name in functions if (domain, name) not in left]
    if names:
        proto.CopyFrom(inlined)
    return names


def called_functions(proto: onnx.ModelProto) -> set[tuple[str, str]]:
    """Domain and name of the functions of `proto` that its graph and subgraphs call."""
    functions = {(function.domain, function.name) for function in proto.functions}
    if not functions:
        return set()
    return functions & {
        (node.domain, node.op_type) for graph in walk_graphs(proto.graph) for node in graph.node
    }


def _fits(function: onnx.FunctionProto, proto: onnx.ModelProto) -> bool:
    """Whether the opsets of `function` are those of `proto`."""
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    return all(versions.get(entry.domain, entry.version) == entry.version for entry in function.opset_import)
