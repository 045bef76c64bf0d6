"""Shapes that a file states for its values, where they contradict what ONNX infers from the inputs."""

from __future__ import annotations

import onnx

from tightc.model.onnx_proto.stored_tensors import stored_as_inputs


def drop_stale_shapes(proto: onnx.ModelProto) -> list[str]:
    """Remove stated shapes that contradict the inferred ones, in place; returns the names of their values.

    Tools that change sizes leave the old ones behind, and onnxruntime passes over them. Outputs get the inferred shape.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(stored_as_inputs(proto))
    bare.graph.ClearField("value_info")
    for output in bare.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(bare)
    found = {value.name: value for value in (*inferred.graph.value_info, *inferred.graph.output)}
    stale = [value for value in proto.graph.value_info if _contradicts(value, found.get(value.name))]
    for value in stale:
        proto.graph.value_info.remove(value)
    wrong = [output for output in proto.graph.output if _contradicts(output, found.get(output.name))]
    for output in wrong:
        output.type.CopyFrom(found[output.name].type)
    return [value.name for value in (*stale, *wrong)]


def _contradicts(stated: onnx.ValueInfoProto, inferred: onnx.ValueInfoProto | None) -> bool:
    """Whether two tensors cannot be of both shapes, or of both types."""
    if inferred is None:
        return False
    one, other = stated.type.tensor_type, inferred.type.tensor_type
    if not (one.HasField("shape") and other.HasField("shape")):
        return False
    if one.elem_type != other.elem_type or len(one.shape.dim) != len(other.shape.dim):
        return True
    sizes = zip(one.shape.dim, other.shape.dim, strict=True)
    return any(
        a.dim_value != b.dim_value for a, b in sizes if a.HasField("dim_value") and b.HasField("dim_value")
    )
