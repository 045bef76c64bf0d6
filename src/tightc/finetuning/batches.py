"""Training images on the device, cut into normalised batches in a seeded order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional

from tightc.data.images import Images, Normalisation
from tightc.finetuning.augment import random_views


class Batches:
    """The images, on the device once in their own type, given out in a new order each epoch.

    All randomness (order, shifts, mirroring) comes from one generator on the CPU, so that it depends on the
    seed alone. The last batch of an epoch is left out where it is not full, unless it is the only one.
    """

    def __init__(
        self,
        images: Images,
        normalisation: Normalisation,
        batch_size: int,
        augment: bool,
        device: torch.device,
    ) -> None:
        pixels = torch.from_numpy(images.pixels)
        self._height, self._width = pixels.shape[2:]
        self._margin = (self._height // 8, self._width // 8) if augment else (0, 0)
        down, right = self._margin
        pixels = functional.pad(pixels, (right, right, down, down))
        # Channels last: a batch is gathered as whole pixels, and is in the order that convolutions like best.
        self._pixels = pixels.permute(0, 2, 3, 1).contiguous().to(device)
        self._labels = torch.from_numpy(images.labels).to(device)
        self._augment = augment
        self._batch_size = min(batch_size, len(images))
        scale = 1 / 255 if pixels.dtype == torch.uint8 else 1.0
        std = torch.tensor(normalisation.std, dtype=torch.float32, device=device)
        self._factor = scale / std
        self._offset = -torch.tensor(normalisation.mean, dtype=torch.float32, device=device) / std

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._labels) // self._batch_size

    @property
    def batch_size(self) -> int:
        """Images a batch."""
        return self._batch_size

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of images, (images, channels, height, width) float32, and labels, (images,) int64."""
        order = torch.randperm(len(self._labels), generator=generator)
        order = order[: len(self) * self._batch_size].view(len(self), -1)
        for chosen in order:
            index = chosen.to(self._pixels.device)
            pixels = self._views(index, generator) if self._augment else self._pixels[index]
            normalised = pixels.float().mul_(self._factor).add_(self._offset)
            yield normalised.permute(0, 3, 1, 2), self._labels[index]

    def drawn(self, count: int, seed: int) -> list[Tensor]:
        """Batches of about `count` images, drawn as in training."""
        epoch = self.epoch(torch.Generator().manual_seed(seed))
        return [images for images, _ in islice(epoch, -(-count // self._batch_size))]

    def sample(self, count: int) -> Tensor:
        """The first `count` images, unchanged but for the normalisation: a batch to try a network on."""
        down, right = self._margin
        pixels = self._pixels[:count, down : down + self._height, right : right + self._width]
        return pixels.float().mul_(self._factor).add_(self._offset).permute(0, 3, 1, 2)

    def _views(self, index: Tensor, generator: torch.Generator) -> Tensor:
        return random_views(self._pixels, index, (self._height, self._width), self._margin, generator)
