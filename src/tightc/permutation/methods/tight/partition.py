"""Partition: a plan is cut into blocks of tiles that are annealed independently, each weight at its start."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tightc.permutation.annealing.block import Block, columns_of_cells
from tightc.permutation.methods.tight.plan import Plan
from tightc.tile.matrix import Ids

_LEAST_TILES = 4
_REACH = 1.5  # tiles of a block, times the tiles that its filters reach over
_LARGEST_COUNTS = 4_000_000  # entries of a block's counts


def partition(plan: Plan, filters: Ids, inputs: Ids) -> list[Block]:
    """The blocks of a plan, each weight at its start.

    `filters`, `inputs`: (weights,) int32, sorted by filter, then input. A filter's weights in a block spread evenly,
    in order of their inputs, over the lanes of its cells there, from the first tile to the last.
    """
    edges = _edges(plan, int(inputs.max(initial=0)) + 1)
    in_block = _block_of_each(plan, edges, filters, inputs)
    order = np.argsort(in_block, kind="stable")
    weight_edges = np.searchsorted(in_block[order], np.arange(len(edges)))
    cell_edges = np.searchsorted(plan.tiles, edges)
    blocks = []
    for i, (first, last) in enumerate(pairwise(edges)):
        weights = order[weight_edges[i] : weight_edges[i + 1]]
        cells = slice(cell_edges[i], cell_edges[i + 1])
        part = Plan(
            plan.heights[first:last], plan.filters[cells], (plan.tiles[cells] - first).astype(np.int32)
        )
        blocks.append(_block(part, filters[weights], inputs[weights]))
    return blocks


def with_heights(block: Block, heights: NDArray[np.int64]) -> Block:
    """The block with tiles of other `heights`, (tiles,) int64, each weight at its start."""
    order = np.lexsort((block.inputs, block.filters))
    plan = Plan(heights, block.cell_filters, block.cell_tiles)
    return _block(plan, block.filters[order], block.inputs[order])


def _block(plan: Plan, filters: Ids, inputs: Ids) -> Block:
    """The whole of `plan` as one block; both (weights,) int32, sorted by filter, then input."""
    lanes, columns = _start(plan, filters)
    return Block(
        heights=plan.heights,
        cell_filters=plan.filters,
        cell_tiles=plan.tiles,
        filters=filters,
        inputs=inputs,
        lanes=lanes.astype(np.int32),
        columns=columns.astype(np.int32),
    )


def _block_of_each(plan: Plan, edges: NDArray[np.int64], filters: Ids, inputs: Ids) -> NDArray[np.int64]:
    """The block of each weight: (weights,) int64.

    The weights of a filter with cells in several blocks are divided by its lanes in each. A block takes the
    weights with the inputs that its own filters read most; the others follow in order of inputs.
    """
    blocks = len(edges) - 1
    keys = plan.filters.astype(np.int64) * blocks + np.searchsorted(edges, plan.tiles, side="right") - 1
    pairs, number = np.unique(keys, return_inverse=True)
    room = np.bincount(number, plan.heights[plan.tiles]).astype(np.int64)
    owner, block = pairs // blocks, pairs % blocks
    owners, first = np.unique(owner, return_index=True)
    begin = np.searchsorted(filters, owners)
    sizes = np.diff(np.r_[begin, len(filters)])
    which = np.repeat(np.arange(len(owners)), np.diff(np.r_[first, len(pairs)]))
    filled = np.cumsum(room)
    base = np.r_[0, filled][first]
    total = filled[np.r_[first[1:], len(pairs)] - 1] - base
    ends = begin[which] + (filled - base[which]) * sizes[which] // total[which]
    shares = ends - np.maximum(np.r_[0, ends[:-1]], begin[which])
    in_block = np.repeat(block, shares)
    split = np.flatnonzero(np.diff(np.r_[first, len(pairs)]) > 1)
    if not len(split):
        return in_block
    readers = np.zeros((blocks, int(inputs.max()) + 1), np.int32)
    whole = ~np.isin(filters, owners[split])
    np.add.at(readers, (in_block[whole], inputs[whole]), 1)
    for i in split:
        weights = slice(begin[i], begin[i] + sizes[i])
        mine = slice(first[i], first[i + 1] if i + 1 < len(first) else len(pairs))
        in_block[weights] = _choose(readers[block[mine]], inputs[weights], shares[mine], block[mine])
    return in_block


def _choose(
    readers: Ids, inputs: Ids, shares: NDArray[np.int64], blocks: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The block of each weight of one filter: (weights,) int64.

    `readers`: (blocks, all inputs) int32, weights of the block's own filters that read each input. `inputs`: (weights,)
    int32. `shares`: (blocks,) int64, weights that each of `blocks` takes; the one with most takes the rest.
    """
    smallest_first = np.argsort(shares, kind="stable")
    chosen = np.full(len(inputs), blocks[smallest_first[-1]])
    free = np.arange(len(inputs))
    for j in smallest_first[:-1]:
        order = np.argsort(-readers[j][inputs[free]], kind="stable")
        chosen[free[order[: shares[j]]]] = blocks[j]
        free = np.sort(free[order[shares[j] :]])
    return chosen


def _start(plan: Plan, filters: Ids) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(lane, column) of each weight, over all tiles: two (weights,) int64."""
    column = columns_of_cells(plan.tiles)
    lane_base = np.r_[0, np.cumsum(plan.heights)]
    by_filter = np.lexsort((column, plan.tiles, plan.filters))
    cell_heights = plan.heights[plan.tiles[by_filter]]
    ends = np.cumsum(cell_heights)
    owners, first_cell = np.unique(plan.filters[by_filter], return_index=True)
    base = np.r_[0, ends][first_cell]
    room = np.diff(np.r_[base, ends[-1:]])
    which = np.searchsorted(owners, filters)
    first_weight = np.searchsorted(filters, owners)
    sizes = np.diff(np.r_[first_weight, len(filters)])
    rank = np.arange(len(filters)) - first_weight[which]
    slot = base[which] + rank * room[which] // sizes[which]
    cell = np.searchsorted(ends, slot, side="right")
    lane = slot - (ends - cell_heights)[cell] + lane_base[plan.tiles[by_filter[cell]]]
    return lane, column[by_filter[cell]]


def _edges(plan: Plan, inputs: int) -> NDArray[np.int64]:
    """First tile of each block, then the number of tiles; edges are where few filters have cells on both sides.

    A block has about as many tiles as its filters reach over. In shorter blocks, filters would be cut; in longer ones,
    a weight cannot reach most lanes, and the counts do not fit the caches.
    """
    tiles = len(plan.heights)
    owners, index, cells = np.unique(plan.filters, return_index=True, return_counts=True)
    number = np.searchsorted(owners, plan.filters)
    first, last = plan.tiles[index], np.zeros(len(owners), np.int64)
    np.maximum.at(last, number, plan.tiles)
    crossing = np.cumsum(np.bincount(first, minlength=tiles) - np.bincount(last, minlength=tiles))
    reach = np.bincount(plan.tiles, cells[number]) / np.bincount(plan.tiles)
    edges = [0]
    while edges[-1] < tiles:
        begin = edges[-1]
        wanted = max(_LEAST_TILES, _REACH * reach[begin])
        wanted = min(
            wanted, max(1.0, np.sqrt(_LARGEST_COUNTS * reach[begin] / (plan.heights[begin] * inputs)))
        )
        if begin + 1.5 * wanted >= tiles:
            edges.append(tiles)
            break
        least = begin + max(1, int(wanted * 2 / 3))
        edges.append(least + int(np.argmin(crossing[least - 1 : begin + int(wanted * 4 / 3) + 1])))
    return np.array(edges)
