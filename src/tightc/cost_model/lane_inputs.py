"""The inputs that the lanes of each pass carry, for tiles and dense layers alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.passes import Counts
from tightc.tile.array import ArrayShape
from tightc.tile.dense import dense_blocks
from tightc.tile.packing import Packing


@dataclass(frozen=True)
class LaneInputs:
    """The inputs of all lanes of all passes, pass by pass.

    `starts`: (passes + 1,) int64, where each pass begins in `lanes` and `inputs`, (lane inputs,) int64: which lane of
    the pass carries which input.
    """

    starts: Counts
    lanes: Counts
    inputs: Counts

    @classmethod
    def of_packing(cls, packing: Packing) -> LaneInputs:
        """Those of the tiles of `packing`."""
        tiles = packing.tiles
        none = np.empty(0, np.int64)
        lanes = [np.repeat(np.arange(tile.lanes), np.diff(tile.lane_starts)) for tile in tiles]
        return cls(
            np.append(0, np.cumsum([len(tile.inputs) for tile in tiles])).astype(np.int64),
            np.concatenate([none, *lanes]),
            np.concatenate([none, *(tile.inputs.astype(np.int64) for tile in tiles)]),
        )

    @classmethod
    def of_dense(cls, gemm: GemmWorkload, array: ArrayShape) -> LaneInputs:
        """Those of the weight-stationary passes of the layer `gemm` with all its weights on an `array` of fan-in 1."""
        blocks = dense_blocks(gemm.filters, gemm.inputs, gemm.groups, array)
        first = blocks.group * gemm.inputs + blocks.first_input
        ends = np.cumsum(blocks.inputs)
        place = np.arange(int(ends[-1]))
        of_pass = np.flatnonzero(np.diff(blocks.tile, prepend=-1))
        starts = np.append((ends - blocks.inputs)[of_pass], ends[-1])
        return cls(
            starts,
            place - np.repeat(starts[:-1], np.diff(starts)),
            place + np.repeat(first - (ends - blocks.inputs), blocks.inputs),
        )
