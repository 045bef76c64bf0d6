"""Filter blocks: a layer as blocks of filters, each on lanes of its own; what the lossless baselines share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tightc.permutation.problem import PackingProblem
from tightc.permutation.search_context import SearchContext
from tightc.tile.dense import merged
from tightc.tile.matrix import Ids, LayerMatrix
from tightc.tile.packing import EMPTY, Packing, Tile, cut_into_tiles

Counts = NDArray[np.int64]
Used = NDArray[np.bool_]


@dataclass(frozen=True)
class Placement:
    """The lane of each weight of some filters.

    `filters`: (columns,) int64, the filter of each column. The rest has one entry for each weight, (weights,) int64:
    its `column`, its `lane` and its `inputs`, numbered within the group of the layer.
    """

    filters: Counts
    column: Counts
    lane: Counts
    inputs: Counts


@dataclass(frozen=True)
class GroupedInputs:
    """The weights of some filters by groups of adjacent inputs.

    `column`, `inputs`, `group` and `rank`: (weights,) int64, sorted by column, then input; the rank of a weight is its
    place among those of its column and group. `counts`: (filters, groups) int64, the weights of each.
    """

    column: Counts
    inputs: Counts
    group: Counts
    rank: Counts
    counts: Counts

    @classmethod
    def of(cls, used: Used, size: int) -> GroupedInputs:
        """Those of `used`, (filters, inputs) bool, in groups of `size` inputs; the last may be smaller."""
        filters, inputs = used.shape
        groups = -(-inputs // size)
        column, own = np.nonzero(used)
        group = own // size
        place = column * groups + group
        counts = np.bincount(place, minlength=filters * groups)
        rank = np.arange(len(own)) - (np.cumsum(counts) - counts)[place]
        return cls(column, own, group, rank, counts.reshape(filters, groups))


def pack_blocks(
    method: str,
    matrix: LayerMatrix,
    problem: PackingProblem,
    placements: Callable[[Used], Iterable[Placement]],
    context: SearchContext,
) -> Packing:
    """The packing of `placements`, which takes the weights of each group of the layer, (filters, inputs) bool.

    Each placement is cut into tiles of its own, lanes without a weight left out; groups share tiles where they fit.
    CancelledError after an interrupt.
    """
    size = matrix.filters_per_group
    tiles: list[Tile] = []
    for group in range(matrix.groups):
        used = matrix.values[group * size : (group + 1) * size] != 0
        for placed in placements(used):
            if context.interrupted:
                raise CancelledError
            filters = (placed.filters + group * size).astype(np.int32)
            tiles += cut_into_tiles(filters, _slots(placed, group * matrix.inputs), problem.array)
        context.report(0.99 * (group + 1) / matrix.groups, {})
    if matrix.groups > 1:
        tiles = list(merged(tiles, problem.array))
    return Packing(
        method=method,
        array=problem.array,
        fan_in=problem.fan_in,
        filters=matrix.filters,
        inputs=matrix.inputs,
        groups=matrix.groups,
        tiles=tuple(tiles),
    )


def blocks_of(filters: Counts, columns: int) -> Iterator[Counts]:
    """`filters`, (filters,) int64, in blocks of up to `columns`."""
    for first in range(0, len(filters), columns):
        yield filters[first : first + columns]


def _slots(placed: Placement, first_input: int) -> Ids:
    """The input that each lane multiplies for each column: (lanes with a weight, columns) int32, EMPTY for none."""
    _, lane = np.unique(placed.lane, return_inverse=True)
    slots = np.full((lane.max(initial=-1) + 1, len(placed.filters)), EMPTY, np.int32)
    slots[lane, placed.column] = placed.inputs + first_input
    return slots
