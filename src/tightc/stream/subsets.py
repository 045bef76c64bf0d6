"""Which c of n things are chosen, in close to log2 of the number of possible choices. docs/stream.md, "Subsets"."""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.stream.bits import Bytes, bit_length, get_bits, get_choice, put_bits, put_choice

RANKED = 32  # of so few things the subset is numbered; of more, gaps are stored
BINOMIALS = np.array([[comb(n, c) for c in range(RANKED + 1)] for n in range(RANKED + 1)], np.int64)

Numbers = NDArray[np.int64]


@njit(nogil=True, cache=True)
def _others(members: Numbers, things: int) -> Numbers:
    """The numbers below `things` that are no `members`, rising: (things - c,) int64."""
    others = np.empty(things - len(members), np.int64)
    index = found = 0
    for thing in range(things):
        if index < len(members) and members[index] == thing:
            index += 1
        else:
            others[found] = thing
            found += 1
    return others


@njit(nogil=True, cache=True)
def put_subset(buffer: Bytes, position: int, members: Numbers, things: int) -> int:
    """Write `members`, (c,) int64 rising from 0 to `things` - 1; both counts are known to the reader.

    The next member is stored as a gap in a Golomb-Rice code (Rice and Plaunt, IEEE Trans. Commun. 19(6), 1971) while
    more than `RANKED` things are left, then the rest by its number among all subsets (Cover, IEEE Trans. Inf. Theory
    19(1), 1973). Where most of so many things are members, the others are stored.
    """
    if things > RANKED and 2 * len(members) > things:
        members = _others(members, things)
    first, index, count = 0, 0, len(members)
    while things - first > RANKED and 0 < count - index < things - first:
        left = count - index
        gap = members[index] - first
        width = bit_length((things - first) // left) - 1
        quotient = gap >> width
        for _ in range(quotient):
            position = put_bits(buffer, position, 1, 1)
        if quotient < (things - first - left) >> width:
            position += 1
        position = put_bits(buffer, position, gap & ((1 << width) - 1), width)
        first, index = members[index] + 1, index + 1
    left = count - index
    if left == 0 or left == things - first:
        return position
    options, rank = BINOMIALS[things - first, left], 0
    thing = first
    while index < count:
        if members[index] == thing:
            index += 1
        else:
            rank += BINOMIALS[things - thing - 1, count - index - 1]
        thing += 1
    return put_choice(buffer, position, rank, options)


@njit(nogil=True, cache=True)
def get_subset(buffer: Bytes, position: int, members: Numbers, things: int) -> int:
    """Read what `put_subset` wrote at `position` into `members`, (c,) int64; the position after it."""
    if things > RANKED and 2 * len(members) > things:
        others = np.empty(things - len(members), np.int64)
        position = _get_few(buffer, position, others, things)
        members[:] = _others(others, things)
        return position
    return _get_few(buffer, position, members, things)


@njit(nogil=True, cache=True)
def _get_few(buffer: Bytes, position: int, members: Numbers, things: int) -> int:
    """As `get_subset`, of stored `members`."""
    first, index, count = 0, 0, len(members)
    while things - first > RANKED and 0 < count - index < things - first:
        left = count - index
        width = bit_length((things - first) // left) - 1
        most, quotient = (things - first - left) >> width, 0
        while quotient < most and get_bits(buffer, position, 1):
            quotient, position = quotient + 1, position + 1
        if quotient < most:
            position += 1
        gap = quotient << width | get_bits(buffer, position, width)
        position += width
        if gap > things - first - left:
            raise ValueError("a gap leaves too few things")
        members[index] = first + gap
        first, index = members[index] + 1, index + 1
    left = count - index
    if left == things - first:
        for member in range(left):
            members[index + member] = first + member
        return position
    if left == 0:
        return position
    rank, position = get_choice(buffer, position, BINOMIALS[things - first, left])
    thing = first
    while index < count:
        with_it = BINOMIALS[things - thing - 1, count - index - 1]
        if rank < with_it:
            members[index] = thing
            index += 1
        else:
            rank -= with_it
        thing += 1
    return position
