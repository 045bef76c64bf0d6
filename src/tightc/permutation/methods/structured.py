"""Structured: dense after removing empty filters and empty inputs; what an ordinary array gains from pruning."""

from __future__ import annotations

import numpy as np

from tightc.permutation.methods.dense import full_tiles
from tightc.permutation.task import Task
from tightc.tiles.matrix import LayerMatrix
from tightc.tiles.packing import Packing


def pack(matrix: LayerMatrix, task: Task) -> Packing:
    """Tiles of fan-in 1 over the filters and inputs of each group that hold a non-zero. docs/architecture.md."""
    size = matrix.filters_per_group
    tiles = []
    for group in range(matrix.groups):
        used = matrix.values[group * size : (group + 1) * size] != 0
        filters = np.flatnonzero(used.any(axis=1)).astype(np.int32) + group * size
        inputs = np.flatnonzero(used.any(axis=0)).astype(np.int32) + group * matrix.inputs
        tiles += full_tiles(filters, inputs, task.array)
    return Packing("structured", task.array, 1, matrix.filters, matrix.inputs, matrix.groups, tuple(tiles))
