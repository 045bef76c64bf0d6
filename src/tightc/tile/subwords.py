"""Subwords: the magnitude of a whole number as digits of a few bits, each of which takes a slot of its own.

TCAD 2023 ("Tight Compression", arXiv 2104.01303) prunes them one by one: a weight of eight bits is a sign and two
digits of four bits, magnitude = 16 * high + low. A weight that needs one digit alone takes one slot.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 127  # magnitude of sign and magnitude in eight bits
_WORD = 8

Int8 = NDArray[np.int8]
Table = NDArray[np.uint8]


def subwords_of(bits: int) -> int:
    """How many digits of `bits`, 2 or 4, a word of eight bits has."""
    return _WORD // bits


def split(values: Int8, bits: int) -> Int8:
    """The digits of `values`, most significant first, each with the sign of its value: (..., digits) int8.

    ValueError for -128, whose magnitude has eight bits.
    """
    if (values == -LARGEST - 1).any():
        raise ValueError("-128 has no sign and magnitude in eight bits")
    magnitudes = np.abs(values)[..., None] >> _shifts(bits)
    digits: Int8 = (np.sign(values)[..., None] * (magnitudes & (2**bits - 1))).astype(np.int8)
    return digits


def join(digits: Int8, bits: int) -> Int8:
    """The values whose digits, with one sign, are `digits`, (..., digits) int8: the inverse of `split`."""
    values: Int8 = (digits.astype(np.int64) << _shifts(bits)).sum(axis=-1).astype(np.int8)
    return values


def counts(values: Int8, bits: int) -> NDArray[np.int64]:
    """How many digits of each of `values` are not zero, same shape."""
    used: NDArray[np.int64] = np.count_nonzero(split(values, bits), axis=-1).astype(np.int64)
    return used


@cache
def nearest(bits: int) -> Table:
    """For a number of digits j and a magnitude m what is nearest to m with at most j digits other than zero.

    (digits + 1, 128) uint8; of two as near that with fewer such digits, then the smaller.
    """
    used = counts(np.arange(LARGEST + 1, dtype=np.int8), bits)
    return np.array([_closest(np.flatnonzero(used <= most), used) for most in range(subwords_of(bits) + 1)])


@cache
def within(bits: int) -> Table:
    """For a set of digits and a magnitude m what is nearest to m with no digit other than zero outside the set.

    (2 ** digits, 128) uint8; a set is the sum of 2 ** place over its digits, places counted from the least significant.
    """
    used = counts(np.arange(LARGEST + 1, dtype=np.int8), bits)
    tables = []
    for members in range(2 ** subwords_of(bits)):
        choices = [range(2**bits) if members >> place & 1 else (0,) for place in range(subwords_of(bits))]
        sums = {sum(d << bits * place for place, d in enumerate(digits)) for digits in product(*choices)}
        tables.append(_closest(np.array(sorted(value for value in sums if value <= LARGEST)), used))
    return np.array(tables)


def places(values: Int8, bits: int) -> NDArray[np.uint8]:
    """The set, as in `within`, of the digits of each of `values` that are not zero; same shape."""
    marks = 1 << np.arange(subwords_of(bits))[::-1]
    sets: Table = ((split(values, bits) != 0) * marks).sum(axis=-1).astype(np.uint8)
    return sets


def nth_subword(values: Int8, ranks: NDArray[np.int64], bits: int) -> tuple[Int8, NDArray[np.int64]]:
    """(digit, place) number `ranks` of those of each of `values` that are not zero, the most significant being 0.

    All (values,); a digit has the sign of its value, and is zero where it has not so many; places are counted from the
    least significant.
    """
    digits = split(values, bits)
    order = np.argsort(digits == 0, axis=-1, kind="stable")
    most = subwords_of(bits) - 1
    chosen = np.take_along_axis(order, np.minimum(ranks, most)[:, None], axis=-1)
    found = np.take_along_axis(digits, chosen, axis=-1)[:, 0]
    return np.where(ranks <= most, found, np.int8(0)), most - chosen[:, 0]


def _closest(values: NDArray[np.int64], used: NDArray[np.int64]) -> Table:
    """Of `values` the nearest to each magnitude."""
    magnitudes = np.arange(LARGEST + 1)[:, None]
    # distance first, then digits, then size: each is below 128
    rank = np.abs(magnitudes - values) * 2**14 + used[values] * 2**7 + values
    closest: Table = values[rank.argmin(axis=1)].astype(np.uint8)
    return closest


def _shifts(bits: int) -> NDArray[Any]:
    return np.arange(_WORD - bits, -1, -bits)
