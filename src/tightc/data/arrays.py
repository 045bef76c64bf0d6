"""Arrays that others made, in the layout and types of `Images`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.config.image_shape import ImageShape
from tightc.errors import DataError


def as_pixels(x: NDArray[Any], shape: ImageShape, origin: str) -> NDArray[np.uint8] | NDArray[np.float32]:
    """(images, channels, height, width) uint8 or float32 from NHW, NHWC or NCHW, as `shape` has it.

    Integers must lie in 0..255 and become uint8; floats become float32. Where both fit, NCHW is taken.
    """
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and not shape.admits(x.shape[1:]) and shape.admits((x.shape[3], *x.shape[1:3])):
        x = x.transpose(0, 3, 1, 2)
    elif x.ndim != 4:
        raise DataError(
            f"{origin} has {x.ndim} dimensions, not 3 or 4",
            "store images x height x width, or that x channels",
        )
    if x.dtype == np.uint8 or (np.issubdtype(x.dtype, np.integer) and (not x.size or _in_bytes(x))):
        return np.ascontiguousarray(x, np.uint8)
    if np.issubdtype(x.dtype, np.floating):
        return np.ascontiguousarray(x, np.float32)
    raise DataError(
        f"{origin} is {x.dtype} with values outside those of pixels",
        "store pixels as uint8 0..255 or as floats",
    )


def as_labels(y: NDArray[Any], origin: str) -> NDArray[np.int64]:
    """(images,) int64 from integers, one an image; also from a single column of them."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        raise DataError(
            f"{origin} is {y.dtype} {y.shape}, not one integer an image",
            "store the number of the class, from 0, as an integer",
        )
    return y.astype(np.int64)


def _in_bytes(x: NDArray[Any]) -> bool:
    return bool(x.min() >= 0 and x.max() <= 255)
