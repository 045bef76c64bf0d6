"""First fit: tight packing without a search, each weight in the first lane that takes it; lossless.

Filters are split and share tiles as in tight packing, but no weight moves once it has a slot. The difference between
the two is the gain from annealing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.permutation.problem import PackingProblem
from tightc.permutation.search_context import SearchContext
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import Ids, LayerMatrix
from tightc.tile.packing import EMPTY, Packing, Tile, tile_of_slots

_NONE = -1


@dataclass(frozen=True)
class _Columns:
    """Parts of filters, one for each column: `filters`, (columns,) int32, and the `inputs` of its weights, ascending.

    `starts`: (columns + 1,) int64, where each part begins in `inputs`, (weights,) int32.
    """

    filters: Ids
    starts: NDArray[np.int64]
    inputs: Ids


def pack(matrix: LayerMatrix, problem: PackingProblem, *, context: SearchContext) -> Packing:
    """A lossless packing within the fan-in, in rounds: what does not fit its tile goes on to the next round's tiles."""
    filters, inputs = matrix.nonzeros()
    tiles = fill_tiles(filters, inputs, problem.array, problem.fan_in, lambda: context.interrupted)
    return Packing(
        method="first-fit",
        array=problem.array,
        fan_in=problem.fan_in,
        filters=matrix.filters,
        inputs=matrix.inputs,
        groups=matrix.groups,
        tiles=tuple(tiles),
        subword_bits=matrix.subword_bits,
    )


def fill_tiles(
    filters: Ids,
    inputs: Ids,
    array: ArrayShape,
    fan_in: int,
    interrupted: Callable[[], bool] = lambda: False,
) -> list[Tile]:
    """Tiles within the fan-in for the weights given by `filters` and `inputs`: (weights,) int32, sorted so.

    In each round a filter is cut, in input order, into parts of as many weights as the array has rows, and a
    remainder. Parts are sorted by mean input, remainders by falling length. The first part of a tile always fits, so
    the rounds end. CancelledError once it is `interrupted`.
    """
    rounds = _rounds(filters, inputs, array, fan_in, interrupted)
    return [tile_of_slots(names, slots) for names, slots in rounds]


def passes(filters: Ids, inputs: Ids, array: ArrayShape, fan_in: int) -> int:
    """Number of tiles that `fill_tiles` makes."""
    return sum(1 for _ in _rounds(filters, inputs, array, fan_in))


def _rounds(
    filters: Ids,
    inputs: Ids,
    array: ArrayShape,
    fan_in: int,
    interrupted: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Ids, Ids]]:
    """The filters of each tile, (columns,), and the inputs of its slots, (rows, columns)."""
    while len(filters):
        columns = _cut(filters, inputs, array.rows)
        left = []
        for first in range(0, len(columns.filters), array.columns):
            if interrupted():
                raise CancelledError
            names, slots, rest = _fill(columns, slice(first, first + array.columns), array.rows, fan_in)
            yield names, slots
            left.append(rest)
        filters, inputs = (np.concatenate(parts) for parts in zip(*left, strict=True))
        order = np.lexsort((inputs, filters))
        filters, inputs = filters[order], inputs[order]


def _cut(filters: Ids, inputs: Ids, rows: int) -> _Columns:
    """The parts of all filters in the order of their columns; both (weights,) int32, sorted by filter, then input."""
    begins = np.flatnonzero(np.r_[True, filters[1:] != filters[:-1]])
    rank = np.arange(len(filters)) - np.repeat(begins, np.diff(np.r_[begins, len(filters)]))
    part = np.cumsum(rank % rows == 0) - 1
    sizes = np.bincount(part)
    full = sizes == rows
    order = np.lexsort((np.bincount(part, inputs) / sizes, np.where(full, 0, -sizes), ~full))
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    return _Columns(
        filters[rank % rows == 0][order],
        np.append(0, np.cumsum(sizes[order])),
        inputs[np.argsort(position[part], kind="stable")],
    )


def _fill(columns: _Columns, here: slice, rows: int, fan_in: int) -> tuple[Ids, Ids, tuple[Ids, Ids]]:
    """(the filters of the columns `here`, the inputs of their slots, filters and inputs of what does not fit)."""
    filters = columns.filters[here]
    starts = columns.starts[here.start : here.start + len(filters) + 1]
    inputs = columns.inputs[starts[0] : starts[-1]]
    column = np.repeat(np.arange(len(filters)), np.diff(starts))
    _, numbers = np.unique(inputs, return_inverse=True)
    lanes = _first_fit(numbers.astype(np.int64), starts - starts[0], rows, fan_in)
    slots = np.full((rows, len(filters)), EMPTY, np.int32)
    fits = lanes != _NONE
    slots[lanes[fits], column[fits]] = inputs[fits]
    return filters, slots, (filters[column[~fits]], inputs[~fits])


@njit(nogil=True, cache=True)
def _first_fit(
    items: NDArray[np.int64], starts: NDArray[np.int64], rows: int, fan_in: int
) -> NDArray[np.int64]:
    """The lane of each weight of a tile, _NONE if it does not fit: (weights,) int64.

    A weight takes the first lane that its column leaves free and that carries its input already; if there is none,
    the first free lane that has room for one more input.

    `items`: (weights,) int64, inputs as numbers from 0, column after column; `starts`: (columns + 1,) int64, where
    each column begins among them.
    """
    columns = len(starts) - 1
    capacity = min(fan_in, columns)  # a column adds no more than one input to a lane
    carried = np.zeros(rows, np.int64)
    taken_by = np.full(rows, _NONE, np.int64)
    # for each input a list of the places, lane * capacity + position, that carry it, ascending
    heads = np.full(items.max() + 1, _NONE, np.int64)
    following = np.full(rows * capacity, _NONE, np.int64)
    lanes = np.full(len(items), _NONE, np.int64)
    for column in range(columns):
        free = 0  # the lanes before it are taken or full, and stay so while this column is filled
        for weight in range(starts[column], starts[column + 1]):
            item = items[weight]
            place = heads[item]
            while place != _NONE and taken_by[place // capacity] == column:
                place = following[place]
            if place == _NONE:
                while free < rows and (taken_by[free] == column or carried[free] == capacity):
                    free += 1
                if free == rows:
                    continue
                place = free * capacity + carried[free]
                carried[free] += 1
                before, after = _NONE, heads[item]
                while after != _NONE and after < place:
                    before, after = after, following[after]
                following[place] = after
                if before == _NONE:
                    heads[item] = place
                else:
                    following[before] = place
            lanes[weight] = place // capacity
            taken_by[place // capacity] = column
    return lanes
