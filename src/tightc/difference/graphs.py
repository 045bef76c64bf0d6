"""What two models differ in beside their layers: other tensors, and the graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx

from tightc.difference.measured_model import UnpackedModel
from tightc.model.onnx_proto.graph import constant_tensors, is_standard
from tightc.model.onnx_proto.stored_tensors import tensor_values


def changed_tensors(a: UnpackedModel, b: UnpackedModel) -> int:
    """The number of constants but the layers' weights, by name, that differ or that one of them lacks."""
    weights = {layer.weight for side in (a, b) for layer in side.network.layers}
    before, after = (
        {name: tensor for name, tensor in constant_tensors(side.plain.proto) if name not in weights}
        for side in (a, b)
    )
    only_in_one = before.keys() ^ after.keys()
    return len(only_in_one) + sum(_differ(before[name], after[name]) for name in before.keys() & after.keys())


def _differ(a: onnx.TensorProto, b: onnx.TensorProto) -> bool:
    if (a.data_type, a.dims) != (b.data_type, b.dims):
        return True
    before, after = tensor_values(a), tensor_values(b)
    if before.dtype == object:
        return bool((before != after).any())
    return before.tobytes() != after.tobytes() and not np.array_equal(before, after)


def graphs_differ(*, a: onnx.ModelProto, b: onnx.ModelProto) -> bool:
    """Whether plain models differ in operators, inputs, outputs, functions or opsets; names of nodes do not count."""
    return list(_parts(a)) != list(_parts(b))


def _parts(proto: onnx.ModelProto) -> Iterator[Any]:
    yield sorted((entry.domain, entry.version) for entry in proto.opset_import)
    for value in (*proto.graph.input, *proto.graph.output):
        yield value.name, value.type.SerializeToString(deterministic=True)
    stored = {name for name, _ in constant_tensors(proto)}  # which changed_tensors compares
    for node in proto.graph.node:
        if not (node.op_type == "Constant" and is_standard(node.domain) and node.output[0] in stored):
            yield _content(node)
    for function in proto.functions:
        yield function.SerializeToString(deterministic=True)


def _content(node: onnx.NodeProto) -> bytes:
    """A node without what only people read, its attributes in the order of their names."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for field in ("name", "doc_string", "metadata_props"):
        copy.ClearField(field)
    attributes = sorted(copy.attribute, key=lambda attribute: attribute.name)
    parts = [attribute.SerializeToString(deterministic=True) for attribute in attributes]
    copy.ClearField("attribute")
    return b"\0".join([copy.SerializeToString(deterministic=True), *parts])
