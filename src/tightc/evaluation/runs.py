"""Runs of a model by onnxruntime over images or samples, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.config.input_spec import InputSpec
from tightc.data.images import Images, Normalization
from tightc.data.samples import Samples
from tightc.errors import DataError, ModelError
from tightc.model.file import Model
from tightc.model.layer_view.network_inputs import fixed_batch, network_inputs
from tightc.model.runtime.session import create_session, ort_errors

Values = Mapping[str, NDArray[Any]]


def rows_of(data: Images | Samples) -> int:
    """The number of rows that a model is run on."""
    return data.rows if isinstance(data, Samples) else len(data)


def batches_of(
    data: Images | Samples, normalization: Normalization, inputs: tuple[InputSpec, ...], size: int
) -> Iterator[tuple[slice, Values]]:
    """The rows of each batch of up to `size`, and what the `inputs` get for them; images are normalized."""
    for first in range(0, rows_of(data), size):
        rows = slice(first, min(first + size, rows_of(data)))
        if isinstance(data, Images):
            (spec,) = inputs
            pixels = normalization.apply(data.pixels[rows])
            yield rows, {spec.name: pixels.astype(spec.dtype, copy=False)}
        else:
            yield rows, {name: array[rows] for name, array in data.inputs.items()}


class ModelRun:
    """A session of `model` with `threads`, for batches of its inputs.

    `names` are its outputs, `inputs` what it takes, `batch` the number of rows that it fixes, if it does.
    """

    def __init__(self, model: Model, threads: int) -> None:
        self.origin = model.origin
        self.inputs = network_inputs(model.proto, model.origin)
        self.names = [value.name for value in model.proto.graph.output]
        self.batch = fixed_batch(self.inputs)
        self._session = create_session(model.to_bytes(), model.origin, threads)

    def outputs(self, feeds: Values, columns: str = "values") -> dict[str, NDArray[Any]]:
        """The outputs for `feeds`, rows first; a batch smaller than the fixed one is padded.

        `columns` says in errors what stands beside the rows. Feeds for other names are taken in order. ModelError where
        it does not run, or gives another number of rows.
        """
        if any(spec.name not in feeds for spec in self.inputs):
            pairs = zip(self.inputs, feeds.values(), strict=False)
            feeds = {spec.name: array for spec, array in pairs}
        rows = len(next(iter(feeds.values())))
        missing = (self.batch or rows) - rows
        if missing > 0:
            feeds = {
                name: np.concatenate([array, np.zeros((missing, *array.shape[1:]), array.dtype)])
                for name, array in feeds.items()
            }
        with ort_errors(self.origin, "onnxruntime cannot run it on these images"):
            found = self._session.run(self.names, dict(feeds))
        for name, values in zip(self.names, found, strict=True):
            if values.ndim == 0 or len(values) != rows + max(missing, 0):
                sizes = " x ".join(map(str, values.shape)) or "one number"
                raise ModelError(
                    f"{self.origin}: output {name}: expected {rows} x {columns}, got {sizes}",
                    "export the model with a dynamic batch size",
                )
        return {name: values[:rows] for name, values in zip(self.names, found, strict=True)}


def require_inputs(data: Images | Samples, run: ModelRun) -> None:
    """DataError where the arrays of samples are not those of the inputs of the model."""
    if isinstance(data, Images):
        return
    named = [data.inputs.get(spec.name) for spec in run.inputs]
    arrays = list(data.inputs.values()) if any(array is None for array in named) else named
    fits = len(arrays) == len(run.inputs) and all(
        array is not None and spec.admits(array.shape) and array.dtype == np.dtype(spec.dtype)
        for spec, array in zip(run.inputs, arrays, strict=True)
    )
    if not fits:
        found = ", ".join(f"{name} ({' x '.join(map(str, a.shape))})" for name, a in data.inputs.items())
        raise DataError(
            f"the data: expected the inputs of {run.origin}, {', '.join(map(str, run.inputs))}, got {found}",
            "give data with an array for each input, by name",
        )


def output_pairs(
    own: dict[str, NDArray[Any]], wanted: dict[str, NDArray[Any]], run: ModelRun, other: ModelRun
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """The float outputs of two models, by name where they have the same, else in their order."""
    names = own if own.keys() == wanted.keys() else wanted
    twos = [wanted[name] for name in names]
    if len(own) != len(twos):
        raise ModelError(
            f"{other.origin}: expected a teacher with {len(own)} outputs, as {run.origin} has, got {len(twos)}",
            "give a teacher with the same outputs",
        )
    pairs = []
    for (name, one), two in zip(own.items(), twos, strict=True):
        if one.shape != two.shape:
            raise ModelError(
                f"{other.origin}: expected {sizes_text(one.shape)} for output {name}, as in {run.origin}, "
                f"got {sizes_text(two.shape)}",
                "give a teacher with outputs of the same size",
            )
        if one.dtype.kind == "f":
            pairs.append((one.astype(np.float64), two.astype(np.float64)))
    if not pairs:
        raise ModelError(
            f"{run.origin}: expected an output of floats to compare, got none",
            "export it with its last layer",
        )
    return pairs


def sizes_text(shape: tuple[int, ...]) -> str:
    """A shape as text, such as `4 x 10`."""
    return " x ".join(map(str, shape))
