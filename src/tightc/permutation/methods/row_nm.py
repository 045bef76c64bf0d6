"""Row-wise N:M: each filter has the smallest N with which N of every M inputs hold all its weights; lossless.

Our reading of the abstract of G. Jeong et al., "VEGETA: Vertically-Integrated Extensions for Sparse/Dense GEMM Tile
Acceleration on CPUs", HPCA 2023 (arXiv 2302.08687). A row there is a filter here. What is taken, and what is left out:
docs/design/baselines.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from tightc.permutation.methods.filter_blocks import (
    Counts,
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
    """Filters in order of their N share tiles; the j-th weight of a filter and M inputs is on their j-th lane.

    M is the fan-in. The lanes of a tile are those of its largest N, less the ones that no filter of it uses.
    """
    placements = partial(_placements, size=problem.fan_in, columns=problem.array.columns)
    return pack_blocks("row-nm", matrix, problem, placements, context)


def fewest_kept(counts: Counts) -> Counts:
    """The N of each filter, (filters,) int64, for its `counts` of weights, (filters, groups of M inputs) int64."""
    kept: Counts = counts.max(axis=1, initial=0)
    return kept


def _placements(used: Used, size: int, columns: int) -> Iterator[Placement]:
    """A placement for each block of filters, the largest N first; filters without a weight are left out."""
    kept = fewest_kept(GroupedInputs.of(used, size).counts)
    order = np.argsort(-kept, kind="stable")[: np.count_nonzero(kept)]
    for filters in blocks_of(order, columns):
        own = GroupedInputs.of(used[filters], size)
        yield Placement(filters, own.column, own.group * kept[filters[0]] + own.rank, own.inputs)
