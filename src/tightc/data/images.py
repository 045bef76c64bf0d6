"""Images in memory, with labels where they have any, and their normalization."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tightc.config.image_shape import ImageShape
from tightc.data.file_pixels import FilePixels
from tightc.errors import DataError, OptionError

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Images:
    """`pixels`: (images, channels, height, width) uint8 0..255 or float32; `labels`: (images,) int64, None without.

    FilePixels in place of the array are decoded when they are asked for, which an index does. `classes` are the class
    names in label order, empty where the source has none.
    """

    pixels: NDArray[np.uint8] | NDArray[np.float32] | FilePixels
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)

    def chosen(self, which: NDArray[Any]) -> Images:
        """The images at `which`: bools, or numbers of images."""
        pixels = self.pixels.chosen(which) if isinstance(self.pixels, FilePixels) else self.pixels[which]
        return Images(pixels, None if self.labels is None else self.labels[which], self.classes)


@dataclass(frozen=True)
class Normalization:
    """Subtracts `mean` and divides by `std`, one or one per channel; uint8 pixels are divided by 255 first."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if not values or not all(math.isfinite(value) for value in values):
                raise OptionError(
                    f"{name}: expected finite numbers, got {values}", "give one number, or one per channel"
                )
        if min(self.std) <= 0:
            raise OptionError(
                f"std: expected numbers above 0, got {self.std}",
                "give the standard deviation of each channel",
            )

    def check(self, channels: int) -> None:
        """OptionError where mean or std has neither one value nor one per channel."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise OptionError(
                    f"{name}: expected one number, or one per channel ({channels}), got {len(values)}",
                    "give one number, or one per channel",
                )

    def apply(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """The network's input, float32, the shape of `pixels`: (images, channels, height, width).

        OptionError where mean or std has neither one value nor one per channel.
        """
        self.check(pixels.shape[1])
        scale = np.float32(1 / 255) if pixels.dtype == np.uint8 else np.float32(1)
        mean = np.asarray(self.mean, np.float32).reshape(1, -1, 1, 1)
        std = np.asarray(self.std, np.float32).reshape(1, -1, 1, 1)
        return (pixels.astype(np.float32) * scale - mean) / std


@dataclass(frozen=True)
class NormalizedImages:
    """Images for a stage, and their normalization."""

    images: Images
    normalization: Normalization


def check_images(images: Images, shape: ImageShape, source: str) -> None:
    """Checks that there are images of `shape`, finite, each with a label or none with any; DataError names `source`."""
    labels = images.labels
    labeled = labels is None or (len(images.pixels) == len(labels) and labels.ndim == 1)
    if images.pixels.ndim != 4 or not labeled:
        shape_of_labels = "none" if labels is None else labels.shape
        raise DataError(
            f"{source}: expected one label per image, "
            f"got images {images.pixels.shape} and labels {shape_of_labels}",
            "give one integer label per image",
        )
    if not images.pixels.size:
        raise DataError(f"{source}: expected images, got none", "point --data at a data set with images")
    if not shape.admits(images.pixels.shape[1:]):
        found = " x ".join(str(size) for size in images.pixels.shape[1:])
        raise DataError(
            f"{source}: expected images of {shape} (channels x height x width), got {found}",
            "add --resize and --crop where they are image files, or take the network that was trained on them",
        )
    pixels = images.pixels
    if not isinstance(pixels, FilePixels) and pixels.dtype != np.uint8 and not np.isfinite(pixels).all():
        first = int(np.flatnonzero(~np.isfinite(pixels).all(axis=(1, 2, 3)))[0])
        raise DataError(
            f"{source}: expected finite pixels, got NaN or infinity in image {first}", "correct or remove it"
        )
    if labels is not None and labels.min() < 0:
        first = int(np.flatnonzero(labels < 0)[0])
        raise DataError(
            f"{source}: expected labels from 0, got {labels[first]} for image {first}",
            "number the classes from 0",
        )


def require_labels(images: Images, source: str) -> NDArray[np.int64]:
    """The labels of `images`; DataError, naming `source`, where they have none."""
    if images.labels is None:
        raise DataError(
            f"{source}: expected images with labels, got images without",
            "put the images of each class in their own folder, or store y",
        )
    return images.labels


def check_labels(images: Images, classes: int) -> None:
    """DataError where a label of `images` is not one of the network's `classes`."""
    labels = require_labels(images, "the images")
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if not len(outside):
        return
    label = int(labels[outside[0]])
    name = f" ({images.classes[label]})" if 0 <= label < len(images.classes) else ""
    raise DataError(
        f"image {outside[0]}: expected a label of the network's {classes} classes (0 to {classes - 1}), "
        f"got {label}{name}",
        "take data of the network's classes, or number its classes from 0",
    )
