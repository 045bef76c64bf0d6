"""Dense: the layer as it is, zeros included, cut into tiles; the way of an ordinary array."""

from __future__ import annotations

from tightc.permutation.problem import PackingProblem
from tightc.tile.dense import dense_packing
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing


def pack(matrix: LayerMatrix, problem: PackingProblem) -> Packing:
    """`dense_passes` tiles of fan-in 1; groups share a pass if they fit. docs/design/search.md."""
    return dense_packing(matrix.filters, matrix.inputs, matrix.groups, problem.array)
