"""Shapes of the values in a model for given input sizes."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper

from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import ModelError, first_line
from tightc.model.onnx_proto.stored_tensors import embedded
from tightc.model.runtime.bounded import is_bounded
from tightc.model.runtime.float32_copy import run_dtype
from tightc.model.runtime.limited import open_session
from tightc.model.runtime.uncertain_shapes import values_of_uncertain_shape

_LARGEST_INPUT = 2**40  # bytes: more is damage
_INFERENCE_ERRORS = (onnx.shape_inference.InferenceError, RuntimeError, ValueError)
_SMALL = 4096  # elements; a shape, or the operands that one is computed from, has fewer

Shape = tuple[int, ...]
Shapes = dict[str, Shape]


def value_shapes(
    proto: onnx.ModelProto,
    origin: str,
    wanted: Iterable[str],
    input_sizes: InputSizeOptions,
    *,
    by_running: bool = False,
) -> Shapes:
    """Shapes, by name, that onnxruntime gives the `wanted` values of `proto` with inputs of `input_sizes`.

    Most come from ONNX shape inference. For the others, and behind operators where onnxruntime may compute another
    size, the model is run once on zeros; `by_running`, for all that are not constants or inputs. ModelError, naming
    `origin`, where a dimension other than the batch stays open, where `input_sizes` contradicts the model, or where
    the model cannot be run.
    """
    fixed, large = _without_large_tensors(proto)
    _fix_inputs(fixed, origin, input_sizes)
    fixed.graph.input.extend(large)
    _clear_stated_shapes(fixed)
    graph = _inferred(fixed, origin)
    uncertain = values_of_uncertain_shape(graph)
    known = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    inferred = () if by_running else (*graph.value_info, *graph.output)
    for value in (*graph.input, *inferred):
        shape = _static_shape(value)
        if shape is not None and value.name not in uncertain:
            known[value.name] = shape
    open_names = [name for name in dict.fromkeys(wanted) if name not in known]
    if open_names:
        known.update(_run_on_zeros(proto, origin, open_names, known, is_bounded=is_bounded(proto, graph)))
    return known


def loads_within_bounds(proto: onnx.ModelProto) -> bool:
    """Whether `proto` surely loads with little time and memory."""
    return _is_within_bounds(_without_large_tensors(proto), proto, is_run=False)


def runs_within_bounds(proto: onnx.ModelProto, open_size: int = 1) -> bool:
    """Whether `proto` surely runs with little time and memory; `open_size` is that of open dimensions but the batch."""
    fixed, large = _without_large_tensors(proto)
    for value in fed_inputs(fixed):
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if dimension.dim_value < 1:
                dimension.dim_value = open_size if axis else 1
    return _is_within_bounds((fixed, large), proto, is_run=True)


def _is_within_bounds(
    copied: tuple[onnx.ModelProto, list[onnx.ValueInfoProto]],
    proto: onnx.ModelProto,
    *,
    is_run: bool,
) -> bool:
    """Whether `proto` is bounded, of which `copied` is a copy without large tensors, and these."""
    if proto.functions:  # to infer shapes through those of packed weights takes much memory
        return False
    fixed, large = copied
    fixed.graph.input.extend(large)
    _clear_stated_shapes(fixed)
    try:
        graph = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    except _INFERENCE_ERRORS:
        return False
    return is_bounded(proto, graph, is_run=is_run)


def _inferred(proto: onnx.ModelProto, origin: str) -> onnx.GraphProto:
    """The graph with inferred shapes; ModelError where ONNX cannot infer them."""
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    except _INFERENCE_ERRORS as fault:
        raise ModelError(
            f"{origin}: ONNX cannot infer its shapes ({first_line(fault)})", "export the model again"
        ) from None


def fed_inputs(proto: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs of `proto` that a caller has to feed: those without an initializer."""
    constants = {tensor.name for tensor in proto.graph.initializer}
    return [value for value in proto.graph.input if value.name not in constants]


def require_sizes(proto: onnx.ModelProto, origin: str, input_sizes: InputSizeOptions) -> None:
    """ModelError, naming `origin`, where `input_sizes` leave a dimension of an input open or contradict it."""
    fixed, _ = _without_large_tensors(proto)
    _fix_inputs(fixed, origin, input_sizes)


def _without_large_tensors(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, list[onnx.ValueInfoProto]]:
    """A copy of `proto` without its large initializers, and these as inputs: shape inference needs no more of them."""
    copy, graph = onnx.ModelProto(), proto.graph
    copy.ir_version = proto.ir_version
    copy.opset_import.extend(proto.opset_import)
    copy.functions.extend(proto.functions)
    copy.graph.name = graph.name
    copy.graph.node.extend(graph.node)
    copy.graph.input.extend(graph.input)
    copy.graph.output.extend(graph.output)
    listed = {value.name for value in graph.input}
    large = []
    for tensor in graph.initializer:
        if prod(tensor.dims) <= _SMALL:
            copy.graph.initializer.append(tensor)
        elif tensor.name not in listed:
            large.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return copy, large


def _fix_inputs(proto: onnx.ModelProto, origin: str, input_sizes: InputSizeOptions) -> None:
    """Give every input of `proto` the shape that `input_sizes` says, in place."""
    inputs = {value.name: value for value in fed_inputs(proto)}
    for name in input_sizes.shapes:
        if name not in inputs:
            raise ModelError(
                f"{origin}: expected an input of the model ({', '.join(inputs)}), got {name}",
                "correct the name in --input-shape",
            )
    for name, value in inputs.items():
        if value.type.HasField("tensor_type"):
            _fix_input(value, origin, input_sizes.shapes.get(name), input_sizes.batch)


def batch_axis(value: onnx.ValueInfoProto, batch: int | None = None) -> int:
    """The axis of the samples of an input, the first unless the model says another.

    It does by the name of an open dimension, such as [sequence, batch, 64], or where the first is fixed to another size
    than the `batch` that is given and the second of three to that one.
    """
    dimensions = value.type.tensor_type.shape.dim
    named = [axis for axis, one in enumerate(dimensions) if "batch" in one.dim_param.lower()]
    if named:
        return named[0]
    sizes = [one.dim_value if one.HasField("dim_value") else None for one in dimensions]
    swapped = len(sizes) == 3 and sizes[0] not in (None, batch) and sizes[1] in (None, batch)
    return int(batch is not None and swapped)


def _fix_input(value: onnx.ValueInfoProto, origin: str, shape: Shape | None, batch: int | None) -> None:
    """Set the open dimensions of an input in place: that of samples to `batch`, the others to those of `shape`."""
    samples = batch_axis(value, batch)
    dimensions = value.type.tensor_type.shape.dim
    if shape is not None and not value.type.tensor_type.HasField("shape"):
        for _ in shape:
            dimensions.add()
    if shape is not None and len(shape) != len(dimensions):
        raise ModelError(
            f"{origin}: expected {len(dimensions)} dimensions for input {value.name}, got {len(shape)}",
            "correct --input-shape",
        )
    for axis, dimension in enumerate(dimensions):
        given = shape[axis] if shape else None
        if axis == samples and batch is not None:
            given = batch
        if dimension.HasField("dim_value"):
            if given not in (None, dimension.dim_value):
                flag = "--batch" if axis == samples and batch is not None else "--input-shape"
                raise ModelError(
                    f"{origin}: expected {dimension.dim_value} for dimension {axis} of input {value.name}, "
                    f"as in the model, got {given}",
                    f"leave {flag} out, or export the model with that dimension open",
                )
        elif batch is not None and axis == samples and shape and shape[axis] not in (1, batch):
            raise ModelError(
                f"{origin}: expected {batch}, as --batch says, for dimension {axis} of input {value.name}, got "
                f"{shape[axis]} in --input-shape",
                "leave --batch out, or give 1 there",
            )
        elif given is not None or axis == samples:
            dimension.dim_value = given or 1
        else:
            sizes = "x".join(
                str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?" for d in dimensions
            )
            raise ModelError(
                f"{origin}: the size of input {value.name} is open ({sizes})",
                f"give --input-shape {value.name}=1x3x224x224, with your numbers",
            )


def _clear_stated_shapes(proto: onnx.ModelProto) -> None:
    """Remove the shapes that the model states for all but its inputs: onnxruntime does not enforce them."""
    del proto.graph.value_info[:]
    for value in proto.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")


def _static_shape(value: onnx.ValueInfoProto) -> Shape | None:
    """The shape of a value, None where a dimension is open."""
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        return None
    if not all(dimension.HasField("dim_value") for dimension in tensor.shape.dim):
        return None
    return tuple(dimension.dim_value for dimension in tensor.shape.dim)


def _run_on_zeros(
    proto: onnx.ModelProto, origin: str, names: list[str], known: Shapes, *, is_bounded: bool
) -> Shapes:
    """Shapes of the values `names` in one run on zeros; `known` has those of the inputs.

    In a child process unless the run `is_bounded`.

    Open dimensions of the inputs stay open: with fixed ones, onnxruntime would fold Shape nodes by its own inference.
    """
    probe = onnx.ModelProto()
    probe.CopyFrom(proto)
    del probe.graph.output[:]
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    feeds = {}
    for value in fed_inputs(proto):
        zero, shape = np.zeros((), _input_dtype(value, origin)), known.get(value.name, ())
        if prod(shape) * zero.itemsize > _LARGEST_INPUT:
            raise ModelError(
                f"{origin}: expected at most {_LARGEST_INPUT} bytes for input {value.name}, got {shape}",
                "give a smaller size with --input-shape, or export the model again",
            )
        feeds[value.name] = np.broadcast_to(zero, shape)
    with open_session(embedded(probe, origin).SerializeToString(), origin, is_bounded=is_bounded) as session:
        return dict(zip(names, session.shapes(names, feeds), strict=True))


def _input_dtype(value: onnx.ValueInfoProto, origin: str) -> np.dtype[Any]:
    """The dtype of an input; ModelError where it is not a tensor of a numpy dtype."""
    kind = (value.type.WhichOneof("value") or "nothing").removesuffix("_type")
    if kind == "tensor":
        dtype = run_dtype(value.type.tensor_type.elem_type)
        if dtype.kind != "V":  # a dtype of numpy itself, as onnxruntime needs
            return dtype
        kind = f"a tensor of {dtype}"
    raise ModelError(
        f"{origin}: expected a tensor of a numpy dtype for input {value.name}, got {kind}",
        "export the model with float32 inputs",
    )
