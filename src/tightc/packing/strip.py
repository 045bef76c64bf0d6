"""Strip: a model without what only people read of it."""

from __future__ import annotations

import onnx

from tightc.model.fields import set_field
from tightc.model.file import Model
from tightc.model.rebuild import DOMAIN


def stripped(model: Model) -> Model:
    """A packed `model` without notes on nodes and values, shapes between nodes and names within its own functions.

    It computes the same. Other names stay, and so do the model's properties, such as what tightc records.
    """
    proto = model.editable()
    proto.doc_string = ""
    _strip(proto.graph)
    for function in proto.functions:
        if function.domain == DOMAIN:
            _number(function)
    return model.changed(proto)


def _strip(graph: onnx.GraphProto) -> None:
    set_field(graph.value_info, [])
    for noted in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        noted.ClearField("doc_string")
        noted.ClearField("metadata_props")
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _strip(inner)


def _number(function: onnx.FunctionProto) -> None:
    """Gives the values within a function, in place, numbers for names; its inputs and outputs keep theirs."""
    own = {name: name for name in ("", *function.input, *function.output)}
    for node in function.node:
        node.input[:] = [own[name] for name in node.input]
        node.output[:] = [own.setdefault(name, str(len(own))) for name in node.output]
