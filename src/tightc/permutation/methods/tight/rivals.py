"""Rivals: what the other methods make of the same weights without a loss; the search returns one if it is better."""

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


def rival_packings(
    matrix: LayerMatrix, problem: PackingProblem, context: SearchContext, most_passes: float
) -> Iterator[Packing]:
    """Structured, dense and column-combined packings of `matrix` in up to `most_passes` passes, zeros left out.

    Column combining drops nothing, with lanes as full as `problem` permits and with its own alpha. A dense packing
    keeps its method and its zeros, since an ordinary array runs it without an index.
    """
    if matrix.subword_bits is not None:
        return  # an ordinary array has no place for subwords, and column combining takes whole weights
    if structured.passes(matrix, problem.array) <= most_passes:
        packed = structured.pack(matrix, problem)
        emptied = tuple(_emptied(packed, matrix))
        yield replace(packed, method="tight", tiles=emptied)
        yield replace(packed, method="tight", tiles=tuple(map(_without_unused, emptied)))
    if dense_passes(matrix.filters, matrix.inputs, matrix.groups, problem.array) <= most_passes:
        yield dense.pack(matrix, problem)
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


def _combined_passes(matrix: LayerMatrix, problem: PackingProblem, alpha: int) -> int:
    """A lower bound on the passes of column combining; 0 for layers with groups, which may share passes."""
    if matrix.groups > 1:
        return 0
    used = matrix.values != 0
    filters, inputs = int(used.any(axis=1).sum()), int(used.any(axis=0).sum())
    lanes = max(folds(inputs, alpha), int(matrix.filter_sizes().max(initial=0)))
    return folds(lanes, problem.array.rows) * folds(filters, problem.array.columns)


def _emptied(packing: Packing, matrix: LayerMatrix) -> Iterator[Tile]:
    """The tiles of a packing of fan-in 1 with empty slots where the weight is zero; lanes and columns stay."""
    for tile in packing.tiles:
        lane, column = np.nonzero(tile.select != EMPTY)
        zero = matrix.weights(tile.filters[column], tile.inputs[lane]) == 0
        select = tile.select.copy()
        select[lane[zero], column[zero]] = EMPTY
        if not zero.all():
            yield replace(tile, select=select)


def _without_unused(tile: Tile) -> Tile:
    """A tile of fan-in 1 without its lanes and columns that hold no weight."""
    return tile_of_slots(tile.filters, np.where(tile.select != EMPTY, tile.inputs[:, None], EMPTY))
