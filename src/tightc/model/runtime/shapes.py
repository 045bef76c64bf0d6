"""Shapes of the values in a model, once its inputs have a size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import helper

from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import ModelError
from tightc.model.runtime.session import create_session, ort_errors
from tightc.model.runtime.uncertain_shapes import values_of_uncertain_shape

Shape = tuple[int, ...]
Shapes = dict[str, Shape]


def value_shapes(
    proto: onnx.ModelProto, origin: str, wanted: Iterable[str], input_sizes: InputSizeOptions
) -> Shapes:
    """Shapes of the values named in `wanted` once the inputs are as large as `extent` says, as onnxruntime has them.

    ONNX shape inference answers most; for what it leaves open, and behind operators that onnxruntime may give another
    size, the model runs once on zeros. ModelError where a dimension other than the batch stays open, where `extent`
    contradicts the model, or where it has to run and cannot.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(proto)
    _fix_inputs(fixed, origin, input_sizes)
    _forget_sizes(fixed)
    graph = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    uncertain = values_of_uncertain_shape(graph)
    known = {t.name: tuple(t.dims) for t in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shape = _concrete(value)
        if shape is not None and value.name not in uncertain:
            known[value.name] = shape
    open_names = [name for name in dict.fromkeys(wanted) if name not in known]
    if open_names:
        known.update(_observe(proto, origin, open_names, known))
    return known


def _fix_inputs(proto: onnx.ModelProto, origin: str, input_sizes: InputSizeOptions) -> None:
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = {value.name: value for value in proto.graph.input if value.name not in constants}
    for name in input_sizes.shapes:
        if name not in inputs:
            raise ModelError(
                f"{origin}: it has no input {name} (it has {', '.join(inputs)})",
                "mend the name in --input-shape",
            )
    for name, value in inputs.items():
        if value.type.HasField("tensor_type"):
            _fix_input(value, origin, input_sizes.shapes.get(name), input_sizes.batch)


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


def _forget_sizes(proto: onnx.ModelProto) -> None:
    """Drops the sizes that the model states of anything but its inputs: onnxruntime does not hold itself to them."""
    del proto.graph.value_info[:]
    for value in proto.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")


def _concrete(value: onnx.ValueInfoProto) -> Shape | None:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        return None
    if not all(dimension.HasField("dim_value") for dimension in tensor.shape.dim):
        return None
    return tuple(dimension.dim_value for dimension in tensor.shape.dim)


def _observe(proto: onnx.ModelProto, origin: str, names: list[str], known: Shapes) -> Shapes:
    """Shapes of the values named, read off one run on zeros; `known` has those of the inputs.

    The inputs of `proto` stay open where they are: onnxruntime folds a Shape of what it infers from fixed ones.
    """
    watched = onnx.ModelProto()
    watched.CopyFrom(proto)
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = create_session(watched.SerializeToString(), origin)
    constants = {tensor.name for tensor in proto.graph.initializer}
    feeds = {
        value.name: np.zeros(known.get(value.name, ()), _dtype(value, origin))
        for value in proto.graph.input
        if value.name not in constants
    }
    with ort_errors(origin, "onnxruntime cannot run it on zeros"):
        found = session.run(names, feeds)
    return {name: tuple(out.shape) for name, out in zip(names, found, strict=True)}


def _dtype(value: onnx.ValueInfoProto, origin: str) -> np.dtype[Any]:
    """The type of numbers that an input takes; ModelError where it takes something else."""
    kind = (value.type.WhichOneof("value") or "nothing").removesuffix("_type")
    if kind == "tensor":
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if dtype.kind != "V":  # numpy's own, which onnxruntime takes
            return dtype
        kind = f"a tensor of {dtype}"
    raise ModelError(
        f"{origin}: expected a tensor of numbers that numpy has for input {value.name}, got {kind}",
        "export the model with float32 inputs",
    )
