"""Insertion: weights that had to leave their lanes go to slots that other tiles leave empty."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import Ids
from tightc.tile.packing import EMPTY, Tile, tile_of_slots


def insert(
    tiles: Sequence[Tile], filters: Ids, inputs: Ids, array: ArrayShape, fan_in: int
) -> tuple[list[Tile], NDArray[np.bool_]]:
    """(the tiles with as many of the weights as find a slot there, which do: (weights,) bool).

    `filters`, `inputs`: (weights,) int32, sorted by filter, of weights that no tile holds. The number of tiles stays,
    and they stay within `array` and `fan_in`.
    """
    shape = (len(tiles), *array)
    slots, owners = np.full(shape, EMPTY, np.int32), np.full((len(tiles), array.columns), EMPTY, np.int32)
    for number, tile in enumerate(tiles):
        lane, column = np.nonzero(tile.select != EMPTY)
        slots[number, lane, column] = tile.inputs[tile.lane_starts[lane] + tile.select[lane, column]]
        owners[number, : tile.columns] = tile.filters
    placed = np.zeros(len(filters), np.bool_)
    _insert(slots, owners, filters, inputs=inputs, fan_in=fan_in, placed=placed)
    return [tile_of_slots(owner, own) for owner, own in zip(owners, slots, strict=True)], placed


@njit(nogil=True, cache=True)
def _insert(
    slots: Ids, owners: Ids, filters: Ids, inputs: Ids, fan_in: int, placed: NDArray[np.bool_]
) -> None:
    """Gives each weight a slot in a column of its filter, or in a column without filter, where a lane takes its input.

    In place: `slots`, (tiles, rows, columns) int32, the input of each slot; `owners`, (tiles, columns) int32, the
    filter of each column; both EMPTY for none; `placed`, (weights,) bool, which weights have a slot.
    """
    tiles, rows, columns = slots.shape
    carried = np.zeros((tiles, rows), np.int64)
    for tile in range(tiles):
        for row in range(rows):
            carried[tile, row] = len(np.unique(slots[tile, row][slots[tile, row] != EMPTY]))
    for weight in range(len(filters)):
        item = inputs[weight]
        best_tile, best_row, best_column, best_rank = 0, 0, 0, 4
        for tile in range(tiles):
            for column in range(columns):
                owner = owners[tile, column]
                if owner != filters[weight] and owner != EMPTY:
                    continue
                new_column = 2 if owner == EMPTY else 0
                if new_column >= best_rank:
                    continue
                for row in range(rows):
                    if slots[tile, row, column] != EMPTY:
                        continue
                    rank = new_column
                    if not (slots[tile, row] == item).any():
                        if carried[tile, row] >= fan_in:
                            continue
                        rank += 1
                    if rank < best_rank:
                        best_tile, best_row, best_column, best_rank = tile, row, column, rank
        if best_rank < 4:
            slots[best_tile, best_row, best_column] = item
            owners[best_tile, best_column] = filters[weight]
            carried[best_tile, best_row] += best_rank % 2
            placed[weight] = True
