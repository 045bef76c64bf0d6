"""Random views of images: shifted and mirrored."""

from __future__ import annotations

import torch
from torch import Tensor


def random_views(
    pixels: Tensor, index: Tensor, size: tuple[int, int], margin: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """Cuts a window of `size` at a random place out of each image in `index`, and mirrors about half of them.

    `pixels`: (images, height + 2 margin, width + 2 margin, channels), padded already; `index`: (batch,)
    int64; `generator` lives on the CPU. Gives (batch, height, width, channels) in the dtype of `pixels`.
    """
    count, (height, width), (down, right) = len(index), size, margin
    top = torch.randint(0, 2 * down + 1, (count, 1), generator=generator)
    left = torch.randint(0, 2 * right + 1, (count, 1), generator=generator)
    mirrored = torch.randint(0, 2, (count, 1), generator=generator).bool()
    rows = top + torch.arange(height)
    columns = torch.arange(width).expand(count, width)
    columns = left + torch.where(mirrored, columns.flip(1), columns)
    rows, columns = rows.to(pixels.device), columns.to(pixels.device)
    return pixels[index[:, None, None], rows[:, :, None], columns[:, None, :]]
