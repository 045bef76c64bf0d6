"""A block: the tiles and weights that are annealed together, and the state that the annealing starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tightc.permutation.annealing.kernel import AnnealingState, _count
from tightc.tile.matrix import Ids
from tightc.tile.packing import EMPTY


@dataclass(frozen=True)
class Block:
    """Some tiles and the weights that start there; tiles and lanes are numbered from 0.

    `heights`: (tiles,) int64, lanes of each tile. A cell is one column of one tile, given to one filter: `cell_filters`
    and `cell_tiles`, (cells,) int32, sorted by tile, then filter. Of each weight: its `filters` and `inputs`, and where
    it starts, `lanes` and `columns`, all (weights,) int32.
    """

    heights: NDArray[np.int64]
    cell_filters: Ids
    cell_tiles: Ids
    filters: Ids
    inputs: Ids
    lanes: Ids
    columns: Ids

    @property
    def weights(self) -> int:
        """Number of weights."""
        return len(self.filters)


def starting_state(block: Block) -> AnnealingState:
    """The state that a block starts in, as the kernel takes it."""
    owners, filter_of = np.unique(block.filters, return_inverse=True)
    used, input_of = np.unique(block.inputs, return_inverse=True)
    lane_base = np.r_[0, np.cumsum(block.heights)]
    tiles, lanes = len(block.heights), int(lane_base[-1])
    column = columns_of_cells(block.cell_tiles)
    slots = np.full((lanes, int(column.max()) + 1), EMPTY, np.int32)
    slots[block.lanes, block.columns] = np.arange(block.weights)
    owned = np.isin(block.cell_filters, owners)
    cell_filter = np.searchsorted(owners, block.cell_filters[owned])
    cell_tile, cell_column = block.cell_tiles[owned], column[owned]
    first_column = np.full((len(owners), tiles), np.iinfo(np.int32).max, np.int32)
    np.minimum.at(first_column, (cell_filter, cell_tile), cell_column)
    column_count = np.zeros((len(owners), tiles), np.int32)
    np.add.at(column_count, (cell_filter, cell_tile), 1)
    by_filter = np.lexsort((cell_column, cell_tile, cell_filter))
    small = slots.shape[1] < np.iinfo(np.uint8).max
    state = AnnealingState(
        slots=slots,
        input_of=np.append(input_of, EMPTY).astype(np.int32),
        filter_of=filter_of.astype(np.int32),
        lane_of=block.lanes.copy(),
        column_of=block.columns.copy(),
        user_starts=np.searchsorted(np.sort(input_of), np.arange(len(used) + 1)).astype(np.int32),
        users=np.argsort(input_of, kind="stable").astype(np.int32),
        tile_of=np.repeat(np.arange(tiles), block.heights).astype(np.int32),
        first_column=first_column,
        column_count=column_count,
        cell_starts=np.searchsorted(cell_filter[by_filter], np.arange(len(owners) + 1)).astype(np.int32),
        cell_lane=lane_base[cell_tile[by_filter]].astype(np.int32),
        cell_height=block.heights[cell_tile[by_filter]].astype(np.int32),
        cell_column=cell_column[by_filter].astype(np.int32),
        counts=np.zeros((len(used) + 1, lanes), np.uint8 if small else np.uint16),
        carried=np.zeros(lanes, np.int32),
    )
    _count(state)
    return state


def columns_of_cells(tiles: Ids) -> NDArray[np.int64]:
    """The column of each cell in its tile: (cells,) int64. `tiles`: (cells,) int32, sorted."""
    return np.arange(len(tiles)) - np.searchsorted(tiles, tiles)
