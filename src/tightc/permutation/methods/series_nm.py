"""A series of N:M terms: a layer is a sum of N:M sparse matrices of the same M, as many as hold all weights; lossless.

Our reading of the abstract of G. Jeong et al., "Abstracting Sparse DNN Acceleration via Structured Sparse Tensor
Decomposition", MLSys 2025 (arXiv 2403.07953). What is taken, and what is left out: docs/design/baselines.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

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
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing


def pack(matrix: LayerMatrix, problem: PackingProblem, *, context: SearchContext) -> Packing:
    """Each term takes the next N weights of every filter and M inputs, on tiles of its own.

    M is the fan-in. The N of the terms are those that take the fewest passes. A term leaves out the filters without a
    weight in it, and the lanes that no filter of a tile uses.
    """
    placements = partial(_placements, size=problem.fan_in, array=problem.array)
    return pack_blocks("series-nm", matrix, problem, placements, context)


def best_terms(counts: Counts, array: ArrayShape) -> list[int]:
    """The N of each term, in order, for the fewest passes; of equals the fewest terms.

    `counts`: (filters, groups of M inputs) int64, weights of each. Their N add up to the largest count. Found by
    dynamic programming over the weights of a filter and group that earlier terms hold.
    """
    most = int(counts.max(initial=0))
    costs = [_term_passes(counts, begin, array) for begin in range(most)]
    best: list[tuple[int, int]] = [(0, 0)] * (most + 1)  # (passes, terms) from so many weights on
    ends = [most] * (most + 1)
    for begin in reversed(range(most)):
        best[begin], ends[begin] = min(
            ((int(costs[begin][end - begin - 1]) + best[end][0], best[end][1] + 1), end)
            for end in range(begin + 1, most + 1)
        )
    places = [0]
    while places[-1] < most:
        places.append(ends[places[-1]])
    return [end - begin for begin, end in pairwise(places)]


def _term_passes(counts: Counts, begin: int, array: ArrayShape) -> Counts:
    """Passes of the terms of N = 1, 2, ... after terms that hold `begin` weights of each filter and group."""
    rest = counts[(counts > begin).any(axis=1)] - begin
    largest = np.maximum.reduceat(rest, np.arange(0, len(rest), array.columns), axis=0).clip(0)
    kept = np.arange(1, int(largest.max()) + 1)
    lanes = np.array([np.minimum(largest, one).sum(axis=1) for one in kept])
    passes: Counts = (-(-lanes // array.rows)).sum(axis=1)
    return passes


def _placements(used: Used, size: int, array: ArrayShape) -> Iterator[Placement]:
    """A placement for each block of filters of each term."""
    whole = GroupedInputs.of(used, size)
    begin = 0
    for kept in best_terms(whole.counts, array):
        filters_of_term = np.flatnonzero((whole.counts > begin).any(axis=1))
        for filters in blocks_of(filters_of_term, array.columns):
            own = GroupedInputs.of(used[filters], size)
            here = (own.rank >= begin) & (own.rank < begin + kept)
            lane = own.group * kept + own.rank - begin
            yield Placement(filters, own.column[here], lane[here], own.inputs[here])
        begin += kept
