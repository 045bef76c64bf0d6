"""Labelled images in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Images:
    """`pixels`: (images, channels, height, width) uint8 0..255 or float32; `labels`: (images,) int64.

    `classes` are the class names in label order, empty where the source has none.
    """

    pixels: NDArray[np.uint8] | NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Normalisation:
    """Subtract `mean`, divide by `std`, one value a channel, after uint8 pixels were divided by 255."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def apply(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """The network's input, float32, the shape of `pixels`: (images, channels, height, width)."""
        scale = np.float32(1 / 255) if pixels.dtype == np.uint8 else np.float32(1)
        mean = np.asarray(self.mean, np.float32).reshape(1, -1, 1, 1)
        std = np.asarray(self.std, np.float32).reshape(1, -1, 1, 1)
        return (pixels.astype(np.float32) * scale - mean) / std
