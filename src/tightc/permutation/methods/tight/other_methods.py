"""Other methods: what they make of the same weights without a loss; the search returns one if it is better."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError
from dataclasses import replace

import numpy as np

from tightc.permutation.methods import column_combine, dense, structured
from tightc.permutation.problem import LossySettings, PackingProblem
from tightc.permutation.search_context import SearchContext
from tightc.tile.bounds import dense_passes, folds
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import EMPTY, Packing, Tile, tile_of_slots


def packings_of_other_methods(
    matrix: LayerMatrix, problem: PackingProblem, context: SearchContext, most_passes: float
) -> Iterator[Packing]:
    """Structured, dense and column-combined packings of `matrix` in up to `most_passes` passes.

    Column combining drops nothing, with lanes as full as `problem` permits and with its own alpha. A dense packing
    and a structured one keep their method and their zeros, since an ordinary array runs blocks without an index.
    """
    if matrix.subword_bits is not None:
        return  # an ordinary array has no place for subwords, and column combining takes whole weights
    yield from ordinary_packings(matrix, problem, most_passes)
    for alpha in sorted({min(problem.lossy.alpha, problem.fan_in), problem.fan_in}):
        if _combined_passes(matrix, problem, alpha) <= most_passes:
            try:
                combined = column_combine.pack(
                    matrix,
                    replace(problem, lossy=LossySettings(alpha)),
                    context=SearchContext(time=context.time),
                )
            except CancelledError:
                return
            yield replace(combined, method="tight")


def ordinary_packings(matrix: LayerMatrix, problem: PackingProblem, most_passes: float) -> Iterator[Packing]:
    """The packings of fan-in 1 among these: structured, with zeros and without, and dense."""
    if _emptied_passes(matrix, problem) <= most_passes:
        packed = structured.pack(matrix, problem)
        yield replace(packed, method="tight", tiles=tuple(_emptied(packed, matrix)))
        if len(packed.tiles) <= most_passes:
            yield packed
    if dense_passes(matrix.filters, matrix.inputs, matrix.groups, problem.array) <= most_passes:
        yield dense.pack(matrix, problem)


def _emptied_passes(matrix: LayerMatrix, problem: PackingProblem) -> int:
    """The tiles of the structured packing that hold a weight; 0 for layers with groups, which may share passes."""
    if matrix.groups > 1:
        return 0
    used, (rows, columns) = matrix.values != 0, problem.array
    used = used[np.ix_(used.any(axis=1), used.any(axis=0))]
    by_filters = np.logical_or.reduceat(used, np.arange(0, used.shape[0], columns), axis=0)
    return int(np.logical_or.reduceat(by_filters, np.arange(0, used.shape[1], rows), axis=1).sum())


def _combined_passes(matrix: LayerMatrix, problem: PackingProblem, alpha: int) -> int:
    """A lower bound on the passes of column combining.

    An input is on one lane only, and a lane holds one weight of a filter. So the filters of a tile need a lane
    for every `alpha` inputs that they read, and a lane for every weight of one filter. Groups may share a pass, each on
    lanes of its own.
    """
    rows, columns = problem.array
    size, passes, lanes_of_all = matrix.filters_per_group, 0, 0
    for group in range(matrix.groups):
        used = matrix.values[group * size : (group + 1) * size] != 0
        used = used[used.any(axis=1)]
        for first in range(0, len(used), columns):
            block = used[first : first + columns]
            lanes = max(folds(int(block.any(axis=0).sum()), alpha), int(block.sum(axis=1).max()))
            passes += folds(lanes, rows)
            lanes_of_all += lanes
    return passes if matrix.groups == 1 else folds(lanes_of_all, rows)


def _emptied(packing: Packing, matrix: LayerMatrix) -> Iterator[Tile]:
    """The tiles of a packing of fan-in 1 with empty slots where the weight is zero, less what is unused then."""
    for tile in packing.tiles:
        lane, column = np.nonzero(tile.select != EMPTY)
        used = matrix.weights(tile.filters[column], tile.inputs[lane]) != 0
        if used.any():
            slots = np.full(tile.select.shape, EMPTY, np.int32)
            slots[lane[used], column[used]] = tile.inputs[lane[used]]
            yield tile_of_slots(tile.filters, slots)
