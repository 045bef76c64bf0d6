"""Labelled images in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tightc.config.image_shape import ImageShape
from tightc.errors import DataError, OptionError

Split = Literal["train", "test"]


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
class Normalization:
    """Subtract `mean`, divide by `std`, one or one a channel; uint8 pixels are divided by 255 first."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if not values or not all(math.isfinite(value) for value in values):
                raise OptionError(
                    f"{name} {values} is not permitted", f"give {name} one finite number a channel"
                )
        if min(self.std) <= 0:
            raise OptionError(f"std {self.std} is not above 0", "give the standard deviation of each channel")

    def check(self, channels: int) -> None:
        """OptionError where mean or std has neither one value nor one a channel."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise OptionError(
                    f"{name} has {len(values)} values, the images have {channels} channels",
                    f"give {name} one value, or {channels}",
                )

    def apply(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """The network's input, float32, the shape of `pixels`: (images, channels, height, width).

        OptionError where mean or std has neither one value nor one a channel.
        """
        self.check(pixels.shape[1])
        scale = np.float32(1 / 255) if pixels.dtype == np.uint8 else np.float32(1)
        mean = np.asarray(self.mean, np.float32).reshape(1, -1, 1, 1)
        std = np.asarray(self.std, np.float32).reshape(1, -1, 1, 1)
        return (pixels.astype(np.float32) * scale - mean) / std


@dataclass(frozen=True)
class NormalizedImages:
    """Images that a stage looks at, and how the network wants them."""

    images: Images
    normalization: Normalization


def check_images(images: Images, shape: ImageShape, source: str) -> None:
    """DataError, naming `source`, where there are none, or some misfit `shape`, hold NaN, or lack a label."""
    if images.pixels.ndim != 4 or len(images.pixels) != len(images.labels) or images.labels.ndim != 1:
        raise DataError(
            f"{source}: images {images.pixels.shape} and labels {images.labels.shape} do not match",
            "give one label an image",
        )
    if not len(images):
        raise DataError(f"{source}: no images", "point --data at a set that holds some")
    if not shape.admits(images.pixels.shape[1:]):
        found = " x ".join(str(size) for size in images.pixels.shape[1:])
        raise DataError(
            f"{source}: the images are {found} (channels x height x width), the network wants {shape}",
            "resize or convert the images, or take the network that they belong to",
        )
    if images.pixels.dtype != np.uint8 and not np.isfinite(images.pixels).all():
        first = int(np.flatnonzero(~np.isfinite(images.pixels).all(axis=(1, 2, 3)))[0])
        raise DataError(f"{source}: image {first} holds NaN or infinite pixels", "mend or remove it")
    if images.labels.min() < 0:
        first = int(np.flatnonzero(images.labels < 0)[0])
        raise DataError(
            f"{source}: the label of image {first} is {images.labels[first]}", "number the classes from 0"
        )


def check_labels(images: Images, classes: int) -> None:
    """DataError where a label is outside the `classes` that a network tells apart."""
    outside = np.flatnonzero((images.labels < 0) | (images.labels >= classes))
    if not len(outside):
        return
    label = int(images.labels[outside[0]])
    name = f" ({images.classes[label]})" if 0 <= label < len(images.classes) else ""
    permitted = f"the network's {classes} classes (0 to {classes - 1})"
    raise DataError(
        f"label {label}{name} of image {outside[0]} is outside {permitted}",
        "take the data that the network was trained for, or number its classes from 0",
    )
