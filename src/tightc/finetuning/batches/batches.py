"""Batches of normalized training images, in a seeded order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tightc.data.file_pixels import FilePixels
from tightc.data.images import Images, Normalization
from tightc.finetuning.batches.augment import Crop, cut_crops, draw_crops
from tightc.finetuning.process.process_group import ProcessGroup

_SINGLE_PROCESS = ProcessGroup()


class _StoredImages:
    """All images with a `margin` of zeros, (rows, columns), on each side; on the device if they fit, else the CPU."""

    def __init__(self, images: Images, margin: tuple[int, int], device: torch.device) -> None:
        pixels = _padded(torch.from_numpy(np.asarray(images.pixels)), margin)
        self.device = _storage_device(pixels, device)
        self._pixels = pixels.to(self.device)

    def at(self, index: Tensor) -> Tensor:
        """The images `index`, (images, padded height, padded width, channels), on `device`."""
        return self._pixels[index.to(self.device)]

    def cut(self, index: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """The images `index`, of each its own `rows` and `columns`, as cut_crops takes them."""
        rows, columns = rows.to(self.device), columns.to(self.device)
        return cut_crops(self._pixels, index.to(self.device), rows, columns)


class _DecodedImages:
    """As _StoredImages, of images that are decoded from their files for each batch."""

    device = torch.device("cpu")

    def __init__(self, pixels: FilePixels, margin: tuple[int, int]) -> None:
        self._pixels, self._margin = pixels, margin

    def at(self, index: Tensor) -> Tensor:
        """The images `index`, (images, padded height, padded width, channels), on `device`."""
        return _padded(torch.from_numpy(self._pixels[index.numpy()]), self._margin)

    def cut(self, index: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """The images `index`, of each its own `rows` and `columns`, as cut_crops takes them."""
        return cut_crops(self.at(index), torch.arange(len(index)), rows, columns)


def _padded(pixels: Tensor, margin: tuple[int, int]) -> Tensor:
    """Channels last: a batch is gathered as whole pixels, in the memory format that convolutions prefer."""
    down, right = margin
    return functional.pad(pixels, (right, right, down, down)).permute(0, 2, 3, 1).contiguous()


class Batches:
    """All images, served in a new order each epoch.

    All randomness (order, shifts, mirroring) comes from one generator on the CPU, so it depends on the seed alone. The
    last batch of an epoch is dropped unless it is full or the only one.
    """

    def __init__(
        self,
        images: Images,
        normalization: Normalization,
        batch_size: int,
        augment: bool,
        device: torch.device,
    ) -> None:
        height, width = images.pixels.shape[2:]
        down, right = (height // 8, width // 8) if augment else (0, 0)
        self._crop = Crop(height, width, down, right)
        self._images: _StoredImages | _DecodedImages
        if isinstance(images.pixels, FilePixels):
            self._images = _DecodedImages(images.pixels, (down, right))
        else:
            self._images = _StoredImages(images, (down, right), device)
        self._device, self._storage = device, self._images.device
        self._count = len(images)
        self._labels = None if images.labels is None else torch.from_numpy(images.labels).to(self._storage)
        self._augment = augment
        self._batch_size = min(batch_size, len(images))
        scale = 1 / 255 if images.pixels.dtype == np.uint8 else 1.0
        std = torch.tensor(normalization.std, dtype=torch.float32, device=device)
        self._factor = scale / std
        self._offset = -torch.tensor(normalization.mean, dtype=torch.float32, device=device) / std

    def __len__(self) -> int:
        """Batches per epoch."""
        return self._count // self._batch_size

    @property
    def batch_size(self) -> int:
        """Images per batch."""
        return self._batch_size

    def shuffled(self, generator: torch.Generator) -> Tensor:
        """The image indices of each batch of an epoch: (batches, images) int64, on the CPU."""
        return shuffled_batches(self._count, self._batch_size, generator)

    def batch(
        self, indices: Tensor, generator: torch.Generator, group: ProcessGroup = _SINGLE_PROCESS
    ) -> tuple[tuple[Tensor], Tensor | None]:
        """The images `indices`, (images, channels, height, width) float32, and their labels, (images,) int64, if any.

        Each process of `group` gets its shard of the batch; the generator advances equally in all.
        """
        crops = draw_crops(len(indices), self._crop, generator) if self._augment else None
        own = group.shard(indices)
        index = own.to(self._storage)
        if crops is None:
            pixels = self._images.at(own)
        else:
            rows, columns = (group.shard(drawn) for drawn in crops)
            pixels = self._images.cut(own, rows, columns)
        normalized = pixels.to(self._device).float().mul_(self._factor).add_(self._offset)
        labels = None if self._labels is None else self._labels[index].to(self._device)
        return (normalized.permute(0, 3, 1, 2),), labels

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[tuple[Tensor], Tensor | None]]:
        """All batches of an epoch."""
        for indices in self.shuffled(generator):
            yield self.batch(indices, generator)

    def unaugmented(self) -> Iterator[tuple[tuple[Tensor], Tensor | None]]:
        """All images, only normalized, in their original order, and their labels."""
        for begin in range(0, self._count, self._batch_size):
            end = min(begin + self._batch_size, self._count)
            labels = None if self._labels is None else self._labels[begin:end].to(self._device)
            yield self._normalized(slice(begin, end)), labels

    def sample_batches(self, count: int, seed: int) -> list[tuple[Tensor]]:
        """Batches of at least `count` images in all, drawn as in training, in the order of `seed`."""
        epoch = self.epoch(torch.Generator().manual_seed(seed))
        return [images for images, _ in islice(epoch, -(-count // self._batch_size))]

    def first(self, count: int) -> tuple[Tensor]:
        """The first `count` images, only normalized: a batch to try a network on."""
        return self._normalized(slice(0, count))

    def _normalized(self, which: slice) -> tuple[Tensor]:
        top, left = self._crop.row_shift, self._crop.column_shift
        pixels = self._images.at(torch.arange(self._count)[which])
        pixels = pixels[:, top : top + self._crop.height, left : left + self._crop.width]
        return (pixels.to(self._device).float().mul_(self._factor).add_(self._offset).permute(0, 3, 1, 2),)


def shuffled_batches(count: int, batch_size: int, generator: torch.Generator) -> Tensor:
    """The indices of each full batch of an epoch over `count` images: (batches, batch_size) int64, on the CPU."""
    batches = count // batch_size
    return torch.randperm(count, generator=generator)[: batches * batch_size].view(batches, -1)


def _storage_device(pixels: Tensor, device: torch.device) -> torch.device:
    """The device itself where all images fit in half of its free memory, else the CPU."""
    if device.type != "cuda" or 2 * pixels.nbytes < torch.cuda.mem_get_info(device)[0]:
        return device
    return torch.device("cpu")
