"""A model of bfloat16 as one of float32 with the same values: onnxruntime has no bfloat16 operators on CPUs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tightc.model.onnx_proto.graph import is_standard
from tightc.model.onnx_proto.naming import walk_graphs
from tightc.model.onnx_proto.stored_tensors import tensor_values

BFLOAT16_NOTE = "onnxruntime has no bfloat16 operators on CPUs: it ran a float32 copy of the model"
_BFLOAT16 = TensorProto.BFLOAT16
_OF_TYPES = frozenset(("to", "dtype", "output_dtype", "stash_type"))  # attributes that hold a type


def run_dtype(element_type: int) -> np.dtype[Any]:
    """The numpy dtype in which a tensor of an ONNX type is fed to onnxruntime and fetched: bfloat16 as float32."""
    return np.dtype(
        helper.tensor_dtype_to_np_dtype(TensorProto.FLOAT if element_type == _BFLOAT16 else element_type)
    )


def bfloat16_notes(proto: onnx.ModelProto) -> tuple[str, ...]:
    """The note that a float32 copy of `proto` runs, where an input is bfloat16 or nodes but Cast read such constants.

    Of a packed model, those that the weights are rebuilt from, and the weights.
    """
    found = {value.name for value in proto.graph.input if value.type.tensor_type.elem_type == _BFLOAT16}
    if found:
        return (BFLOAT16_NOTE,)
    found = {tensor.name for tensor in proto.graph.initializer if tensor.data_type == _BFLOAT16}
    for node in proto.graph.node:
        reads = bool(found.intersection(node.input))
        holds = any(attribute.t.data_type == _BFLOAT16 for attribute in node.attribute)
        if holds or (reads and not is_standard(node.domain)):
            found.update(node.output)
        elif reads and node.op_type != "Cast":
            return (BFLOAT16_NOTE,)
    return ()


def use_float32(proto: onnx.ModelProto) -> bool:
    """Put float32 in place of bfloat16 everywhere in `proto`, in place; returns whether there was any."""
    graphs = list(walk_graphs(proto.graph))
    nodes = [node for owner in (*graphs, *proto.functions) for node in owner.node]
    tensors = [tensor for graph in graphs for tensor in graph.initializer]
    tensors += [attribute.t for node in nodes for attribute in node.attribute if attribute.HasField("t")]
    found = False
    for tensor in tensors:
        if tensor.data_type == _BFLOAT16:
            values = tensor_values(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
            found = True
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        if attribute.name in _OF_TYPES and attribute.i == _BFLOAT16:
            attribute.i = TensorProto.FLOAT
            found = True
    for value in (value for graph in graphs for value in (*graph.input, *graph.output, *graph.value_info)):
        if value.type.tensor_type.elem_type == _BFLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
            found = True
    return found
