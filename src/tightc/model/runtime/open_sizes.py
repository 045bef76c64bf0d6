"""Sizes for inputs that a model leaves open and nobody gave: the first that onnxruntime can run it with."""

from __future__ import annotations

from typing import TypeVar

import onnx

from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import ModelError
from tightc.model.runtime.limited import LimitError
from tightc.model.runtime.shapes import batch_axis, fed_inputs, require_sizes, value_shapes

Sizes = TypeVar("Sizes", bound=InputSizeOptions)

_TRIED = (224, 32, 128, 64, 256, 512, 320, 416, 640, 299, 300, 16, 8, 100, 1)
_MOST_ELEMENTS = 2**20  # over the open axes of an input: 224 in four of them would not fit into memory


def resolve_open_sizes(proto: onnx.ModelProto, origin: str, given: Sizes) -> tuple[Sizes, tuple[str, ...]]:
    """`given` with sizes for all inputs of `proto`, and a note for each input whose size was assumed.

    The batch may stay open. A note names --input-shape, which replaces the assumption. ModelError where no tried size
    runs.
    """
    opened = {
        value.name: value
        for value in fed_inputs(proto)
        if value.name not in given.shapes and _open_axes(value, given.batch)
    }
    if not opened:
        return given, ()
    outputs = [value.name for value in proto.graph.output]
    for size in _TRIED:
        if any(size ** _open_axes(value, given.batch) > _MOST_ELEMENTS for value in opened.values()):
            continue
        shapes = tuple(f"{name}={_shape_text(value, size, given.batch)}" for name, value in opened.items())
        assumed = given.model_copy(update={"input_shape": (*given.input_shape, *shapes)})
        try:
            value_shapes(proto, origin, outputs, assumed, by_running=True)
        except LimitError:
            raise
        except ModelError:
            continue
        return assumed, tuple(_note(value, size, given.batch) for value in opened.values())
    require_sizes(proto, origin, given)
    raise AssertionError("an open size is refused")


def _open_axes(value: onnx.ValueInfoProto, batch: int | None) -> int:
    """The number of open axes but that of the `batch`."""
    samples = batch_axis(value, batch)
    dimensions = enumerate(value.type.tensor_type.shape.dim)
    return sum(axis != samples and not dimension.HasField("dim_value") for axis, dimension in dimensions)


def _shape_text(value: onnx.ValueInfoProto, size: int, batch: int | None) -> str:
    dimensions, samples = value.type.tensor_type.shape.dim, batch_axis(value, batch)
    sizes = [
        dimension.dim_value if dimension.HasField("dim_value") else (size if axis != samples else 1)
        for axis, dimension in enumerate(dimensions)
    ]
    return "x".join(map(str, sizes))


def _note(value: onnx.ValueInfoProto, size: int, batch: int | None) -> str:
    stated = "x".join(
        str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?"
        for d in value.type.tensor_type.shape.dim
    )
    return (
        f"the size of input {value.name} is open ({stated}): {_shape_text(value, size, batch)} is assumed; "
        f"give --input-shape {value.name}=... for another"
    )
