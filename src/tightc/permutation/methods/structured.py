"""Structured: dense after removing empty filters and empty inputs; what an ordinary array gains from pruning."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tightc.permutation.methods.dense import full_tiles
from tightc.permutation.task import Task
from tightc.tiles.array import ArrayShape
from tightc.tiles.bounds import folds
from tightc.tiles.matrix import Ids, LayerMatrix
from tightc.tiles.packing import Packing


def pack(matrix: LayerMatrix, task: Task) -> Packing:
    """Tiles of fan-in 1 over the filters and inputs of each group that hold a non-zero. docs/architecture.md."""
    tiles = [tile for filters, inputs in _used(matrix) for tile in full_tiles(filters, inputs, task.array)]
    return Packing("structured", task.array, 1, matrix.filters, matrix.inputs, matrix.groups, tuple(tiles))


def passes(matrix: LayerMatrix, array: ArrayShape) -> int:
    """How many tiles `pack` makes."""
    return sum(
        folds(len(inputs), array.rows) * folds(len(filters), array.columns)
        for filters, inputs in _used(matrix)
    )


def _used(matrix: LayerMatrix) -> Iterator[tuple[Ids, Ids]]:
    """(filters, inputs) of each group that hold a non-zero."""
    size = matrix.filters_per_group
    for group in range(matrix.groups):
        used = matrix.values[group * size : (group + 1) * size] != 0
        filters = np.flatnonzero(used.any(axis=1)).astype(np.int32) + group * size
        inputs = np.flatnonzero(used.any(axis=0)).astype(np.int32) + group * matrix.inputs
        yield filters, inputs
