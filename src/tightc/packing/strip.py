"""Strip: remove from a model what only people read."""

from __future__ import annotations

import onnx
from onnx import helper

from tightc.model.file import Model
from tightc.model.file_format.headers import read_headers
from tightc.model.onnx_proto.graph import default_opset, is_standard
from tightc.model.onnx_proto.naming import walk_graphs
from tightc.model.onnx_proto.repeated_fields import replace_items
from tightc.packing.short_names import shorten

_WINDOWED = ("Conv", "AveragePool", "MaxPool")
_DEFAULTS = {
    "dilations": 1,
    "strides": 1,
    "pads": 0,
}  # along each axis; a schema does not have these defaults


def stripped(model: Model) -> Model:
    """A packed `model` with short names of values and tensors, and without doc strings, shapes and default attributes.

    It computes the same. The names of inputs, outputs, nodes and layers stay, and so do the model's properties. The
    headers of packings get the new names.
    """
    proto = model.copy_proto()
    shorten(proto, read_headers(proto, model.origin))
    proto.doc_string = ""
    for graph in walk_graphs(proto.graph):
        _strip(graph, default_opset(proto))
    return model.with_proto(proto)


def _strip(graph: onnx.GraphProto, opset: int) -> None:
    replace_items(graph.value_info, [])
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    for node in graph.node:
        replace_items(node.attribute, [own for own in node.attribute if not _is_default(own, node, opset)])


def _is_default(attribute: onnx.AttributeProto, node: onnx.NodeProto, opset: int) -> bool:
    """Whether `attribute` has the default value of its operator."""
    if not is_standard(node.domain):
        return False
    if node.op_type in _WINDOWED and attribute.name in _DEFAULTS:
        return set(attribute.ints) == {_DEFAULTS[attribute.name]}
    default = onnx.defs.get_schema(node.op_type, opset).attributes[attribute.name].default_value
    return default.type != onnx.AttributeProto.UNDEFINED and helper.get_attribute_value(
        attribute
    ) == helper.get_attribute_value(default)
