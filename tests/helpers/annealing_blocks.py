"""Random blocks of tiles for the kernels, and what is true of a state of one, in plain Python."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tightc.permutation.annealing.block import Block
from tightc.permutation.annealing.kernel import AnnealingState
from tightc.tile.packing import EMPTY


@st.composite
def blocks(draw: st.DrawFn, inputs: int = 6) -> Block:
    """Up to three tiles of different heights whose filters have one column or several, in one tile or in several.

    Some have one lane, one column or a single weight; some of their cells no weight at all.
    """
    heights = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    filters = draw(st.integers(1, 4))
    owners = [sorted(draw(st.lists(st.integers(0, filters - 1), min_size=1, max_size=4))) for _ in heights]
    few = draw(st.sampled_from([None, None, None, 1]))
    return block(heights, owners, inputs, draw(st.integers(0, 2**20)), few)


def block(
    heights: list[int], owners: list[list[int]], inputs: int = 6, seed: int = 0, few: int | None = None
) -> Block:
    """A block with the filter of each column of each tile and weights at random, `few` in all or as many as like.

    A filter reads an input once, as in a layer; its weights start in any of its slots.
    """
    rng = np.random.default_rng(seed)
    bases = np.r_[0, np.cumsum(heights)]
    slots: dict[int, list[tuple[int, int]]] = {}
    for tile, row in enumerate(owners):
        for column, owner in enumerate(row):
            places = [(int(bases[tile]) + lane, column) for lane in range(heights[tile])]
            slots.setdefault(owner, []).extend(places)
    weights = []
    for owner, places in sorted(slots.items()):
        count = int(rng.integers(1, min(len(places), inputs) + 1))
        chosen = rng.choice(len(places), count, replace=False)
        read = np.sort(rng.choice(inputs, count, replace=False))
        weights += [(owner, int(k), *places[at]) for k, at in zip(read, chosen, strict=True)]
    filters, read, lanes, columns = np.array(weights[:few], np.int32).T.copy()
    return Block(
        heights=np.array(heights, np.int64),
        cell_filters=np.array([owner for row in owners for owner in row], np.int32),
        cell_tiles=np.array([tile for tile, row in enumerate(owners) for _ in row], np.int32),
        filters=filters,
        inputs=read,
        lanes=lanes,
        columns=columns,
    )


def lanes_of(block: Block, lanes: np.ndarray) -> list[set[int]]:
    """The inputs of each lane of a block whose weights are on `lanes`."""
    carried: list[set[int]] = [set() for _ in range(int(block.heights.sum()))]
    for lane, item in zip(lanes.tolist(), block.inputs.tolist(), strict=True):
        carried[lane].add(item)
    return carried


def cost(block: Block, lanes: np.ndarray, fan_in: int) -> int:
    """Quarters: 4 for each input beyond the fan-in of its lane, 1 for each input carried."""
    return sum(len(lane) + 4 * max(0, len(lane) - fan_in) for lane in lanes_of(block, lanes))


def place_faults(block: Block, lanes: np.ndarray, columns: np.ndarray) -> list[str]:
    """What is wrong with the places of a block's weights: all of them, distinct slots, columns of their filters."""
    faults = []
    if not len(lanes) == len(columns) == len(block.filters):
        return ["weights lost"]
    tile_of = [tile for tile, height in enumerate(block.heights.tolist()) for _ in range(height)]
    cells: list[list[int]] = [[] for _ in block.heights]
    for owner, tile in zip(block.cell_filters.tolist(), block.cell_tiles.tolist(), strict=True):
        cells[tile].append(owner)
    taken = set()
    for owner, lane, column in zip(block.filters.tolist(), lanes.tolist(), columns.tolist(), strict=True):
        if not 0 <= lane < len(tile_of):
            faults.append(f"no lane {lane}")
        elif not 0 <= column < len(cells[tile_of[lane]]):
            faults.append(f"no column {column} in tile {tile_of[lane]}")
        elif cells[tile_of[lane]][column] != owner:
            faults.append(f"filter {owner} in a column of {cells[tile_of[lane]][column]}")
        if (lane, column) in taken:
            faults.append(f"two weights in {lane}, {column}")
        taken.add((lane, column))
    return faults


def state_faults(state: AnnealingState, block: Block) -> list[str]:
    """What is wrong with a state of `block`."""
    faults = place_faults(block, state.lane_of, state.column_of)
    if faults:
        return faults
    slots = [[EMPTY] * state.slots.shape[1] for _ in range(len(state.slots))]
    for weight, (lane, column) in enumerate(zip(state.lane_of, state.column_of, strict=True)):
        slots[lane][column] = weight
    if slots != state.slots.tolist():
        faults.append("slots and places differ")
    used = sorted(set(block.inputs.tolist()))
    numbers = {item: number for number, item in enumerate(used)}
    counts = [[0] * len(used) for _ in slots]
    for lane, item in zip(state.lane_of.tolist(), block.inputs.tolist(), strict=True):
        counts[lane][numbers[item]] += 1
    if counts != state.counts[:-1].T.tolist() or (state.counts[-1] < 2).any():
        faults.append("counts are not a recount")
    if [sum(count > 0 for count in row) for row in counts] != state.carried.tolist():
        faults.append("carried is not a recount")
    return faults
