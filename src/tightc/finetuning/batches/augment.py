"""Augmentation: random crops with mirroring, and mixup."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Crop:
    """Height and width of a random crop, and its largest shift from the center on either axis; all in pixels."""

    height: int
    width: int
    row_shift: int
    column_shift: int


def draw_crops(count: int, crop: Crop, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draws `count` random crops of a padded image, about half of them mirrored.

    Returns the rows and the columns that each crop reads: (count, height) and (count, width) int64, on the CPU like
    `generator`.
    """
    top = torch.randint(0, 2 * crop.row_shift + 1, (count, 1), generator=generator)
    left = torch.randint(0, 2 * crop.column_shift + 1, (count, 1), generator=generator)
    mirrored = torch.randint(0, 2, (count, 1), generator=generator).bool()
    columns = torch.arange(crop.width).expand(count, crop.width)
    return top + torch.arange(crop.height), left + torch.where(mirrored, columns.flip(1), columns)


def cut_crops(pixels: Tensor, index: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Cuts `rows` and `columns`, as drawn by `draw_crops`, from the images `index`; all on one device.

    `pixels`: (images, padded height, padded width, channels); `index`: (batch,) int64. Returns (batch, height, width,
    channels) in the dtype of `pixels`.
    """
    return pixels[index[:, None, None], rows[:, :, None], columns[:, None, :]]


def draw_mixup_ratios(count: int, maximum: float, generator: torch.Generator) -> Tensor:
    """Draws mixup ratios: (count,) float32, uniform from 0 to `maximum`, on the CPU like `generator`.

    A `maximum` of 0.5 equals mixup with alpha = 1 (Zhang et al., ICLR 2018, section 2).
    """
    return torch.rand(count, generator=generator) * maximum


def mixup(images: Tensor, labels: Tensor, ratios: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Blends each image and its label with those of the image before it.

    `images`: (images, channels, ...) float32; `labels`: (images,) int64; `ratios`: (images,) float32, the weight of the
    image before; all on one device. Returns images of the same shape and class probabilities, (images, classes)
    float32.
    """
    probabilities = functional.one_hot(labels, classes).float()
    return blend(images, ratios), probabilities.lerp(probabilities.roll(1, 0), ratios[:, None])


def blend(images: Tensor, ratios: Tensor) -> Tensor:
    """Blends each image with the image before it, as `mixup` does."""
    return images.lerp(images.roll(1, 0), ratios.view(-1, *[1] * (images.dim() - 1)))
