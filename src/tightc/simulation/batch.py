"""The batch that a model is simulated with: inputs of the network in one run."""

from __future__ import annotations

import onnx

from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.runtime.shapes import fed_inputs, value_shapes

UNKNOWN_BATCH = (
    "the model's inputs do not tell its batch: energy per inference is that of one run; if a run takes several inputs, "
    "divide it by their number"
)


def batch_size(plain: Model, input_sizes: InputSizeOptions) -> int | None:
    """The batch of the `plain` model with inputs of `input_sizes`; None where its inputs do not tell.

    It is the first dimension that the model leaves open, if its inputs agree on the size; if above 1, an output has to
    have that size too. Where all are fixed, it is the first dimension of the inputs with two dimensions or more; if
    above 1, an output has to begin with it.
    """
    proto, origin = plain.proto, plain.origin
    fed = {value.name: value.type.tensor_type for value in fed_inputs(proto)}
    shapes = value_shapes(proto, origin, (), input_sizes)
    sizes = {name: shapes[name][0] for name in fed if shapes.get(name)}
    opened = {size for name, size in sizes.items() if not _is_fixed(fed[name])}
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
    axes = None if opened else 1
    return size if any(size in found[name][:axes] for name in outputs) else None


def _is_fixed(kind: onnx.TypeProto.Tensor) -> bool:
    """Whether the model states the first dimension of an input."""
    return any(dimension.HasField("dim_value") for dimension in kind.shape.dim[:1])
