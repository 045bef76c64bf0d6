"""Random views of images: shifted and mirrored, and blends of two."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def draw_views(
    count: int, size: tuple[int, int], margin: tuple[int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Random windows of `size`, shifted by up to twice the `margin`, about half of them mirrored.

    Gives which rows and which columns each takes of a padded image: (count, height) and (count, width) int64, on the
    CPU as `generator`.
    """
    (height, width), (down, right) = size, margin
    top = torch.randint(0, 2 * down + 1, (count, 1), generator=generator)
    left = torch.randint(0, 2 * right + 1, (count, 1), generator=generator)
    mirrored = torch.randint(0, 2, (count, 1), generator=generator).bool()
    columns = torch.arange(width).expand(count, width)
    return top + torch.arange(height), left + torch.where(mirrored, columns.flip(1), columns)


def cut_views(pixels: Tensor, index: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Cuts `rows` and `columns`, as `draw_views` gives them, out of each image in `index`, all on one device.

    `pixels`: (images, height + 2 margin, width + 2 margin, channels), padded already; `index`: (batch,) int64. Gives
    (batch, height, width, channels) in the dtype of `pixels`.
    """
    return pixels[index[:, None, None], rows[:, :, None], columns[:, None, :]]


def draw_shares(count: int, most: float, generator: torch.Generator) -> Tensor:
    """How much of another image comes into each: (count,) float32 from 0 to `most`, on the CPU as `generator`.

    With `most` = 0.5 any two images meet in any proportion (mixup with alpha = 1: Zhang et al., ICLR 2018, section 2).
    """
    return torch.rand(count, generator=generator) * most


def blend(images: Tensor, labels: Tensor, shares: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Mixes into each image its `share` of the one before it, and their labels alike.

    `images`: (images, channels, ...) float32; `labels`: (images,) int64; `shares`: (images,) float32, all on one
    device. Gives images of the same shape and the chances of the classes, (images, classes) float32.
    """
    share = shares.view(-1, *[1] * (images.dim() - 1))
    chances = functional.one_hot(labels, classes).float()
    return images.lerp(images.roll(1, 0), share), chances.lerp(chances.roll(1, 0), shares[:, None])
