"""Dense: the layer as it is, zeros included, cut into tiles; what an ordinary array does."""

from __future__ import annotations

from tightc.permutation.problem import Task
from tightc.tile.dense import dense_packing
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing


def pack(matrix: LayerMatrix, task: Task) -> Packing:
    """`dense_passes` tiles of fan-in 1, groups side by side where they fit. docs/architecture.md."""
    return dense_packing(matrix.filters, matrix.inputs, matrix.groups, task.array)
