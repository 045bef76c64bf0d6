"""Tiles as the planes that an array holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.simulation.accelerator.accelerator import Accelerator
from tightc.simulation.engine.stationary import Plane
from tightc.tile.matrix import LayerMatrix
from tightc.tile.measures import tile_index_bits
from tightc.tile.packing import EMPTY, Packing, Tile

Values = NDArray[Any]


@dataclass(frozen=True)
class Operands:
    """What a layer multiplies, float32 or int32: `weights`, and `vectors` (vectors, inputs of all groups)."""

    weights: LayerMatrix
    vectors: Values


def copies_of(tile: Tile, steps: int, accelerator: Accelerator) -> int:
    """How often the tile stands on the diagonal of the array, each copy for a part of the steps."""
    if not accelerator.side_by_side:
        return 1
    return min(accelerator.array.replicas(tile.lanes, tile.columns), steps)


def accumulated_columns(packing: Packing) -> list[int]:
    """Of the columns of each tile, how many add to a sum that is there already."""
    begun: set[int] = set()
    found = []
    for tile in packing.tiles:
        own = 0
        for f in tile.filters.tolist():
            own += f in begun
            begun.add(f)
        found.append(own)
    return found


def held_values(packing: Packing, weights: LayerMatrix) -> list[Values]:
    """What the slots of each tile hold, (lanes, columns) in the dtype of the weights, 0 where they are empty."""
    flat = weights.weights(*packing.slots())
    found, begin = [], 0
    for tile in packing.tiles:
        occupied = tile.select != EMPTY
        values = np.zeros(tile.select.shape, flat.dtype)
        end = begin + int(np.count_nonzero(occupied))
        values[occupied] = flat[begin:end]
        found.append(values)
        begin = end
    return found


def plane_of(
    which: tuple[Packing, int, int], accumulated: int, values: Values, accelerator: Accelerator
) -> Plane:
    """A tile on the array, `which`: packing, its number, how many copies, from the first at the top to the lowest row.

    Inputs and outputs of copy j are numbered from j x all inputs and j x all filters on. `accumulated`: columns that
    add to a sum that is there already; `values`: what the tile's slots hold, as `held_values` gives it.
    """
    packing, number, copies = which
    tile = packing.tiles[number]
    rows = accelerator.array.rows
    first = rows - copies * tile.lanes
    occupied = tile.select != EMPTY
    picked = np.where(occupied, tile.select, 0)
    carried = np.diff(tile.lane_starts)
    weights, taps = np.zeros(accelerator.array, values.dtype), np.zeros(accelerator.array, np.uint32)
    used = np.zeros(accelerator.array, bool)
    for copy in range(copies):
        columns = np.arange(copy * tile.columns, (copy + 1) * tile.columns)
        at = (
            slice(first + copy * tile.lanes, first + (copy + 1) * tile.lanes),
            slice(columns[0], columns[-1] + 1),
        )
        weights[at], used[at] = values, occupied
        taps[at] = np.where(occupied, carried[:, None] * columns + picked, 0)
    row_words = np.zeros(rows)
    # the zeros between groups that stand side by side follow from the layer's size
    stored = np.count_nonzero(occupied, axis=1) if packing.method == "dense" else tile.columns
    index_words = tile_index_bits(tile, packing) / (8 * accelerator.operand_bytes)
    row_words[first:] = np.tile(stored + np.full(tile.lanes, index_words / tile.lanes), copies)
    starts = np.append(np.zeros(first + 1, np.int64), np.cumsum(np.tile(carried, copies)))
    distinct = len(set(tile.inputs.tolist()))
    return Plane(
        weights,
        taps,
        used,
        starts.astype(np.int32),
        _numbered(tile.inputs, packing.inputs * packing.groups, copies),
        _numbered(tile.filters, packing.filters, copies),
        row_words,
        copies * np.array([distinct, 0, tile.columns + accumulated], np.float64),
    )


def no_plane(accelerator: Accelerator, dtype: np.dtype[Any]) -> Plane:
    """What follows the last pass."""
    columns = accelerator.array.columns
    empty = np.zeros((0, columns), dtype), np.zeros((0, columns), np.uint32), np.zeros((0, columns), bool)
    ids = np.zeros(0, np.int32)
    return Plane(*empty, ids, ids, ids, np.zeros(0), np.zeros(3))


def _numbered(ids: NDArray[np.int32], count: int, copies: int) -> NDArray[np.int32]:
    """`ids` once for each copy, those of copy j from j x `count` on."""
    return (ids + count * np.arange(copies, dtype=np.int32)[:, None]).ravel().astype(np.int32)
