"""Runs of many samples through a network whose export fixes its batch: as several batches of that size, side by side.

Such exports hold the batch as a number, in the constants of Reshape, Expand, Concat and others. Each operator is mapped
over the batches by torch.vmap, which costs about as much as one large batch. An operator whose result depends on all
samples of a training step, such as BatchNormalization, gets all of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tightc.bridge.operator import Operator

ONLY_SIZES = frozenset({"Shape", "Size"})
"""Operators that read the sizes of their input, which are the same in all batches."""


def split(inputs: Sequence[Tensor], size: int) -> list[Tensor]:
    """`inputs`, samples first, as (batches, `size`, ...); the last sample is repeated to fill the last batch."""
    padded = (_padded(tensor, -len(tensor) % size) for tensor in inputs)
    return [tensor.reshape(-1, size, *tensor.shape[1:]) for tensor in padded]


def join(output: Tensor, samples: int, size: int) -> Tensor:
    """An output of all batches, (batches, rows, ...), as (rows, ...), without the rows of padding."""
    rows = output.flatten(0, 1) if output.dim() > 1 else output
    whole = -(-samples // size) * size
    return rows[: len(rows) * samples // whole]


def map_batches(operator: Operator, arguments: Sequence[Any], stacked: Sequence[bool]) -> Any:
    """What `operator` returns for each batch, with an axis of batches; `stacked`: the arguments that have this axis."""
    axes = tuple(0 if is_stacked else None for is_stacked in stacked)
    return torch.vmap(operator, in_dims=axes, randomness="different")(*arguments)


def run_on_all(operator: Operator, arguments: Sequence[Any], stacked: Sequence[bool]) -> tuple[Tensor, ...]:
    """As map_batches, but `operator` gets the samples of all batches at once."""
    pairs = list(zip(arguments, stacked, strict=True))
    batches = next(len(value) for value, is_stacked in pairs if is_stacked)
    found = operator(*(value.flatten(0, 1) if is_stacked else value for value, is_stacked in pairs))
    results = (found,) if isinstance(found, Tensor) else found
    # statistics, which are not of samples, are the same for all batches
    return tuple(
        value.reshape(batches, -1, *value.shape[1:])
        if value.shape == results[0].shape
        else value.expand(batches, *value.shape)
        for value in results
    )


def _padded(tensor: Tensor, rows: int) -> Tensor:
    return torch.cat([tensor, tensor[-1:].expand(rows, *tensor.shape[1:])]) if rows else tensor
