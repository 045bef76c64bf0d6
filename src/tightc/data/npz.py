"""Arrays in a .npz file: images with or without labels, or an array for each input of the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tightc.config.image_shape import ImageShape
from tightc.config.input_spec import InputSpec, image_shape
from tightc.data.arrays import as_labels, as_pixels
from tightc.data.images import Images, Split
from tightc.data.samples import LABELS, Samples, samples_of
from tightc.errors import DataError
from tightc.npz_file import open_npz


def read_npz(path: Path, split: Split, shape: ImageShape) -> Images:
    """The labeled images of `split` in the .npz file at `path`, for a network with input `shape`.

    They are `x_train`, `y_train` or `x_test`, `y_test` where the file has these, else `x`, `y` for either split.

    DataError, with the names of the arrays, where the file has neither.
    """
    with open_npz(path) as arrays:
        pair = _pair(arrays, split)
        if pair is None:
            raise DataError(
                f"{path}: expected arrays x_{split} and y_{split}, or x and y, got {', '.join(arrays) or 'none'}",
                "save it with numpy.savez(file, x=images, y=labels)",
            )
        x, y = (arrays[name] for name in pair)
    return Images(as_pixels(x, shape, f"{path}: {pair[0]}"), as_labels(y, f"{path}: {pair[1]}"))


def read_npz_for(path: Path, split: Split, inputs: tuple[InputSpec, ...]) -> Images | Samples:
    """The data of `split` in the .npz file at `path`, for a network with `inputs`.

    Where it takes images and the file has `x`, images, with labels where there is `y`. Else an array for each input by
    name. Names that end in the split, such as `x_train`, are preferred.

    DataError, with the names of the arrays, where the file has neither.
    """
    shape = image_shape(inputs)
    with open_npz(path) as arrays:
        if shape is not None and _pair(arrays, split) is not None:
            return read_npz(path, split, shape)
        x = _of_split("x", arrays, split)
        if shape is not None and x in arrays:
            return Images(as_pixels(arrays[x], shape, f"{path}: {x}"), None)
        names = [*(spec.name for spec in inputs), *LABELS]
        stored = {name: _of_split(name, arrays, split) for name in names}
        found = {name: arrays[key] for name, key in stored.items() if key in arrays}
        if all(spec.name not in found for spec in inputs):
            _refuse_other_split(arrays, split, names if shape is None else ["x", *names], str(path))
            found = {name: np.empty(0) for name in arrays}  # for the error, which lists their names
    return samples_of(found, inputs, str(path))


def _refuse_other_split(arrays: Mapping[str, Any], split: Split, names: list[str], origin: str) -> None:
    """DataError where `arrays` has some of the `names` for the other split alone."""
    other = "train" if split == "test" else "test"
    present = [name for name in names if f"{name}_{other}" in arrays]
    if present:
        raise DataError(
            f"{origin}: expected {present[0]}_{split}, the {split} split, got {', '.join(arrays)}",
            f"add {' and '.join(f'{name}_{split}' for name in present)}",
        )


def _pair(arrays: Mapping[str, Any], split: Split) -> tuple[str, str] | None:
    """The names of the images of `split` and of their labels among `arrays`, None without."""
    pairs = ((f"x_{split}", f"y_{split}"), ("x", "y"))
    return next((pair for pair in pairs if all(name in arrays for name in pair)), None)


def _of_split(name: str, arrays: Mapping[str, Any], split: Split) -> str:
    """`name` with the split appended where `arrays` have that."""
    return f"{name}_{split}" if f"{name}_{split}" in arrays else name
