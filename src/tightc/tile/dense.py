"""How an ordinary array takes a dense layer: in blocks of its matrix; last blocks of several groups share a pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tightc.tile.array import ArrayShape
from tightc.tile.bounds import folds, groups_per_pass
from tightc.tile.matrix import Ids
from tightc.tile.packing import EMPTY, Packing, Tile


class Block(NamedTuple):
    """All of `filters` at all of `inputs`: two int32 lists of numbers."""

    filters: Ids
    inputs: Ids


class BlockSize(NamedTuple):
    """Numbers of filters and of inputs."""

    filters: int
    inputs: int


@dataclass(frozen=True)
class Blocks:
    """The blocks that a layer is cut into; each field (blocks,) int64, sorted by pass.

    A block has `filters` from `first_filter` and `inputs` from `first_input`, both numbered within its `group`. It is
    on the array in pass number `tile`.
    """

    tile: NDArray[np.int64]
    group: NDArray[np.int64]
    first_filter: NDArray[np.int64]
    filters: NDArray[np.int64]
    first_input: NDArray[np.int64]
    inputs: NDArray[np.int64]


def dense_blocks(filters: int, inputs: int, groups: int, array: ArrayShape) -> Blocks:
    """The blocks of `groups` matrices of `filters` x `inputs`: inputs change fastest, then filters, then groups.

    The last block of a group may leave rows and columns free; the last blocks of as many groups as fit on the diagonal
    share a pass. There are `dense_passes` passes.
    """
    row, column = np.arange(0, inputs, array.rows), np.arange(0, filters, array.columns)
    first_filter, first_input = np.repeat(column, len(row)), np.tile(row, len(column))
    each = len(first_filter)
    sharing = groups_per_pass(filters, inputs, array)
    group, block = np.divmod(np.arange(groups * each), each)
    if sharing > 1:  # the last blocks of `sharing` groups come after all others of these groups
        shared, member = np.divmod(group, sharing)
        size = np.minimum(groups - shared * sharing, sharing)
        at = np.where(block < each - 1, member * (each - 1) + block, size * (each - 1))
        tile = shared * (sharing * (each - 1) + 1) + at
        order = np.lexsort((group, tile))
        tile, group, block = tile[order], group[order], block[order]
    else:
        tile = np.arange(groups * each)
    return Blocks(
        tile=tile,
        group=group,
        first_filter=first_filter[block],
        filters=np.minimum(filters - first_filter[block], array.columns),
        first_input=first_input[block],
        inputs=np.minimum(inputs - first_input[block], array.rows),
    )


def dense_packing(filters: int, inputs: int, groups: int, array: ArrayShape) -> Packing:
    """A layer of `filters` (over all groups) with `inputs` each, zeros included, as tiles of fan-in 1."""
    size = filters // groups
    every = [
        Block(
            np.arange(group * size, (group + 1) * size, dtype=np.int32),
            np.arange(group * inputs, (group + 1) * inputs, dtype=np.int32),
        )
        for group in range(groups)
    ]
    return Packing(
        method="dense",
        array=array,
        fan_in=1,
        filters=filters,
        inputs=inputs,
        groups=groups,
        tiles=tuple(full_tiles(every, array)),
    )


def full_tiles(groups: Iterable[Block], array: ArrayShape) -> Iterator[Tile]:
    """Tiles that hold all filters of each group at all of its inputs.

    The last block of a group shares a tile with those of the next groups as long as they fit on its diagonal.
    """
    open_blocks: list[Block] = []
    rows = columns = 0
    for filters, inputs in groups:
        blocks = [
            Block(filters[column : column + array.columns], inputs[row : row + array.rows])
            for column in range(0, len(filters), array.columns)
            for row in range(0, len(inputs), array.rows)
        ]
        if not blocks:
            continue
        last = (len(blocks[-1][1]), len(blocks[-1][0]))
        if open_blocks and (rows + last[0] > array.rows or columns + last[1] > array.columns):
            yield _block_diagonal(open_blocks)
            open_blocks, rows, columns = [], 0, 0
        yield from (_block_diagonal([block]) for block in blocks[:-1])
        open_blocks.append(blocks[-1])
        rows, columns = rows + last[0], columns + last[1]
    if open_blocks:
        yield _block_diagonal(open_blocks)


def merged(tiles: Iterable[Tile], array: ArrayShape) -> Iterator[Tile]:
    """The same tiles, each merged with the next ones on a diagonal as long as they fit; for layers with groups."""
    together: list[Tile] = []
    rows = columns = 0
    for tile in tiles:
        if together and (rows + tile.lanes > array.rows or columns + tile.columns > array.columns):
            yield _diagonal(together)
            together, rows, columns = [], 0, 0
        together.append(tile)
        rows, columns = rows + tile.lanes, columns + tile.columns
    if together:
        yield _diagonal(together)


def full_passes(sizes: Iterable[BlockSize], array: ArrayShape) -> int:
    """Number of tiles that `full_tiles` makes of groups of these sizes."""
    passes = rows = columns = 0
    for filters, inputs in sizes:
        if not (filters and inputs):
            continue
        passes += folds(filters, array.columns) * folds(inputs, array.rows) - 1
        last = ((inputs - 1) % array.rows + 1, (filters - 1) % array.columns + 1)
        if not rows or rows + last[0] > array.rows or columns + last[1] > array.columns:
            passes, rows, columns = passes + 1, 0, 0
        rows, columns = rows + last[0], columns + last[1]
    return passes


def _block_diagonal(blocks: list[Block]) -> Tile:
    return _diagonal(
        [
            Tile(
                filters,
                np.arange(len(inputs) + 1, dtype=np.int32),
                inputs,
                np.zeros((len(inputs), len(filters)), np.int16),
            )
            for filters, inputs in blocks
        ]
    )


def _diagonal(tiles: list[Tile]) -> Tile:
    """All tiles in one, each below and to the right of the one before."""
    if len(tiles) == 1:
        return tiles[0]
    select = np.full((sum(t.lanes for t in tiles), sum(t.columns for t in tiles)), EMPTY, np.int16)
    row = column = 0
    for tile in tiles:
        select[row : row + tile.lanes, column : column + tile.columns] = tile.select
        row, column = row + tile.lanes, column + tile.columns
    carried = np.concatenate([np.diff(tile.lane_starts) for tile in tiles])
    return Tile(
        np.concatenate([tile.filters for tile in tiles]),
        np.append(0, np.cumsum(carried)).astype(np.int32),
        np.concatenate([tile.inputs for tile in tiles]),
        select,
    )
