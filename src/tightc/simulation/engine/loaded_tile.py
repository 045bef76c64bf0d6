"""Tiles as the array holds them during a pass, with all replicas."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tightc.accelerator.accelerator import Accelerator
from tightc.simulation.engine.bank_reads import read_step
from tightc.tile.matrix import LayerMatrix
from tightc.tile.measures import tile_index_bits
from tightc.tile.packing import EMPTY, Packing, Tile

Values = NDArray[Any]


@dataclass(frozen=True)
class Operands:
    """What a layer multiplies, float32 or int32: `weights`, and `vectors` (vectors, inputs of all groups).

    `overlaps`: whether sums are added to others where they leave the array, as in a transposed convolution.
    `input_banks`: (inputs of all groups,), the bank that each input is in, where the activation buffer has banks.
    """

    weights: LayerMatrix
    vectors: Values
    overlaps: bool = False
    input_banks: NDArray[np.int64] | None = None


class LoadedTile(NamedTuple):
    """What stays in the array during one pass, and what its lanes and columns are for. Passed to the kernels.

    R rows and C columns of the array, h lanes and c columns used; V is float32 or int32.
    `weights`: (R, C) V, 0 in an empty slot.
    `taps`: (R, C) uint32, hops of the column * (inputs of the lane) + which of them a slot multiplies.
    `used`: (R, C) bool, slots that hold a weight.
    `starts`: (R + 1,) int32, where each row's list begins in `inputs`: (lane inputs,) int32.
    `outputs`: (c,) int32, where each column adds its sums.
    `hops`: (C,) int64, registers that a lane's inputs pass on their way to each column.
    `row_words`: (R,) float64, words that each row takes to load.
    `demands`: (4,) float64, words that a step takes from the buffers of the streamed operand, the stationary operand
    and the sums, and cycles of the banks.
    """

    weights: NDArray[Any]
    taps: NDArray[np.uint32]
    used: NDArray[np.bool_]
    starts: NDArray[np.int32]
    inputs: NDArray[np.int32]
    outputs: NDArray[np.int32]
    hops: NDArray[np.int64]
    row_words: NDArray[np.float64]
    demands: NDArray[np.float64]


def tile_replicas(tile: Tile, steps: int, accelerator: Accelerator) -> int:
    """Replicas of `tile` on the diagonal of the array of `accelerator`, each for a part of `steps`."""
    if not accelerator.replicate_tiles:
        return 1
    return min(accelerator.array.replicas(tile.lanes, tile.columns), steps)


def sum_words(packing: Packing, overlaps: bool, bypass: bool) -> list[int]:
    """For each tile, the words that a step reads from the buffer of partial sums and writes to it.

    A column reads where an earlier column, or with `overlaps` another step, has left a sum. It writes, but with
    `bypass` not where no later column adds to its sum.
    """
    parts = Counter(f for tile in packing.tiles for f in tile.filters.tolist())
    left = parts.copy()
    found = []
    for tile in packing.tiles:
        words = 0
        for f in tile.filters.tolist():
            words += overlaps or left[f] < parts[f]
            left[f] -= 1
            words += overlaps or not bypass or left[f] > 0
        found.append(words)
    return found


def slot_values(packing: Packing, weights: LayerMatrix) -> list[Values]:
    """The `weights` in the slots of each tile of `packing`, (lanes, columns) in their dtype, 0 in empty slots."""
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


@dataclass(frozen=True)
class TilePlacer:
    """Builds the loaded tiles of one packing.

    `values`: as `slot_values` gives them; `sum_words`: as `sum_words` does; `input_banks`: as in Operands.
    """

    packing: Packing
    values: list[Values]
    sum_words: list[int]
    accelerator: Accelerator
    input_banks: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, packing: Packing, operands: Operands, accelerator: Accelerator) -> TilePlacer:
        """A placer for the tiles of `packing` on the array of `accelerator`, with their values from `operands`."""
        words = sum_words(packing, operands.overlaps, accelerator.accumulator_bypass)
        values = slot_values(packing, operands.weights)
        return cls(packing, values, words, accelerator, operands.input_banks)

    def place(self, number: int, replicas: int) -> LoadedTile:
        """Tile `number` on the array, its replicas on the diagonal from the first at the top to the lowest row.

        Inputs and outputs of replica j are numbered from j x all inputs and j x all filters on.
        """
        packing, array = self.packing, self.accelerator.array
        tile, values = packing.tiles[number], self.values[number]
        first = array.rows - replicas * tile.lanes
        occupied = tile.select != EMPTY
        selected = np.where(occupied, tile.select, 0)
        lane_inputs = np.diff(tile.lane_starts)
        weights, taps = np.zeros(array, values.dtype), np.zeros(array, np.uint32)
        used, hops = np.zeros(array, bool), column_hops(self.accelerator)
        for replica in range(replicas):
            columns = np.arange(replica * tile.columns, (replica + 1) * tile.columns)
            top = first + replica * tile.lanes
            at = slice(top, top + tile.lanes), slice(columns[0], columns[-1] + 1)
            weights[at], used[at] = values, occupied
            taps[at] = np.where(occupied, lane_inputs[:, None] * hops[columns] + selected, 0)
        starts = np.append(np.zeros(first + 1, np.int64), np.cumsum(np.tile(lane_inputs, replicas)))
        read, bank_cycles = read_step(tile, self.accelerator.bank_network, self.input_banks)
        return LoadedTile(
            weights=weights,
            taps=taps,
            used=used,
            starts=starts.astype(np.int32),
            inputs=_replicated_ids(tile.inputs, packing.inputs * packing.groups, replicas),
            outputs=_replicated_ids(tile.filters, packing.filters, replicas),
            hops=hops,
            row_words=self._row_words(tile, replicas),
            demands=replicas * np.array([read, 0, self.sum_words[number], bank_cycles], np.float64),
        )

    def _row_words(self, tile: Tile, replicas: int) -> NDArray[np.float64]:
        """Words that each row takes to load, (rows,), its part of the index included."""
        words = np.zeros(self.accelerator.array.rows)
        occupied = tile.select != EMPTY
        # the zeros between groups that share a dense tile follow from the layer's size and are not stored
        stored = np.count_nonzero(occupied, axis=1) if self.packing.method == "dense" else tile.columns
        index_words = tile_index_bits(tile, self.packing) / (8 * self.accelerator.operand_bytes)
        first = len(words) - replicas * tile.lanes
        words[first:] = np.tile(stored + np.full(tile.lanes, index_words / tile.lanes), replicas)
        return words


def column_hops(accelerator: Accelerator) -> NDArray[np.int64]:
    """Registers that a lane's inputs pass on their way to each column of the array of `accelerator`, (columns,)."""
    return np.arange(accelerator.array.columns) // accelerator.columns_per_lane_register


def no_tile(accelerator: Accelerator, dtype: np.dtype[Any]) -> LoadedTile:
    """A tile without rows, which follows the last pass; for the array of `accelerator`, weights of `dtype`."""
    columns = accelerator.array.columns
    ids = np.zeros(0, np.int32)
    return LoadedTile(
        weights=np.zeros((0, columns), dtype),
        taps=np.zeros((0, columns), np.uint32),
        used=np.zeros((0, columns), bool),
        starts=ids,
        inputs=ids,
        outputs=ids,
        hops=column_hops(accelerator),
        row_words=np.zeros(0),
        demands=np.zeros(4),
    )


def _replicated_ids(ids: NDArray[np.int32], count: int, replicas: int) -> NDArray[np.int32]:
    """`ids` once for each replica, those of replica j from j x `count` on."""
    return (ids + count * np.arange(replicas, dtype=np.int32)[:, None]).ravel().astype(np.int32)
