"""Shapes of the values in a model, once the batch is fixed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import helper

from tightc.errors import ModelError
from tightc.model.session import open_session

Shape = tuple[int, ...]
Shapes = dict[str, Shape]


def value_shapes(
    proto: onnx.ModelProto, origin: str, wanted: Iterable[str], batch: int | None = None
) -> Shapes:
    """Shapes of the values named in `wanted`, with symbolic first dimensions of the inputs set to `batch` (default 1).

    ONNX shape inference answers most; for what it leaves open the model runs once on zeros. ModelError where an
    input has another symbolic dimension, or where `batch` contradicts a batch that the model fixes.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(proto)
    _fix_batch(fixed, origin, batch)
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


def _fix_batch(proto: onnx.ModelProto, origin: str, batch: int | None) -> None:
    constants = {tensor.name for tensor in proto.graph.initializer}
    for value in proto.graph.input:
        if value.name in constants or not value.type.HasField("tensor_type"):
            continue
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if dimension.HasField("dim_value"):
                if axis == 0 and batch not in (None, dimension.dim_value):
                    raise ModelError(
                        f"{origin}: input {value.name} has a fixed batch of {dimension.dim_value}, not {batch}",
                        "leave --batch out, or export the model with a symbolic batch",
                    )
            elif axis == 0:
                dimension.dim_value = batch or 1
            else:
                label = dimension.dim_param or "?"
                raise ModelError(
                    f"{origin}: dimension {axis} ({label}) of input {value.name} is symbolic",
                    "fix it with onnx.tools.update_model_dims, only the batch may be symbolic",
                )
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
