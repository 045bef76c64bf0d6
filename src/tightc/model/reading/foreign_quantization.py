"""QuantizeLinear and DequantizeLinear of onnxruntime's own domain, which its quantizer writes below opset 21."""

from __future__ import annotations

import onnx

from tightc.errors import ModelError
from tightc.model.onnx_proto.graph import default_opset
from tightc.model.onnx_proto.naming import walk_graphs
from tightc.model.onnx_proto.stored_tensors import embed_all
from tightc.model.reading.opset import raise_opset

_OPERATORS = ("QuantizeLinear", "DequantizeLinear")
_OPSET = 21  # from which those of ONNX know integers of 4 and 16 bits


def to_standard_quantization(proto: onnx.ModelProto, origin: str) -> str:
    """Make these operators those of ONNX, in place, and raise the opset to the first that knows all their types.

    Returns a sentence about it, an empty one where there are none, or where the opset cannot be raised. `origin` names
    the model.
    """
    if not _foreign_nodes(proto):
        return ""
    embed_all(proto, origin)
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    for node in _foreign_nodes(changed):
        node.domain = ""
    try:
        raised = raise_opset(changed, origin, _OPSET, before=proto.SerializeToString())
    except ModelError:
        return ""
    proto.CopyFrom(changed)
    what = "QuantizeLinear and DequantizeLinear of com.microsoft are those of ONNX now"
    return f"{what}; {raised}" if raised else f"{what}, of opset {default_opset(proto)}"


def _foreign_nodes(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [
        node
        for graph in walk_graphs(proto.graph)
        for node in graph.node
        if node.domain == "com.microsoft" and node.op_type in _OPERATORS
    ]
