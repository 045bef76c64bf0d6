"""The inputs of a network that a caller feeds, and its outputs."""

from __future__ import annotations

import onnx

from tightc.config.image_shape import ImageShape
from tightc.config.input_spec import FLOATS, InputSpec, image_shape
from tightc.errors import ModelError
from tightc.model.onnx_proto.graph import Graph, is_standard
from tightc.model.runtime.float32_copy import run_dtype

_NO_IMAGES = "give the data as a .npz file with an array for each input, by name"


def network_inputs(proto: onnx.ModelProto, origin: str) -> tuple[InputSpec, ...]:
    """The inputs of `proto`; ModelError, naming `origin`, where one is no tensor of a numpy dtype."""
    constants = {tensor.name for tensor in proto.graph.initializer}
    return tuple(_spec(value, origin) for value in proto.graph.input if value.name not in constants)


def fixed_batch(inputs: tuple[InputSpec, ...]) -> int | None:
    """The number of samples in a run where a network with these `inputs` fixes it."""
    return next((spec.batch for spec in inputs if spec.batch is not None), None)


def image_spec(proto: onnx.ModelProto, origin: str) -> tuple[InputSpec, ImageShape]:
    """The one input of `proto`, which takes images, and their shape; ModelError, naming `origin`, where it does not."""
    inputs = network_inputs(proto, origin)
    shape = image_shape(inputs)
    if shape is not None:
        return inputs[0], shape
    if len(inputs) != 1:
        names = ", ".join(spec.name for spec in inputs) or "none"
        raise ModelError(f"{origin}: expected one input, got {len(inputs)} ({names})", _NO_IMAGES)
    (spec,) = inputs
    sizes = spec.sizes or ()
    if len(sizes) != 4:
        expected, got = (
            "4 dimensions",
            f"{len(sizes)} ({' x '.join(str(size or '?') for size in sizes) or 'none'})",
        )
    elif spec.dtype not in FLOATS:
        expected, got = "float32", spec.dtype
    else:
        expected, got = "a fixed number of channels", "an open dimension"
    raise ModelError(f"{origin}: expected {expected} for input {spec.name}, got {got}", _NO_IMAGES)


def _spec(value: onnx.ValueInfoProto, origin: str) -> InputSpec:
    tensor = value.type.tensor_type
    kind = run_dtype(tensor.elem_type) if value.type.HasField("tensor_type") else None
    if kind is None or kind.kind not in "biuf":
        found = value.type.WhichOneof("value") if kind is None else kind.name
        raise ModelError(
            f"{origin}: expected numbers for input {value.name}, got {found or 'nothing'}",
            "export the model with tensors of numbers as inputs",
        )
    return InputSpec(value.name, kind.name, _sizes(value))


def _sizes(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    # some exporters write 0 or -1 for an open size
    return tuple(d.dim_value if d.dim_value > 0 else None for d in tensor.shape.dim)


def output_sizes(proto: onnx.ModelProto) -> tuple[tuple[int | None, ...] | None, ...]:
    """The sizes of each output that `proto` states, None where one is open; None for an output of open rank."""
    return tuple(map(_sizes, proto.graph.output))


def float_outputs(proto: onnx.ModelProto) -> tuple[str, ...]:
    """The outputs of `proto` that are floats; others, such as class numbers, have no gradient and no error."""
    outputs = [(value.name, value.type.tensor_type.elem_type) for value in proto.graph.output]
    return tuple(name for name, kind in outputs if kind and run_dtype(kind).kind == "f")


def before_softmax(graph: Graph, name: str) -> str:
    """The value that a Softmax turns into the value `name` along its last axis, else `name` itself."""
    for node in graph.nodes:
        if name in node.outputs and node.op == "Softmax" and is_standard(node.domain):
            return node.inputs[0]
    return name


def are_logits(shape: tuple[int, ...], inputs: list[tuple[int, ...]]) -> bool:
    """Whether an output of `shape` holds a value for each of several classes.

    It has two axes, and is no reconstruction: no input, of the shapes `inputs`, has its shape.
    """
    return len(shape) == 2 and shape[1] > 1 and shape not in inputs
