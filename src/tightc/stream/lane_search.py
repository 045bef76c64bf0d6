"""Which lane inputs take the slots of a tile, so that the stream needs few bits: few ranks, and few inputs repeated."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.stream.bits import bit_length

Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]

BIT = 256  # costs are whole numbers of 1/BIT bits, so that every machine adds up the same
NOTHING = -1
_TRIES = 128  # for each number of inputs with a rank
_FIRST_TRIES, _FEW_LEFT = 16, 6  # after so many tries, one of them has to have left so few slots over
_RANKED = (0, 2, 4, 6, 8, 12, 16, 24)  # numbers of inputs with a rank that are tried, in 1/32 of the inputs
_LEVELS = 12  # of noise
_FRACTIONS = 16  # parts of a column in which noise is drawn
_WORD = 64


class Limits(NamedTuple):
    """What a tile may take: up to `fan_in` inputs on each of `lanes` lanes, `inputs` in all; `rows` of the array."""

    fan_in: int
    lanes: int
    rows: int
    inputs: int


class Costs(NamedTuple):
    """Bits of what a tile stores, times BIT.

    `uses`: (groups, columns + 1) int64, of a lane input by its group and its number of slots. `group`: (inputs,) int64.
    `repeats`: (n,) int64, by how many lane inputs are the same as another.
    """

    uses: Numbers
    group: Numbers
    repeats: Numbers


class LaneInputs(NamedTuple):
    """`columns`: (lane inputs, words) uint64, a bit for each slot. `names` and `lanes`: (lane inputs,) int64."""

    columns: Words
    names: Numbers
    lanes: Numbers


class _Lanes(NamedTuple):
    """Columns `taken`, (lanes, words) uint64; inputs `carried` and slots in all, `fill`, (lanes,) int64."""

    taken: Words
    carried: Numbers
    fill: Numbers


@njit(nogil=True, cache=True)
def search_lanes(columns: Words, limits: Limits, costs: Costs) -> tuple[int, LaneInputs]:
    """(cost, lane inputs) of the cheapest of several placings within `limits`; NOTHING as cost where none succeeds.

    `columns`: (inputs, words) uint64, a bit for each column in which an input is multiplied. Inputs are placed in the
    order of the stream. The first few go to a full or an empty lane, by noise; the others to the first lane with room
    (first fit decreasing: Johnson, SIAM J. Comput. 3(4), 1974). An input that has room nowhere is split. Many greedy
    placings with noise, of which the best is kept: Feo and Resende, J. Global Optim. 6, 1995.
    """
    count = len(columns)
    best = NOTHING
    found = LaneInputs(columns, np.arange(count), np.full(count, NOTHING, np.int64))
    random = np.ones(1, np.int64)
    for part in _RANKED:
        before, least = best, _FEW_LEFT + 1
        for noise in range(_TRIES):
            if noise == _FIRST_TRIES and least > _FEW_LEFT and best == before:
                break
            bits, placed = _place_with_noise(columns, limits, count * part // 32, noise, random)
            if bits < 0:
                least = min(least, -bits)
                continue
            cost = bits * BIT + costs.repeats[len(placed.names) - count]
            for item in range(len(placed.names)):
                cost += costs.uses[costs.group[placed.names[item]], _size(placed.columns[item])]
            if best < 0 or cost < best:
                best, found = cost, placed
        if before >= 0 and best == before:
            break
    return best, found


@njit(nogil=True, cache=True)
def _place_with_noise(
    columns: Words, limits: Limits, ranked: int, noise: int, random: Numbers
) -> tuple[int, LaneInputs]:
    """(bits of the ranks, lane inputs) of one placing; less than 0 bits, by the slots left over, where it fails."""
    count, words = columns.shape
    own = np.zeros((limits.inputs, words), np.uint64)
    names = np.zeros(limits.inputs, np.int64)
    own[:count], names[:count] = columns, np.arange(count)
    placed = np.full(limits.inputs, NOTHING, np.int64)
    sizes = np.array([_size(item) for item in own])
    lanes = _Lanes(
        np.zeros((limits.lanes, words), np.uint64),
        np.zeros(limits.lanes, np.int64),
        np.zeros(limits.lanes, np.int64),
    )
    opened = step = bits = 0
    for size in range(sizes.max(), 0, -1):
        same = np.flatnonzero(sizes[:count] == size)
        keys = np.array([names[item] * words * _WORD + _first(own[item]) for item in same])
        for item in same[np.argsort(keys)]:
            level = noise if step < ranked else NOTHING
            lane, rank, possible = _lane_with_room(lanes, opened, limits, own[item], level, random)
            if lane == NOTHING and opened < limits.lanes:
                lane, rank = opened, possible
            if lane != NOTHING:
                if step < ranked:
                    bits += _choice_bits(rank, possible + (1 if opened < limits.rows else 0))
                opened = max(opened, lane + 1)
                _put_on(lanes, lane, own[item])
                placed[item] = lane
                step += 1
                continue
            lane = _lane_to_split(lanes, limits, own[item], noise, random)
            if lane == NOTHING or count == limits.inputs:
                left = sizes[:count][placed[:count] == NOTHING].sum()
                return -left, LaneInputs(own, names, placed)
            own[count], names[count] = own[item] & lanes.taken[lane], names[item]
            own[item] &= ~lanes.taken[lane]
            sizes[item], sizes[count] = _size(own[item]), _size(own[count])
            count += 1
    return bits, LaneInputs(own[:count].copy(), names[:count].copy(), placed[:count].copy())


@njit(nogil=True, cache=True)
def _put_on(lanes: _Lanes, lane: int, columns: Words) -> None:
    """`lane` also carries an input with these `columns`."""
    for word in range(len(columns)):
        lanes.taken[lane, word] |= columns[word]
    lanes.carried[lane] += 1
    lanes.fill[lane] += _size(columns)


@njit(nogil=True, cache=True)
def _lane_with_room(
    lanes: _Lanes, opened: int, limits: Limits, columns: Words, noise: int, random: Numbers
) -> tuple[int, int, int]:
    """(the lane for an input, its rank, how many of the `opened` lanes have room); NOTHING as lane where none has.

    The first one without `noise`; otherwise by turns about the fullest and about the emptiest.
    """
    chosen, rank, possible, best = NOTHING, 0, 0, 0
    for lane in range(opened):
        if lanes.carried[lane] >= limits.fan_in or _common(lanes.taken[lane], columns):
            continue
        if noise == NOTHING:
            return lane, 0, 1
        score = (-lanes.fill[lane] if noise % 2 else lanes.fill[lane]) * _FRACTIONS
        score += _draw(random, 1 + _FRACTIONS * (noise % _LEVELS))
        if chosen == NOTHING or score > best:
            best, chosen, rank = score, lane, possible
        possible += 1
    return chosen, rank, possible


@njit(nogil=True, cache=True)
def _lane_to_split(lanes: _Lanes, limits: Limits, columns: Words, noise: int, random: Numbers) -> int:
    """The lane that has room for about the most columns of an input, NOTHING if none has room for one."""
    chosen, best = NOTHING, 0
    for lane in range(limits.lanes):
        free = _size(columns) - _common(lanes.taken[lane], columns)
        if lanes.carried[lane] >= limits.fan_in or free == 0:
            continue
        score = free * _FRACTIONS + _draw(random, 1 + _FRACTIONS * (noise % _LEVELS) // 2)
        if score > best:
            best, chosen = score, lane
    return chosen


@njit(nogil=True, cache=True)
def _draw(random: Numbers, among: int) -> int:
    """A number below `among`: the generator of the C standard, ISO/IEC 9899, 7.22.2, with `random` as its state."""
    random[0] = (random[0] * 1103515245 + 12345) & 0x7FFFFFFF
    return int(random[0] >> 12) % among


@njit(nogil=True, cache=True)
def _choice_bits(choice: int, options: int) -> int:
    """Bits of `put_choice`."""
    width = bit_length(options) - 1
    return width + (1 if choice >= (2 << width) - options else 0)


@njit(nogil=True, cache=True)
def _size(columns: Words) -> int:
    """How many columns there are."""
    return _common(columns, columns)


@njit(nogil=True, cache=True)
def _common(one: Words, other: Words) -> int:
    """How many columns are in both."""
    common = 0
    for word in range(len(one)):
        left = one[word] & other[word]
        while left:
            left &= left - np.uint64(1)
            common += 1
    return common


@njit(nogil=True, cache=True)
def _first(columns: Words) -> int:
    """The first of the columns."""
    for word in range(len(columns)):
        if columns[word]:
            place = 0
            while not (columns[word] >> np.uint64(place)) & np.uint64(1):
                place += 1
            return word * _WORD + place
    return 0
