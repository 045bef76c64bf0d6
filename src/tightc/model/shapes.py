"""Shapes of the values in a model, once its inputs have a size."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import helper

from tightc.config.extent import ExtentOptions
from tightc.errors import ModelError
from tightc.model.session import open_session

Shape = tuple[int, ...]
Shapes = dict[str, Shape]


def value_shapes(proto: onnx.ModelProto, origin: str, wanted: Iterable[str], extent: ExtentOptions) -> Shapes:
    """Shapes of the values named in `wanted` once the inputs are as large as `extent` says.

    ONNX shape inference answers most; for what it leaves open the model runs once on zeros. ModelError where a
    dimension other than the batch stays open, or where `extent` contradicts the model.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(proto)
    _fix_inputs(fixed, origin, extent)
    _open_outputs(fixed)
    del fixed.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True)
    graph = inferred.graph
    known = {t.name: tuple(t.dims) for t in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shape = _concrete(value)
        if shape is not None:
            known[value.name] = shape
    open_names = [name for name in dict.fromkeys(wanted) if name not in known]
    if open_names:
        known.update(_observe(fixed, origin, open_names))
    return known


def _fix_inputs(proto: onnx.ModelProto, origin: str, extent: ExtentOptions) -> None:
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = {value.name: value for value in proto.graph.input if value.name not in constants}
    for name in extent.shapes:
        if name not in inputs:
            raise ModelError(
                f"{origin}: it has no input {name} (it has {', '.join(inputs)})",
                "mend the name in --input-shape",
            )
    for name, value in inputs.items():
        if value.type.HasField("tensor_type"):
            _fix_input(value, origin, extent.shapes.get(name), extent.batch)


def _fix_input(value: onnx.ValueInfoProto, origin: str, shape: Shape | None, batch: int | None) -> None:
    """Sets the open dimensions of an input: the first is the batch, the others must be in `shape`."""
    dimensions = value.type.tensor_type.shape.dim
    if shape is not None and len(shape) != len(dimensions):
        raise ModelError(
            f"{origin}: input {value.name} has {len(dimensions)} dimensions, not {len(shape)}",
            "mend --input-shape",
        )
    for axis, dimension in enumerate(dimensions):
        given = shape[axis] if shape else None
        if axis == 0 and batch is not None:
            given = batch
        if dimension.HasField("dim_value"):
            if given not in (None, dimension.dim_value):
                flag = "--batch" if axis == 0 and batch is not None else "--input-shape"
                raise ModelError(
                    f"{origin}: dimension {axis} of input {value.name} is {dimension.dim_value} in the model, "
                    f"not {given}",
                    f"leave {flag} out, or export the model with that dimension open",
                )
        elif given is not None or axis == 0:
            dimension.dim_value = given or 1
        else:
            sizes = "x".join(
                str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?" for d in dimensions
            )
            raise ModelError(
                f"{origin}: the size of input {value.name} is open ({sizes})",
                f"give --input-shape {value.name}=1x3x224x224, with your numbers",
            )


def _open_outputs(proto: onnx.ModelProto) -> None:
    """Forgets symbolic sizes of outputs, which may contradict the fixed inputs."""
    for value in proto.graph.output:
        for dimension in value.type.tensor_type.shape.dim:
            if not dimension.HasField("dim_value"):
                dimension.Clear()


def _concrete(value: onnx.ValueInfoProto) -> Shape | None:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        return None
    if not all(dimension.HasField("dim_value") for dimension in tensor.shape.dim):
        return None
    return tuple(dimension.dim_value for dimension in tensor.shape.dim)


def _observe(proto: onnx.ModelProto, origin: str, names: list[str]) -> Shapes:
    """Shapes of the values named, read off one run on zeros."""
    watched = onnx.ModelProto()
    watched.CopyFrom(proto)
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = open_session(watched.SerializeToString(), origin)
    constants = {tensor.name for tensor in proto.graph.initializer}
    feeds = {
        value.name: np.zeros(
            _concrete(value) or (), helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        )
        for value in proto.graph.input
        if value.name not in constants
    }
    return {name: tuple(out.shape) for name, out in zip(names, session.run(names, feeds), strict=True)}
