"""Strip: a model without what only people read of it."""

from __future__ import annotations

import onnx
from onnx import helper

from tightc.model.file import Model
from tightc.model.file_format.functions import PACKED_OPERATORS
from tightc.model.file_format.headers import read_headers
from tightc.model.file_format.rebuild import DOMAIN
from tightc.model.onnx_proto.graph import default_opset, is_standard
from tightc.model.onnx_proto.naming import walk_graphs
from tightc.model.onnx_proto.repeated_fields import replace_items
from tightc.packing.short_names import shorten

_WINDOWED = ("Conv", "AveragePool", "MaxPool")
_EVERYWHERE = {"dilations": 1, "strides": 1, "pads": 0}  # in all directions, of which a schema cannot speak


def stripped(model: Model) -> Model:
    """A packed `model` with short names for values and tensors, without notes on them or on nodes, without shapes.

    And without settings that are what an operator does without them. It computes the same. The names of inputs, outputs
    and nodes stay, and with them those of layers, and so do the model's properties; what tightc records goes by the new
    names.
    """
    proto = model.copy_proto()
    shorten(proto, read_headers(proto, model.origin))
    proto.doc_string = ""
    for graph in walk_graphs(proto.graph):
        _strip(graph, default_opset(proto))
    for function in proto.functions:
        if function.domain == DOMAIN:
            _number(function)
    return model.with_proto(proto)


def _strip(graph: onnx.GraphProto, opset: int) -> None:
    replace_items(graph.value_info, [])
    for noted in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        noted.ClearField("doc_string")
        noted.ClearField("metadata_props")
    for node in graph.node:
        replace_items(
            node.attribute, [own for own in node.attribute if not _goes_without_saying(own, node, opset)]
        )


def _goes_without_saying(attribute: onnx.AttributeProto, node: onnx.NodeProto, opset: int) -> bool:
    """Whether `attribute` has the value that its operator would take anyway."""
    form = PACKED_OPERATORS.get(node.op_type) if node.domain == DOMAIN else None
    if form is None and not is_standard(node.domain):
        return False
    operator = node.op_type if form is None else form.operator
    if operator in _WINDOWED and attribute.name in _EVERYWHERE:
        return set(attribute.ints) == {_EVERYWHERE[attribute.name]}
    known = onnx.defs.get_schema(operator, opset).attributes[attribute.name].default_value
    return known.type != onnx.AttributeProto.UNDEFINED and helper.get_attribute_value(
        attribute
    ) == helper.get_attribute_value(known)


def _number(function: onnx.FunctionProto) -> None:
    """Gives the values within a function, in place, numbers for names; its inputs and outputs keep theirs."""
    own = {name: name for name in ("", *function.input, *function.output)}
    for node in function.node:
        node.input[:] = [own[name] for name in node.input]
        node.output[:] = [own.setdefault(name, str(len(own))) for name in node.output]
