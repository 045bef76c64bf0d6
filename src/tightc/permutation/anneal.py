"""The annealing kernel: swaps two weights of one column between the lanes of a tile.

Lanes are the rows of a tile. The cost, counted in quarters so that it stays whole, is

    4 * (inputs beyond the fan-in, summed over lanes) + (inputs carried, summed over lanes)

A swap keeps every weight in its column, so no move can lose one.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

EMPTY = -1
EXCESS_COST = 4
_WORST_RISE = 2 * (EXCESS_COST + 1)
_DRAWS = 65536.0
_MASK = np.uint64(0xFFFF)


@njit(nogil=True, cache=True)
def _count_inputs(slots: NDArray[np.int32], distinct_inputs: int) -> NDArray[np.int16]:
    """How many slots of each lane multiply each input: (lanes, distinct_inputs) int16; `slots` is as in `_anneal`."""
    counts = np.zeros((slots.shape[0], distinct_inputs), np.int16)
    for lane in range(slots.shape[0]):
        for column in range(slots.shape[1]):
            if slots[lane, column] != EMPTY:
                counts[lane, slots[lane, column]] += 1
    return counts


@njit(nogil=True, cache=True)
def _cost(slots: NDArray[np.int32], fan_in: int) -> tuple[int, int]:
    """(cost in quarters, inputs beyond the fan-in) of a tile, counted afresh; `slots` is as in `_anneal`."""
    distinct_inputs = slots.max() + 1
    counts = _count_inputs(slots, distinct_inputs)
    carried_by_all = 0
    excess = 0
    for lane in range(slots.shape[0]):
        carried = 0
        for item in range(distinct_inputs):
            if counts[lane, item] > 0:
                carried += 1
        carried_by_all += carried
        excess += max(0, carried - fan_in)
    return EXCESS_COST * excess + carried_by_all, excess


@njit(nogil=True, cache=True)
def _lane_change(
    counts: NDArray[np.int16], leaving: int, coming: int, carried: int, fan_in: int
) -> tuple[int, int]:
    """(change of a lane's carried inputs, change of its cost in quarters) when one weight leaves and another comes.

    `counts`: (distinct_inputs,) int16, uses of each input on the lane; `leaving`, `coming`: inputs or EMPTY, different.
    """
    change = 0
    if coming != EMPTY and counts[coming] == 0:
        change += 1
    if leaving != EMPTY and counts[leaving] == 1:
        change -= 1
    excess = max(0, carried + change - fan_in) - max(0, carried - fan_in)
    return change, change + EXCESS_COST * excess


@njit(nogil=True, cache=True)
def _anneal(
    slots: NDArray[np.int32],
    best: NDArray[np.int32],
    fan_in: int,
    temperatures: NDArray[np.float64],
    moves: int,
    state: np.uint64,
) -> tuple[int, np.uint64]:
    """Anneals one tile in place; gives the cost of `best` in quarters and the state to go on with.

    `slots`: (lanes, columns) int32, the number of the input that a slot multiplies among the tile's own, EMPTY for an
    empty slot; ends as the last state. `best`: the same shape, ends as the best state that it or `slots` ever held.
    `temperatures`: (steps,) float64, in units of the cost (one input beyond the fan-in = 1); each holds for `moves`
    moves. `state`: of the random numbers, anything but 0.
    """
    lanes, columns = slots.shape
    distinct_inputs = slots.max() + 1
    counts = _count_inputs(slots, distinct_inputs)
    carried = np.zeros(lanes, np.int64)
    for lane in range(lanes):
        for item in range(distinct_inputs):
            carried[lane] += counts[lane, item] > 0
    cost, _ = _cost(slots, fan_in)
    best_cost, _ = _cost(best, fan_in)
    unsaved = cost < best_cost
    best_cost = min(cost, best_cost)
    accept = np.zeros(_WORST_RISE + 1, np.int64)
    for temperature in temperatures:
        for rise in range(_WORST_RISE + 1):
            accept[rise] = np.int64(_DRAWS * np.exp(-rise / (EXCESS_COST * temperature)))
        for _ in range(moves):
            # xorshift64* (Vigna 2016): one step gives four draws of 16 bits
            state ^= state >> np.uint64(12)
            state ^= state << np.uint64(25)
            state ^= state >> np.uint64(27)
            draw = state * np.uint64(2685821657736338717)
            column = (np.int64(draw & _MASK) * columns) >> 16
            one = (np.int64((draw >> np.uint64(16)) & _MASK) * lanes) >> 16
            two = (np.int64((draw >> np.uint64(32)) & _MASK) * lanes) >> 16
            here = slots[one, column]
            there = slots[two, column]
            if here == there:
                continue
            change_one, rise_one = _lane_change(counts[one], here, there, carried[one], fan_in)
            change_two, rise_two = _lane_change(counts[two], there, here, carried[two], fan_in)
            rise = rise_one + rise_two
            if rise > 0:
                if np.int64(draw >> np.uint64(48)) >= accept[rise]:
                    continue
                if unsaved:
                    best[:, :] = slots
                    unsaved = False
            slots[one, column] = there
            slots[two, column] = here
            if here != EMPTY:
                counts[one, here] -= 1
                counts[two, here] += 1
            if there != EMPTY:
                counts[one, there] += 1
                counts[two, there] -= 1
            carried[one] += change_one
            carried[two] += change_two
            cost += rise
            if cost < best_cost:
                best_cost = cost
                unsaved = True
    if unsaved:
        best[:, :] = slots
    return best_cost, state
