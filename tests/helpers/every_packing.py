"""Every packing that a tiny layer has, by trying every slot for every weight; nothing imported from tightc."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Figures(NamedTuple):
    """What counts of a packing: tiles, lanes used x columns used, inputs on all lanes and on the fullest one."""

    passes: int
    area: int
    lane_inputs: int
    fan_in: int


class _Tile:
    """A tile that is being filled: inputs of each lane used, filter of each column used, slots taken."""

    def __init__(self) -> None:
        self.lanes: list[list[int]] = []
        self.filters: list[int] = []
        self.taken: set[tuple[int, int]] = set()


def every_packing(values: np.ndarray, array: tuple[int, int]) -> set[Figures]:
    """The figures of all lossless packings of the non-zeros of `values`, at most six or so.

    Tiles, lanes and columns are interchangeable, so a weight goes to one that is used or to the first that is not.
    """
    weights = [(int(f), int(k)) for f, k in np.argwhere(values)]
    found: set[Figures] = set()
    _place(weights, [], array, found)
    return found


def _place(
    weights: list[tuple[int, int]], tiles: list[_Tile], array: tuple[int, int], found: set[Figures]
) -> None:
    if not weights:
        lanes = [len(set(lane)) for tile in tiles for lane in tile.lanes]
        area = sum(len(tile.lanes) * len(tile.filters) for tile in tiles)
        found.add(Figures(len(tiles), area, sum(lanes), max(lanes, default=0)))
        return
    rows, columns = array
    (f, k), rest = weights[0], weights[1:]
    for tile in [*tiles, _Tile()]:
        used = tiles if tile in tiles else [*tiles, tile]
        for lane in range(min(rows, len(tile.lanes) + 1)):
            for column in range(min(columns, len(tile.filters) + 1)):
                new_lane, new_column = lane == len(tile.lanes), column == len(tile.filters)
                if (lane, column) in tile.taken or (not new_column and tile.filters[column] != f):
                    continue
                if new_lane:
                    tile.lanes.append([])
                if new_column:
                    tile.filters.append(f)
                tile.lanes[lane].append(k)
                tile.taken.add((lane, column))
                _place(rest, used, array, found)
                tile.taken.remove((lane, column))
                tile.lanes[lane].pop()
                if new_column:
                    tile.filters.pop()
                if new_lane:
                    tile.lanes.pop()
