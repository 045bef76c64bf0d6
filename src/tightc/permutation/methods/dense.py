"""Dense: the layer as it is, zeros included, cut into tiles; what an ordinary array does."""

from __future__ import annotations

import numpy as np

from tightc.permutation.task import Task
from tightc.tiles.array import ArrayShape
from tightc.tiles.matrix import Ids, LayerMatrix
from tightc.tiles.packing import Packing, Tile


def pack(matrix: LayerMatrix, task: Task) -> Packing:
    """ceil(K / rows) * ceil(N / columns) tiles for each group, fan-in 1, no empty slot. docs/architecture.md."""
    size = matrix.filters_per_group
    tiles = []
    for group in range(matrix.groups):
        filters = np.arange(group * size, (group + 1) * size, dtype=np.int32)
        inputs = np.arange(group * matrix.inputs, (group + 1) * matrix.inputs, dtype=np.int32)
        tiles += full_tiles(filters, inputs, task.array)
    return Packing("dense", task.array, 1, matrix.filters, matrix.inputs, matrix.groups, tuple(tiles))


def full_tiles(filters: Ids, inputs: Ids, array: ArrayShape) -> list[Tile]:
    """Tiles that hold every one of `filters` at every one of `inputs`: two int32 lists of numbers."""
    return [
        _full_tile(filters[column : column + array.columns], inputs[row : row + array.rows])
        for row in range(0, len(inputs), array.rows)
        for column in range(0, len(filters), array.columns)
    ]


def _full_tile(filters: Ids, inputs: Ids) -> Tile:
    starts = np.arange(len(inputs) + 1, dtype=np.int32)
    return Tile(filters, starts, inputs, np.zeros((len(inputs), len(filters)), np.int16))
