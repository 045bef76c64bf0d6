"""Tile and Packing: the one form in which every method arranges a layer matrix on an array."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tightc.tile.array import ArrayShape
from tightc.tile.matrix import Ids
from tightc.tile.subwords import subwords_of

EMPTY = -1


@dataclass(frozen=True)
class Tile:
    """What the array holds in one pass.

    `filters`: (columns used,) int32, the filter of each column. `lane_starts`: (lanes used + 1,) int32, where the list
    of each lane begins in `inputs`, (lane inputs,) int32. `select`: (lanes used, columns used) int16, which input of
    its lane a slot multiplies, EMPTY for an empty slot. A tile holds no weights: the weight of a slot is the layer
    matrix at its filter and input.
    """

    filters: Ids
    lane_starts: Ids
    inputs: Ids
    select: NDArray[np.int16]

    @property
    def lanes(self) -> int:
        """Lanes used."""
        return int(self.select.shape[0])

    @property
    def columns(self) -> int:
        """Columns used."""
        return int(self.select.shape[1])

    @property
    def area(self) -> int:
        """Slots that the tile occupies, empty ones included: lanes used x columns used."""
        return int(self.select.size)

    @property
    def fan_in(self) -> int:
        """Largest number of inputs on a lane."""
        return int(np.diff(self.lane_starts).max(initial=0))

    def slots(self) -> tuple[Ids, Ids]:
        """Filter and input of every slot that is not empty, lane by lane: two (occupied,) int32."""
        lane, column = np.nonzero(self.select != EMPTY)
        position = self.lane_starts[lane] + self.select[lane, column]
        return self.filters[column], self.inputs[position]


@dataclass(frozen=True)
class Packing:
    """All tiles of a layer, for an `array` whose lanes carry up to `fan_in` inputs, made by `method`.

    `filters`, `inputs`, `groups` and `subword_bits` are those of the LayerMatrix; the tiles use its numbering.
    """

    method: str
    array: ArrayShape
    fan_in: int
    filters: int
    inputs: int
    groups: int
    tiles: tuple[Tile, ...]
    subword_bits: int | None = None

    @property
    def slots_per_weight(self) -> int:
        """Slots that a weight with all its subwords takes: 1 if a slot holds a whole weight."""
        return 1 if self.subword_bits is None else subwords_of(self.subword_bits)

    def slots(self) -> tuple[Ids, Ids]:
        """Filter and input of every slot that is not empty, tile by tile: two (occupied,) int32."""
        if not self.tiles:
            return np.empty(0, np.int32), np.empty(0, np.int32)
        parts = [tile.slots() for tile in self.tiles]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def tile_of_slots(filters: Ids, slots: Ids) -> Tile:
    """The tile whose column j has filter `filters[j]` and whose slot (i, j) multiplies input `slots[i, j]`.

    `slots`: (lanes, columns) int32, EMPTY for an empty slot; lanes and columns without a weight are left out.
    """
    used = slots != EMPTY
    lanes, columns = used.any(axis=1), used.any(axis=0)
    slots, filters = slots[lanes][:, columns], filters[columns]
    order = np.argsort(slots, axis=1)
    order += np.arange(len(slots))[:, None] * len(filters)  # places among all slots
    ordered = slots.ravel()[order]
    first = ordered != EMPTY  # of the slots of a lane that multiply the same input
    first[:, 1:] &= ordered[:, 1:] != ordered[:, :-1]
    select = np.empty(slots.shape, np.int16)
    select.ravel()[order] = np.cumsum(first, axis=1, dtype=np.int16) - np.int16(1)
    starts = np.append(0, np.cumsum(np.count_nonzero(first, axis=1))).astype(np.int32)
    return Tile(filters.astype(np.int32), starts, ordered[first].astype(np.int32), select)


def cut_into_tiles(filters: Ids, slots: Ids, array: ArrayShape) -> list[Tile]:
    """The tiles of `array` that a layer of `slots` is cut into, row after row; those without a weight are left out.

    `filters`: (columns,) int32, the filter of each column. `slots`: (lanes, columns) int32 inputs, EMPTY for an empty
    slot, of any size.
    """
    tiles = []
    for lane in range(0, slots.shape[0], array.rows):
        for column in range(0, slots.shape[1], array.columns):
            block = slots[lane : lane + array.rows, column : column + array.columns]
            if (block != EMPTY).any():
                tiles.append(tile_of_slots(filters[column : column + array.columns], block))
    return tiles
