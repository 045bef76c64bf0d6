"""Images and labels as arrays in a .npz file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from tightc.config.image_shape import ImageShape
from tightc.data.arrays import as_labels, as_pixels
from tightc.data.images import Images, Split
from tightc.errors import DataError


def read_npz(path: Path, split: Split, shape: ImageShape) -> Images:
    """The images of `split` in the .npz file at `path`, for a network with input `shape`.

    They are `x_train`, `y_train` or `x_test`, `y_test` where the file has these, else `x`, `y` for either split.

    DataError, with the names of the arrays, where the file has neither.
    """
    if not zipfile.is_zipfile(path):
        raise _not_npz(path, "it has no table of contents")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = list(arrays.files)
            pair = [
                (x, y) for x, y in ((f"x_{split}", f"y_{split}"), ("x", "y")) if x in names and y in names
            ]
            if not pair:
                raise DataError(
                    f"{path}: expected arrays x_{split} and y_{split}, or x and y, got {', '.join(names) or 'none'}",
                    "save it with numpy.savez(file, x=images, y=labels)",
                )
            x, y = (arrays[name] for name in pair[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as fault:
        raise _not_npz(path, str(fault).partition("\n")[0]) from None
    return Images(as_pixels(x, shape, f"{path}: {pair[0][0]}"), as_labels(y, f"{path}: {pair[0][1]}"))


def _not_npz(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path}: expected a .npz file of plain arrays, got another or a corrupt file ({reason})",
        "save it with numpy.savez(file, x=images, y=labels)",
    )
