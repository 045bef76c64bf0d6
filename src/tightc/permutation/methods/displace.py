"""Displacement by one step: a weight is on a lane of its own group of inputs or of the next one; lossless.

Our reading of the abstract of A. Gondimalla, M. Thottethodi, T. N. Vijaykumar, "Eureka: Efficient Tensor Cores for
One-sided Unstructured Sparsity in DNN Inference", MICRO 2023, where the work of a weight may move to a vacant
multiplier in the row below. What is taken, and what is left out: docs/design/baselines.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.permutation.methods.filter_blocks import (
    GroupedInputs,
    Placement,
    Used,
    blocks_of,
    pack_blocks,
)
from tightc.permutation.problem import PackingProblem
from tightc.permutation.search_context import SearchContext
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing


def pack(matrix: LayerMatrix, problem: PackingProblem, *, context: SearchContext) -> Packing:
    """Blocks of filters that need similar numbers of lanes for a group, each on the fewest lanes that hold its weights.

    A lane carries half the fan-in of inputs of its own group and as many of the group before; the inputs of a fan-in of
    1 are their own groups, and no weight moves.
    """
    placements = partial(_placements, fan_in=problem.fan_in, columns=problem.array.columns)
    return pack_blocks("displace", matrix, problem, placements, context)


def _placements(used: Used, fan_in: int, columns: int) -> Iterator[Placement]:
    """A placement for each block of filters, those that need most lanes for a group first."""
    size, moves = max(1, fan_in // 2), fan_in > 1
    steps = _lanes_alone(GroupedInputs.of(used, size).counts, moves)
    order = np.argsort(-steps, kind="stable")[: np.count_nonzero(steps)]
    for filters in blocks_of(order, columns):
        own = GroupedInputs.of(used[filters], size)
        lanes, moved = _fewest_lanes(own.counts, moves)
        stays = own.counts - moved
        # the lanes of a group hold weights of the group before it first, then its own
        before = np.pad(moved, ((0, 0), (1, 0)))[own.column, own.group]
        goes = own.rank >= stays[own.column, own.group]
        first = np.cumsum(lanes) - lanes
        lane = np.where(
            goes,
            first[np.minimum(own.group + 1, len(first) - 1)] + own.rank - stays[own.column, own.group],
            first[own.group] + before + own.rank,
        )
        yield Placement(filters, own.column, lane, own.inputs)


@njit(nogil=True, cache=True)
def _fewest_lanes(counts: NDArray[np.int64], moves: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(lanes of each group, (groups,) int64; weights of each filter and group on the next group's lanes, as `counts`).

    `counts`: (filters, groups) int64. The sum of the lanes is the smallest: any filters' weights of adjacent groups
    need lanes there or in the group after, and a lane is added as late as one of these sums allows. The last group has
    none after it. Without `moves`, all weights stay.
    """
    filters, groups = counts.shape
    lanes = np.zeros(groups, np.int64)
    moved = np.zeros((filters, groups), np.int64)
    for group in range(groups):
        for filter_ in range(filters):
            needed = moved[filter_, group - 1] if group > 0 else 0
            if not moves or group == groups - 1:
                needed += counts[filter_, group]
            lanes[group] = max(lanes[group], needed)
        for filter_ in range(filters):
            before = moved[filter_, group - 1] if group > 0 else 0
            moved[filter_, group] = max(0, before + counts[filter_, group] - lanes[group])
    return lanes, moved


@njit(nogil=True, cache=True)
def _lanes_alone(counts: NDArray[np.int64], moves: bool) -> NDArray[np.int64]:
    """The fewest lanes of each filter, the same number for every group: (filters,) int64. `counts` as above."""
    filters, groups = counts.shape
    found = np.zeros(filters, np.int64)
    for filter_ in range(filters):
        lanes = 0
        while True:
            waiting, fits = 0, True
            for group in range(groups):
                most = lanes if not moves or group == groups - 1 else lanes + counts[filter_, group]
                waiting += counts[filter_, group]
                if waiting > most:
                    fits = False
                    break
                waiting = max(0, waiting - lanes)
            if fits:
                break
            lanes += 1
        found[filter_] = lanes
    return found
