"""Shapes of weights, which torch's exporter computes in the graph where it does not optimize."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from tightc.model.onnx_proto.graph import constant_tensors, is_standard, subgraph_reads
from tightc.model.onnx_proto.repeated_fields import replace_items
from tightc.model.onnx_proto.stored_tensors import tensor_from_array
from tightc.model.onnx_proto.weight_operators import has_weight, weight_inputs
from tightc.report import join_names


def fix_shapes(proto: onnx.ModelProto) -> list[str]:
    """Replace Shape of the weight of a layer in `proto` by its value, in place; returns what was done, in words.

    torch's exporter takes the size of a missing bias from the weight. A weight is packed where only layers read it.
    """
    shapes = _shapes_of_weights(proto)
    kept_values = {value.name for value in proto.graph.output} | set(subgraph_reads(proto))
    fixed: dict[str, str] = {}
    kept = []
    for node in proto.graph.node:
        is_shape = node.op_type == "Shape" and is_standard(node.domain)
        if not is_shape or node.input[0] not in shapes or node.output[0] in kept_values:
            kept.append(node)
            continue
        ends = {attribute.name: attribute.i for attribute in node.attribute}
        sizes = shapes[node.input[0]][ends.get("start", 0) : ends.get("end")]
        tensor = tensor_from_array(np.array(sizes, np.int64), node.output[0], None)
        proto.graph.initializer.append(tensor)
        fixed[node.output[0]] = node.input[0]
    if not fixed:
        return []
    replace_items(proto.graph.node, kept)
    others = [value for value in proto.graph.value_info if value.name not in fixed]
    replace_items(proto.graph.value_info, others)
    return [f"shapes of weights taken as constants: {join_names(tuple(dict.fromkeys(fixed.values())))}"]


def _shapes_of_weights(proto: onnx.ModelProto) -> Mapping[str, tuple[int, ...]]:
    """The sizes of each constant that a layer reads as its weight, unless it is an input too."""
    weights = {
        node.input[slot]
        for node in proto.graph.node
        if has_weight(node.op_type, node.domain)
        for slot in weight_inputs(node.op_type)
        if slot < len(node.input)
    } - {value.name for value in proto.graph.input}
    return {name: tuple(tensor.dims) for name, tensor in constant_tensors(proto) if name in weights}
