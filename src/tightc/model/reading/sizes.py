"""Sizes that a file leaves out, or states as -1 or 0, taken as open."""

from __future__ import annotations

import onnx

from tightc.model.runtime.session import create_session


def open_placeholders(proto: onnx.ModelProto) -> list[str]:
    """Make dimensions of -1 or 0 in `proto` open, in place; returns the names of the inputs that had some.

    Paddle writes -1 and some exporters 0 for a size that is known at run time only.
    """
    changed = [value.name for value in proto.graph.input if _open(value)]
    for value in (*proto.graph.output, *proto.graph.value_info):
        _open(value)
    return changed


def _open(value: onnx.ValueInfoProto) -> bool:
    """Whether a dimension of `value` was -1 or 0 and is open now."""
    found = False
    if value.type.HasField("tensor_type"):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.HasField("dim_value") and dimension.dim_value <= 0:
                dimension.ClearField("dim_value")
                found = True
    return found


def outputs_without_shape(proto: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The outputs of `proto` of a tensor type without a shape, or without any type: the checker refuses them."""
    return [
        value
        for value in proto.graph.output
        if not value.type.WhichOneof("value")
        or (value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape"))
    ]


def infer_output_shapes(proto: onnx.ModelProto, origin: str) -> list[str]:
    """Give the outputs of `proto` that have no shape the inferred one, in place; returns their names.

    Where ONNX infers none, the rank is that which onnxruntime finds, and all sizes are open. ModelError where
    onnxruntime cannot load the model then.
    """
    missing = {value.name: value for value in outputs_without_shape(proto)}
    if not missing:
        return []
    inferred = onnx.shape_inference.infer_shapes(proto)
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        if value.name in missing and value.type.tensor_type.HasField("shape"):
            missing[value.name].type.CopyFrom(value.type)
    still = {value.name: value for value in outputs_without_shape(proto)}
    if still:
        session = create_session(proto.SerializeToString(), origin)
        for found in session.get_outputs():
            if found.name in still:
                _set_open_shape(still[found.name], len(found.shape))
    return list(missing)


def _set_open_shape(value: onnx.ValueInfoProto, rank: int) -> None:
    shape = value.type.tensor_type.shape
    shape.SetInParent()
    for _ in range(rank):
        shape.dim.add()
