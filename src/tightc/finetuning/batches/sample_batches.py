"""Batches of samples with an array for each input, in a seeded order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tightc.data.samples import Samples
from tightc.finetuning.batches.batches import shuffled_batches
from tightc.finetuning.process.process_group import ProcessGroup

_SINGLE_PROCESS = ProcessGroup()


class SampleBatches:
    """All rows of `samples`, in batches like those of images: see Batches. 16-bit floats are served as float32.

    `labels`: class numbers, (rows,) int64, None for a training without labels.
    """

    def __init__(
        self, samples: Samples, labels: NDArray[np.int64] | None, batch_size: int, device: torch.device
    ) -> None:
        self._arrays = [torch.from_numpy(array) for array in samples.inputs.values()]
        self._labels = None if labels is None else torch.from_numpy(labels)
        self._count = samples.rows
        self._batch_size = min(batch_size, self._count)
        self._device = device

    def __len__(self) -> int:
        """Batches per epoch."""
        return self._count // self._batch_size

    @property
    def batch_size(self) -> int:
        """Rows per batch."""
        return self._batch_size

    def shuffled(self, generator: torch.Generator) -> Tensor:
        """The row numbers of each batch of an epoch: (batches, rows) int64."""
        return shuffled_batches(self._count, self._batch_size, generator)

    def batch(
        self, indices: Tensor, _generator: torch.Generator, group: ProcessGroup = _SINGLE_PROCESS
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """The inputs and labels of the rows `indices`; each process of `group` gets its shard."""
        return self._rows(group.shard(indices))

    def unaugmented(self) -> Iterator[tuple[tuple[Tensor, ...], Tensor | None]]:
        """All rows in their original order."""
        for begin in range(0, self._count, self._batch_size):
            yield self._rows(torch.arange(begin, min(begin + self._batch_size, self._count)))

    def sample_batches(self, count: int, seed: int) -> list[tuple[Tensor, ...]]:
        """Batches of at least `count` rows in all, in the order of `seed`."""
        generator = torch.Generator().manual_seed(seed)
        chosen = islice(self.shuffled(generator), -(-count // self._batch_size))
        return [self._rows(indices)[0] for indices in chosen]

    def first(self, count: int) -> tuple[Tensor, ...]:
        """The inputs of the first `count` rows."""
        return self._rows(torch.arange(count))[0]

    def _rows(self, indices: Tensor) -> tuple[tuple[Tensor, ...], Tensor | None]:
        found = (array[indices] for array in self._arrays)
        inputs = tuple(
            (tensor.float() if tensor.is_floating_point() else tensor).to(self._device) for tensor in found
        )
        return inputs, None if self._labels is None else self._labels[indices].to(self._device)
