"""The annealing kernel: swaps two weights of one filter between the lanes of a block of tiles.

A lane is a row of one of the tiles. The cost, in quarters so that it is an integer, is

    4 * (inputs beyond the fan-in, summed over lanes) + (inputs carried, summed over lanes)

A move swaps a weight with the content of a slot on another lane: a weight of the same filter, or nothing. That slot is
in the same or another column of its filter, in the same or another tile. So no move can lose a weight or give a column
two filters. Fifteen moves of sixteen go to a lane that already carries the input, found through another weight that
reads it; other moves seldom pay.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.permutation.annealing.rng import _draw, _next, _pick
from tightc.tile.matrix import Ids
from tightc.tile.packing import EMPTY

EXCESS_COST = 4
_WORST_RISE = 2 * (EXCESS_COST + 1)
_GUIDED = 240  # of 256 moves
_MANY = 2  # uses of EMPTY: it never comes as the first and never leaves as the last
_ONE = 4294967296.0


class AnnealingState(NamedTuple):
    """The state of a block in the kernel: weights, filters, inputs, tiles and lanes are numbered from 0.

    `slots`: (lanes, columns) int32, the weight in each slot or EMPTY. Of each weight: `filter_of`, `lane_of`,
    `column_of`, all (weights,) int32, and `input_of`, (weights + 1,) int32: the last, with index EMPTY, is EMPTY too.
    `users`: (weights,) int32, the weights that read input i are `users[user_starts[i] : user_starts[i + 1]]`.
    `tile_of`: (lanes,) int32. A filter's columns in a tile lie side by side: `first_column`, `column_count`: (filters,
    tiles) int32. Its columns over all tiles are `cell_starts[f] : cell_starts[f + 1]` in `cell_lane`, `cell_height` and
    `cell_column`: (cells,) int32 each. `counts`: (inputs + 1, lanes) unsigned, how many slots of a lane multiply each
    input, and _MANY for EMPTY; `carried`: (lanes,) int32, how many inputs a lane carries.
    """

    slots: Ids
    input_of: Ids
    filter_of: Ids
    lane_of: Ids
    column_of: Ids
    user_starts: Ids
    users: Ids
    tile_of: Ids
    first_column: Ids
    column_count: Ids
    cell_starts: Ids
    cell_lane: Ids
    cell_height: Ids
    cell_column: Ids
    counts: NDArray[Any]
    carried: Ids


@njit(nogil=True, cache=True)
def _count(state: AnnealingState) -> None:
    """Recounts `counts` and `carried` from `lane_of`."""
    state.counts[:, :] = 0
    state.counts[-1, :] = _MANY
    state.carried[:] = 0
    for weight in range(len(state.lane_of)):
        lane, item = state.lane_of[weight], state.input_of[weight]
        if state.counts[item, lane] == 0:
            state.carried[lane] += 1
        state.counts[item, lane] += 1


@njit(nogil=True, cache=True)
def _cost(carried: Ids, fan_in: int) -> tuple[int, int]:
    """(cost in quarters, inputs beyond the fan-in) of lanes that carry `carried`: (lanes,) int32."""
    inputs = 0
    excess = 0
    for lane in range(len(carried)):
        inputs += carried[lane]
        excess += max(0, carried[lane] - fan_in)
    return EXCESS_COST * excess + inputs, excess


@njit(nogil=True, cache=True)
def _lane_change(
    counts: NDArray[Any], lane: int, leaving: int, coming: int, carried: int, fan_in: int
) -> tuple[int, int]:
    """(change of the inputs on `lane`, change of its cost in quarters) when one weight leaves and another comes.

    `counts`: as in the state; `leaving`, `coming`: inputs or EMPTY, different.
    """
    change = int(counts[coming, lane] == 0) - int(counts[leaving, lane] == 1)
    excess = max(0, carried + change - fan_in) - max(0, carried - fan_in)
    return change, change + EXCESS_COST * excess


@njit(nogil=True, cache=True)
def _target(state: AnnealingState, weight: np.int64, bits: np.uint64) -> tuple[int, int]:
    """(lane, column) of a slot that `weight` may move to, any of its filter's; `bits` are 64 random ones."""
    item, owner = state.input_of[weight], state.filter_of[weight]
    first = state.user_starts[item]
    users = state.user_starts[item + 1] - first
    if users > 1 and (bits & np.uint64(0xFF)) < _GUIDED:
        lane = state.lane_of[state.users[first + _pick(bits >> np.uint64(8), users)]]
        tile = state.tile_of[lane]
        width = state.column_count[owner, tile]
        if width > 0:
            return lane, state.first_column[owner, tile] + _pick(bits >> np.uint64(40), width)
    first = state.cell_starts[owner]
    cell = first + _pick(bits >> np.uint64(8), state.cell_starts[owner + 1] - first)
    return state.cell_lane[cell] + _pick(bits >> np.uint64(40), state.cell_height[cell]), state.cell_column[
        cell
    ]


@njit(nogil=True, cache=True)
def _save(state: AnnealingState, best: Ids) -> None:
    """Copies the place of each weight into `best`, (2, weights) int32: lane and column."""
    best[0, :] = state.lane_of
    best[1, :] = state.column_of


@njit(nogil=True, cache=True)
def _try_moves(
    state: AnnealingState,
    best: Ids,
    tally: NDArray[np.int64],
    fan_in: int,
    temperature: float,
    moves: int,
    rng: np.uint64,
) -> np.uint64:
    """Tries `moves` moves at one temperature, in place; returns the next state of `rng`.

    `best`: (2, weights) int32, lane and column of each weight in the best state so far, updated. `tally`: (3,) int64,
    cost and best cost in quarters and moves accepted so far, updated. `temperature`: in units of the cost, where one
    input beyond the fan-in is 1. `rng`: state of the random numbers, not 0.
    """
    accept = np.zeros(_WORST_RISE + 1, np.int64)
    for rise in range(_WORST_RISE + 1):
        accept[rise] = np.int64(_ONE * np.exp(-rise / (EXCESS_COST * temperature)))
    weights = len(state.lane_of)
    cost, best_cost, accepted = tally[0], tally[1], 0
    unsaved = False
    for _ in range(moves):
        rng = _next(rng)
        bits = _draw(rng)
        weight = (np.int64(bits >> np.uint64(32)) * weights) >> 32
        rng = _next(rng)
        to_lane, to_column = _target(state, weight, _draw(rng))
        from_lane = state.lane_of[weight]
        if from_lane == to_lane:
            continue
        item = state.input_of[weight]
        other = state.slots[to_lane, to_column]
        back = state.input_of[other]
        if item == back:
            continue
        change_from, rise_from = _lane_change(
            state.counts, from_lane, item, back, state.carried[from_lane], fan_in
        )
        change_to, rise_to = _lane_change(state.counts, to_lane, back, item, state.carried[to_lane], fan_in)
        rise = rise_from + rise_to
        if rise > 0:
            if np.int64(bits & np.uint64(0xFFFFFFFF)) >= accept[rise]:
                continue
            if unsaved:
                _save(state, best)
                unsaved = False
        from_column = state.column_of[weight]
        state.slots[from_lane, from_column] = other
        state.slots[to_lane, to_column] = weight
        state.lane_of[weight], state.column_of[weight] = to_lane, to_column
        state.counts[item, from_lane] -= 1
        state.counts[item, to_lane] += 1
        if other != EMPTY:
            state.lane_of[other], state.column_of[other] = from_lane, from_column
            state.counts[back, to_lane] -= 1
            state.counts[back, from_lane] += 1
        state.carried[from_lane] += change_from
        state.carried[to_lane] += change_to
        cost += rise
        accepted += 1
        if cost < best_cost:
            best_cost = cost
            unsaved = True
    if unsaved:
        _save(state, best)
    tally[0], tally[1] = cost, best_cost
    tally[2] += accepted
    return rng
