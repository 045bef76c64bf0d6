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
    """Gives each weight a slot in a column of its filter, or else in a column without filter, where a lane takes it.

    A lane that carries its input goes before one with room for another. In place: `slots`, (tiles, rows, columns)
    int32, the input of each slot; `owners`, (tiles, columns) int32, the filter of each column, those without a filter
    last; both EMPTY for none; `placed`, (weights,) bool, which weights have a slot.
    """
    tiles, rows, columns = slots.shape
    carried, used = np.zeros((tiles, rows), np.int64), np.zeros(tiles, np.int64)
    for tile in range(tiles):
        used[tile] = np.count_nonzero(owners[tile] != EMPTY)
        for row in range(rows):
            carried[tile, row] = len(np.unique(slots[tile, row][slots[tile, row] != EMPTY]))
    own, count = (
        np.empty(tiles * columns, np.int64),
        -1,
    )  # the columns of the filter at hand, once they are counted
    for weight in range(len(filters)):
        item, owner = inputs[weight], filters[weight]
        if count < 0 or owner != filters[weight - 1]:
            count = 0
            for tile in range(tiles):
                for column in range(used[tile]):
                    if owners[tile, column] == owner:
                        own[count] = tile * columns + column
                        count += 1
        best, best_row, carries = -1, 0, False
        for index in range(count + tiles):
            if index == count and best >= 0:
                break
            tile, column = index - count, columns
            if index < count:
                tile, column = own[index] // columns, own[index] % columns
            elif used[tile] < columns:
                column = used[tile]
            if column == columns:
                continue
            for row in range(rows):
                if slots[tile, row, column] != EMPTY:
                    continue
                carries = _holds(slots[tile, row], used[tile], item)
                if carries or (best < 0 and carried[tile, row] < fan_in):
                    best, best_row = tile * columns + column, row
                if carries:
                    break
            if carries:
                break
        if best >= 0:
            tile, column = best // columns, best % columns
            if column == used[tile]:
                owners[tile, column] = owner
                used[tile] += 1
                count = -1
            slots[tile, best_row, column] = item
            carried[tile, best_row] += not carries
            placed[weight] = True


@njit(nogil=True, cache=True)
def _holds(lane: Ids, used: int, item: int) -> bool:
    """Whether one of the first `used` slots of a lane multiplies that input."""
    for column in range(used):  # noqa: SIM110
        if lane[column] == item:
            return True
    return False
