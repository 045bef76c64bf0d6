"""Training images on the device, cut into normalized batches in a seeded order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional

from tightc.data.images import Images, Normalization
from tightc.finetuning.batches.augment import cut_views, draw_views
from tightc.finetuning.process.process_group import ProcessGroup

_ALONE = ProcessGroup()


class Batches:
    """The images, on the device once in their own type where they fit, given out in a new order each epoch.

    All randomness (order, shifts, mirroring) comes from one generator on the CPU, so that it depends on the
    seed alone. The last batch of an epoch is left out where it is not full, unless it is the only one.
    """

    def __init__(
        self,
        images: Images,
        normalization: Normalization,
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
        pixels = pixels.permute(0, 2, 3, 1).contiguous()
        self._device, self._home = device, _home(pixels, device)
        self._pixels = pixels.to(self._home)
        self._labels = torch.from_numpy(images.labels).to(self._home)
        self._augment = augment
        self._batch_size = min(batch_size, len(images))
        scale = 1 / 255 if pixels.dtype == torch.uint8 else 1.0
        std = torch.tensor(normalization.std, dtype=torch.float32, device=device)
        self._factor = scale / std
        self._offset = -torch.tensor(normalization.mean, dtype=torch.float32, device=device) / std

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._labels) // self._batch_size

    @property
    def batch_size(self) -> int:
        """Images a batch."""
        return self._batch_size

    def order(self, generator: torch.Generator) -> Tensor:
        """Which images come in which batch of an epoch: (batches, images) int64, on the CPU."""
        order = torch.randperm(len(self._labels), generator=generator)
        return order[: len(self) * self._batch_size].view(len(self), -1)

    def batch(
        self, chosen: Tensor, generator: torch.Generator, team: ProcessGroup = _ALONE
    ) -> tuple[Tensor, Tensor]:
        """The `chosen` images, (images, channels, height, width) float32, and their labels, (images,) int64.

        Of a team each member gets its share; the generator moves on as far for all.
        """
        views = self._draw(len(chosen), generator) if self._augment else None
        mine = slice(team.rank, None, team.size)
        index = chosen[mine].to(self._home)
        if views is None:
            pixels = self._pixels[index]
        else:
            pixels = cut_views(self._pixels, index, *(view[mine].to(self._home) for view in views))
        normalized = pixels.to(self._device).float().mul_(self._factor).add_(self._offset)
        return normalized.permute(0, 3, 1, 2), self._labels[index].to(self._device)

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """All batches of an epoch."""
        for chosen in self.order(generator):
            yield self.batch(chosen, generator)

    def plain(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in their own order, unchanged but for the normalization, and their labels."""
        for begin in range(0, len(self._labels), self._batch_size):
            end = min(begin + self._batch_size, len(self._labels))
            yield self._unchanged(slice(begin, end)), self._labels[begin:end].to(self._device)

    def drawn(self, count: int, seed: int) -> list[Tensor]:
        """Batches of about `count` images, drawn as in training."""
        epoch = self.epoch(torch.Generator().manual_seed(seed))
        return [images for images, _ in islice(epoch, -(-count // self._batch_size))]

    def sample(self, count: int) -> Tensor:
        """The first `count` images, unchanged but for the normalization: a batch to try a network on."""
        return self._unchanged(slice(0, count))

    def _unchanged(self, which: slice) -> Tensor:
        down, right = self._margin
        pixels = self._pixels[which, down : down + self._height, right : right + self._width].to(self._device)
        return pixels.float().mul_(self._factor).add_(self._offset).permute(0, 3, 1, 2)

    def _draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return draw_views(count, (self._height, self._width), self._margin, generator)


def _home(pixels: Tensor, device: torch.device) -> torch.device:
    """The device itself where all images fit in half of its free memory, else the CPU."""
    if device.type != "cuda" or 2 * pixels.nbytes < torch.cuda.mem_get_info(device)[0]:
        return device
    return torch.device("cpu")
