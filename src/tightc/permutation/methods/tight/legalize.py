"""Legalization: from annealed blocks to tiles within the fan-in; weights of lanes beyond it have to leave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tightc.permutation.annealing.anneal import Annealed
from tightc.permutation.annealing.block import Block
from tightc.tile.matrix import Ids
from tightc.tile.packing import EMPTY, Tile, tile_of_slots


def legalize(block: Block, annealed: Annealed, fan_in: int) -> tuple[list[Tile], NDArray[np.bool_]]:
    """(tiles within the fan-in, which weights have to leave: (weights,) bool).

    A lane keeps the inputs that most of its slots multiply.
    """
    leaving = _leaving(block, annealed, fan_in)
    lane_base = np.r_[0, np.cumsum(block.heights)]
    slots = np.full((int(lane_base[-1]), int(annealed.columns.max(initial=0)) + 1), EMPTY, np.int32)
    stays = ~leaving
    slots[annealed.lanes[stays], annealed.columns[stays]] = block.inputs[stays]
    edges = np.searchsorted(block.cell_tiles, np.arange(len(block.heights) + 1))
    tiles = []
    for tile in range(len(block.heights)):
        filters = block.cell_filters[edges[tile] : edges[tile + 1]]
        full = np.full((int(block.heights[tile]), len(filters)), EMPTY, np.int32)
        here = slots[lane_base[tile] : lane_base[tile + 1], : len(filters)]
        full[:, : here.shape[1]] = here
        if (full != EMPTY).any():
            tiles.append(tile_of_slots(filters, full))
    return tiles, leaving


def _leaving(block: Block, annealed: Annealed, fan_in: int) -> NDArray[np.bool_]:
    if not annealed.excess(fan_in).any():
        return np.zeros(block.weights, bool)
    inputs = int(block.inputs.max()) + 1
    pairs = annealed.lanes.astype(np.int64) * inputs + block.inputs
    carried, number, uses = np.unique(pairs, return_inverse=True, return_counts=True)
    lane = carried // inputs
    order = np.lexsort((carried, -uses, lane))
    rank = np.empty(len(carried), np.int64)
    rank[order] = np.arange(len(carried)) - np.searchsorted(lane, lane)
    removed: NDArray[np.bool_] = (rank >= fan_in)[number]
    return removed


def gather(blocks: Sequence[Block], leaving: Sequence[NDArray[np.bool_]]) -> tuple[Ids, Ids]:
    """Filters and inputs of the weights that leave, sorted by filter, then input: two (weights,) int32."""
    filters = np.concatenate([block.filters[removed] for block, removed in zip(blocks, leaving, strict=True)])
    inputs = np.concatenate([block.inputs[removed] for block, removed in zip(blocks, leaving, strict=True)])
    order = np.lexsort((inputs, filters))
    return filters[order], inputs[order]
