"""Input and output of an image classifier."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from tightc.config.image_shape import ImageShape
from tightc.errors import ModelError

_NOT_A_CLASSIFIER = (
    "give a model with one input (batch x channels x height x width) and one output (batch x classes)"
)

_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)


@dataclass(frozen=True)
class ImageInput:
    """Name and shape of the input, name and number of classes of the output; None where the model leaves it open."""

    name: str
    batch: int | None
    shape: ImageShape
    output: str
    classes: int | None


def image_input(proto: onnx.ModelProto, origin: str) -> ImageInput:
    """The one float image input and the one class output of `proto`; ModelError, naming `origin`, for any other."""
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in constants]
    outputs = list(proto.graph.output)
    for what, values in (("input", inputs), ("output", outputs)):
        if len(values) != 1:
            names = ", ".join(value.name for value in values) or "none"
            raise ModelError(f"{origin}: expected one {what}, got {len(values)} ({names})", _NOT_A_CLASSIFIER)
    image, logits = inputs[0], outputs[0]
    batch, channels, height, width = _dimensions(image, 4, "input", origin)
    if image.type.tensor_type.elem_type not in _FLOATS:
        kind = onnx.TensorProto.DataType.Name(image.type.tensor_type.elem_type).lower()
        raise ModelError(
            f"{origin}: expected float32 for input {image.name}, got {kind}", "export it with a float32 input"
        )
    if channels is None:
        raise ModelError(
            f"{origin}: expected a fixed number of channels for input {image.name}, got an open dimension",
            "export it with a fixed number",
        )
    classes = (
        _dimensions(logits, 2, "output", origin)[1] if logits.type.tensor_type.HasField("shape") else None
    )
    return ImageInput(image.name, batch, ImageShape(channels, height, width), logits.name, classes)


def _dimensions(value: onnx.ValueInfoProto, rank: int, what: str, origin: str) -> list[int | None]:
    """The sizes of `value`, None where open; ModelError where it has not `rank` dimensions."""
    dimensions = value.type.tensor_type.shape.dim
    if len(dimensions) != rank:
        found = " x ".join(
            d.dim_param or str(d.dim_value) if d.WhichOneof("value") else "?" for d in dimensions
        )
        raise ModelError(
            f"{origin}: expected {rank} dimensions for {what} {value.name}, "
            f"got {len(dimensions)} ({found or 'none'})",
            _NOT_A_CLASSIFIER,
        )
    return [d.dim_value if d.HasField("dim_value") else None for d in dimensions]
