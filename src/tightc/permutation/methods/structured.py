"""Structured: dense without empty filters and inputs; what an ordinary array gains from pruning."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tightc.permutation.problem import PackingProblem
from tightc.tile.array import ArrayShape
from tightc.tile.dense import Block, BlockSize, full_passes, full_tiles
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing


def pack(matrix: LayerMatrix, problem: PackingProblem) -> Packing:
    """Tiles of fan-in 1 over the filters and inputs of each group that hold a non-zero. docs/design/search.md."""
    return Packing(
        method="structured",
        array=problem.array,
        fan_in=1,
        filters=matrix.filters,
        inputs=matrix.inputs,
        groups=matrix.groups,
        tiles=tuple(full_tiles(_used(matrix), problem.array)),
    )


def passes(matrix: LayerMatrix, array: ArrayShape) -> int:
    """Number of tiles that `pack` makes."""
    return full_passes((BlockSize(len(filters), len(inputs)) for filters, inputs in _used(matrix)), array)


def _used(matrix: LayerMatrix) -> Iterator[Block]:
    """The filters and inputs of each group that hold a non-zero."""
    size = matrix.filters_per_group
    for group in range(matrix.groups):
        used = matrix.values[group * size : (group + 1) * size] != 0
        filters = np.flatnonzero(used.any(axis=1)).astype(np.int32) + group * size
        inputs = np.flatnonzero(used.any(axis=0)).astype(np.int32) + group * matrix.inputs
        yield Block(filters, inputs)
