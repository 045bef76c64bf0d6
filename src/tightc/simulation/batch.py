"""The batch that a model is simulated with: inputs of the network in one run."""

from __future__ import annotations

import onnx

from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.runtime.shapes import batch_axis, fed_inputs, value_shapes

UNKNOWN_BATCH = (
    "the model's inputs do not tell its batch: energy per inference is that of one run; if a run takes several inputs, "
    "divide it by their number"
)
_SEQUENCES = ("seq", "len", "time", "token")


def batch_size(plain: Model, input_sizes: InputSizeOptions) -> int | None:
    """The batch of the `plain` model with inputs of `input_sizes`; None where its inputs do not tell.

    It is the dimension of samples (`batch_axis`) that the model leaves open, if its inputs agree on the size; if above
    1, an output has to have that size too. Where all are fixed, it is that dimension of the inputs with two dimensions
    or more; if above 1, an output has to have it there.
    """
    proto, origin = plain.proto, plain.origin
    fed = {value.name: value.type.tensor_type for value in fed_inputs(proto)}
    shapes = value_shapes(proto, origin, (), input_sizes)
    axes = {value.name: batch_axis(value, input_sizes.batch) for value in fed_inputs(proto)}
    sizes = {name: shapes[name][axes[name]] for name in fed if shapes.get(name)}
    opened = {size for name, size in sizes.items() if not _is_fixed(fed[name], axes[name])}
    stated = opened or {size for name, size in sizes.items() if len(shapes[name]) > 1}
    if len(stated) != 1:
        return None
    (size,) = stated
    if size == 1:
        return size
    outputs = [value.name for value in proto.graph.output]
    try:
        found = value_shapes(proto, origin, outputs, input_sizes)
    except ModelError:  # an output that is no tensor
        return size if opened else None
    end = None if opened else max(axes.values()) + 1
    return size if any(size in found[name][:end] for name in outputs) else None


def batch_note(plain: Model, input_sizes: InputSizeOptions, batch: int | None) -> tuple[str, ...]:
    """A note that the batch is unknown, or which one is assumed where an input may have its sequence first."""
    if batch is None:
        return (UNKNOWN_BATCH,)
    if input_sizes.batch is not None:
        return ()
    for value in fed_inputs(plain.proto):
        dimensions = value.type.tensor_type.shape.dim
        first = dimensions[0] if dimensions else None
        if len(dimensions) != 3 or first is None or batch_axis(value):
            continue
        if first.dim_value > 1 or any(word in first.dim_param.lower() for word in _SEQUENCES):
            size = first.dim_value or first.dim_param
            return (
                f"a batch of {batch} is assumed, by the first dimension of input {value.name} ({size}); if that is its "
                "sequence, give --batch, and sizes by --input-shape",
            )
    return ()


def _is_fixed(kind: onnx.TypeProto.Tensor, axis: int) -> bool:
    """Whether the model states that dimension of an input."""
    return any(dimension.HasField("dim_value") for dimension in kind.shape.dim[axis : axis + 1])
