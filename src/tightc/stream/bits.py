"""Numbers as bits, the most significant bit first, and back. docs/stream.md, "Numbers"."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit

Bytes = NDArray[np.uint8]

LONGEST_GAMMA = 32


@njit(nogil=True, cache=True)
def put_bits(buffer: Bytes, position: int, value: int, count: int) -> int:
    """Write `value` in `count` bits, up to 62, from bit `position` of a zeroed `buffer`; the position after it."""
    for place in range(count - 1, -1, -1):
        if (value >> place) & 1:
            buffer[position >> 3] |= np.uint8(128 >> (position & 7))
        position += 1
    return position


@njit(nogil=True, cache=True)
def get_bits(buffer: Bytes, position: int, count: int) -> int:
    """The `count` bits from `position` as a number; ValueError beyond the end."""
    if position + count > 8 * len(buffer):
        raise ValueError("it ends too early")
    value = 0
    for at in range(position, position + count):
        value = value << 1 | int(np.int64(buffer[at >> 3]) >> (7 - (at & 7))) & 1
    return value


@njit(nogil=True, cache=True)
def bit_length(number: int) -> int:
    """Bits of `number`, 0 for 0."""
    length = 0
    while number >> length:
        length += 1
    return length


@njit(nogil=True, cache=True)
def put_gamma(buffer: Bytes, position: int, number: int) -> int:
    """Write any `number` from 0: the Elias gamma code of number + 1 (Elias, IEEE Trans. Inf. Theory 21(2), 1975)."""
    length = bit_length(number + 1)
    return put_bits(buffer, position + length - 1, number + 1, length)


@njit(nogil=True, cache=True)
def get_gamma(buffer: Bytes, position: int) -> tuple[int, int]:
    """(the number that `put_gamma` wrote at `position`, the position after it)."""
    zeros = 0
    while get_bits(buffer, position + zeros, 1) == 0:
        zeros += 1
        if zeros > LONGEST_GAMMA:
            raise ValueError("a number has too many bits")
    position += zeros
    return get_bits(buffer, position, zeros + 1) - 1, position + zeros + 1


@njit(nogil=True, cache=True)
def put_choice(buffer: Bytes, position: int, choice: int, options: int) -> int:
    """Write one of `options` numbers from 0 in truncated binary: floor(log2 options) bits or one more."""
    width = bit_length(options) - 1
    short = (2 << width) - options
    if choice < short:
        return put_bits(buffer, position, choice, width)
    return put_bits(buffer, position, choice + short, width + 1)


@njit(nogil=True, cache=True)
def get_choice(buffer: Bytes, position: int, options: int) -> tuple[int, int]:
    """(the choice that `put_choice` wrote at `position`, the position after it)."""
    width = bit_length(options) - 1
    short = (2 << width) - options
    choice = get_bits(buffer, position, width)
    if choice < short:
        return choice, position + width
    return (choice << 1 | get_bits(buffer, position + width, 1)) - short, position + width + 1


def choice_bits(choice: int, options: int) -> int:
    """How many bits `put_choice` writes."""
    width = options.bit_length() - 1
    return width + (choice >= (2 << width) - options)
