"""Which lane carries each input of a tile: on the first lane with room, unless the stream says otherwise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.stream.bits import Bytes, get_choice

Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]

NOT_PLACED = -1
_COARSE = 16  # numbers of ranked inputs that are tried first


@njit(nogil=True, cache=True)
def place(
    columns: Words, order: Numbers, fan_in: int, wanted: Numbers, ranked: int, lanes: int
) -> tuple[int, Numbers, Numbers, Numbers]:
    """(lanes opened, lane, rank and options of each lane input); no lanes opened where `lanes` are too few.

    `columns`: (lane inputs, words) uint64, a bit for each column in which an input is multiplied. `order`: the lane
    inputs in the order in which they are placed. The first `ranked` of them go to the lane named in `wanted`, (lane
    inputs,) int64 in any numbering; the others to the first open lane with room, or to a new one. A lane has room for
    up to `fan_in` inputs with no column in common. A rank counts the open lanes with room before the chosen one; a
    new lane comes last. Ranks and options of inputs beyond `ranked` are 0.
    """
    count, words = columns.shape
    taken = np.zeros((lanes, words), np.uint64)
    carried = np.zeros(lanes, np.int64)
    names = np.full(lanes, NOT_PLACED, np.int64)
    lane_of = np.full(count, NOT_PLACED, np.int64)
    ranks = np.zeros(count, np.int64)
    options = np.zeros(count, np.int64)
    opened = 0
    for step in range(count):
        item = order[step]
        chosen = NOT_PLACED
        possible = 0
        for lane in range(opened):
            if carried[lane] >= fan_in:
                continue
            free = True
            for word in range(words):
                if taken[lane, word] & columns[item, word]:
                    free = False
                    break
            if not free:
                continue
            if step >= ranked:
                chosen = lane
                break
            if names[lane] == wanted[item]:
                chosen = lane
                ranks[item] = possible
            possible += 1
        if step < ranked:
            options[item] = possible + (1 if opened < lanes else 0)
        if chosen == NOT_PLACED:
            if opened == lanes:
                return 0, lane_of, ranks, options
            chosen = opened
            opened += 1
            if step < ranked:
                ranks[item] = possible
                names[chosen] = wanted[item]
        for word in range(words):
            taken[chosen, word] |= columns[item, word]
        carried[chosen] += 1
        lane_of[item] = chosen
    return opened, lane_of, ranks, options


@njit(nogil=True, cache=True)
def place_as_stored(
    buffer: Bytes, position: int, columns: Words, order: Numbers, fan_in: int, ranked: int, lanes: int
) -> tuple[int, Numbers]:
    """(position after the ranks, lane of each lane input): as `place` where ranks are read at `position`."""
    count, words = columns.shape
    taken = np.zeros((lanes, words), np.uint64)
    carried = np.zeros(lanes, np.int64)
    lane_of = np.full(count, NOT_PLACED, np.int64)
    room = np.zeros(lanes + 1, np.int64)
    opened = 0
    for step in range(count):
        item = order[step]
        possible = 0
        for lane in range(opened):
            free = carried[lane] < fan_in
            for word in range(words):
                free = free and not taken[lane, word] & columns[item, word]
            if free:
                room[possible] = lane
                possible += 1
                if step >= ranked:
                    break
        if opened < lanes:
            room[possible] = opened
            possible += 1
        if possible == 0:
            raise ValueError("no lane has room for an input")
        rank = 0
        if step < ranked:
            rank, position = get_choice(buffer, position, possible)
        chosen = room[rank]
        opened = max(opened, chosen + 1)
        for word in range(words):
            taken[chosen, word] |= columns[item, word]
        carried[chosen] += 1
        lane_of[item] = chosen
    return position, lane_of


def fewest_ranked(columns: Words, order: Numbers, fan_in: int, wanted: Numbers, lanes: int) -> int:
    """How many inputs must go to the lanes `wanted` so that all fit on `lanes` lanes: few, not always the fewest.

    Arrays as in `place`. All of them fit on the lanes wanted.
    """

    def fits(ranked: int) -> bool:
        return bool(place(columns, order, fan_in, wanted, ranked, lanes)[0])

    count = len(order)
    tries = [count * part // _COARSE for part in range(_COARSE)]
    most = next((tried for tried in tries if fits(tried)), count)
    least = max((tried for tried in tries if tried < most), default=-1) + 1
    while least < most:
        middle = (least + most) // 2
        if fits(middle):
            most = middle
        else:
            least = middle + 1
    return most
