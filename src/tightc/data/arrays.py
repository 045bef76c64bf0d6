"""Conversion of foreign arrays to the layout and dtypes of `Images`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.config.image_shape import ImageShape
from tightc.errors import DataError


def as_pixels(x: NDArray[Any], shape: ImageShape, origin: str) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Pixels in NHW, NHWC or NCHW as (images, channels, height, width) uint8 or float32.

    Integers must lie in 0..255 and become uint8; floats become float32. The layout that fits `shape` is taken, NCHW
    where both do. `origin` names the array in errors; DataError where it cannot be converted.
    """
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and not shape.admits(x.shape[1:]) and shape.admits((x.shape[3], *x.shape[1:3])):
        x = x.transpose(0, 3, 1, 2)
    elif x.ndim != 4:
        raise DataError(
            f"{origin}: expected 3 or 4 dimensions, got {x.ndim}",
            "store images x height x width, with channels first or last",
        )
    if x.dtype == np.uint8 or (np.issubdtype(x.dtype, np.integer) and (not x.size or _in_bytes(x))):
        return np.ascontiguousarray(x, np.uint8)
    if np.issubdtype(x.dtype, np.floating):
        return np.ascontiguousarray(x, np.float32)
    raise DataError(
        f"{origin}: expected pixels, got {x.dtype} values outside 0..255",
        "store pixels as uint8 0..255 or as floats",
    )


def as_labels(y: NDArray[Any], origin: str) -> NDArray[np.int64]:
    """Integer labels `y`, one per image, also as a column, as (images,) int64; `origin` names them in errors."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        raise DataError(
            f"{origin}: expected one integer per image, got {y.dtype} {y.shape}",
            "store the class numbers, from 0, as integers",
        )
    return y.astype(np.int64)


def _in_bytes(x: NDArray[Any]) -> bool:
    return bool(x.min() >= 0 and x.max() <= 255)
