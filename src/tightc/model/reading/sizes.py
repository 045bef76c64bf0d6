"""Sizes that a file leaves out, or states as -1 or 0, taken as open."""

from __future__ import annotations

import onnx

from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import ModelError
from tightc.model.onnx_proto.stored_tensors import embedded, stored_as_inputs
from tightc.model.runtime.limited import LimitError, open_session
from tightc.model.runtime.open_sizes import resolve_open_sizes
from tightc.model.runtime.shapes import loads_within_bounds, value_shapes


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

    Where ONNX infers none, the rank is that which onnxruntime states or computes, and all sizes are open. ModelError
    where onnxruntime cannot load the model then, or neither states nor computes it.
    """
    missing = {value.name: value for value in outputs_without_shape(proto)}
    if not missing:
        return []
    inferred = onnx.shape_inference.infer_shapes(stored_as_inputs(proto))
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        if value.name in missing and value.type.tensor_type.HasField("shape"):
            missing[value.name].type.CopyFrom(value.type)
    still = {value.name: value for value in outputs_without_shape(proto)}
    if still:
        for name, rank in _ranks(proto, origin, list(still)).items():
            _set_open_shape(still[name], rank)
    return list(missing)


def _ranks(proto: onnx.ModelProto, origin: str, names: list[str]) -> dict[str, int]:
    """The ranks of the outputs `names`, as onnxruntime states them, or finds them in a run on zeros."""
    content = embedded(proto, origin).SerializeToString()
    with open_session(content, origin, is_bounded=loads_within_bounds(proto)) as session:
        ranks = {found.name: len(found.shape) for found in session.outputs if found.name in names}
    unsure = [name for name, rank in ranks.items() if not rank]  # a single number, or of unknown rank
    if unsure:
        try:
            sizes, _ = resolve_open_sizes(proto, origin, InputSizeOptions())
            shapes = value_shapes(proto, origin, unsure, sizes, by_running=True)
        except LimitError:
            raise
        except ModelError:
            raise ModelError(
                f"{origin}: expected a shape for output {unsure[0]}, got none, and none can be inferred",
                "export the model with the shapes of its outputs or with fixed input sizes",
            ) from None
        ranks |= {name: len(shapes[name]) for name in unsure}
    return ranks


def _set_open_shape(value: onnx.ValueInfoProto, rank: int) -> None:
    shape = value.type.tensor_type.shape
    shape.SetInParent()
    for _ in range(rank):
        shape.dim.add()
