"""Random views of images: shifted and mirrored."""

from __future__ import annotations

import torch
from torch import Tensor


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
