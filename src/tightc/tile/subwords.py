"""Subwords: the magnitude of an int8 weight in parts of 2 or 4 bits (crumbs, nibbles), each with a slot of its own.

A weight of eight bits is a sign and, at 4 bits, two subwords: magnitude = 16 * high + low. A weight with one non-zero
subword takes one slot. That subwords are pruned one by one is an idea of "Tight Compression" (TCAD 42(2), 2023; arXiv
2104.01303); this form is our reading of its abstract.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 127  # magnitude of eight bits in sign-magnitude form
_WORD = 8

Int8 = NDArray[np.int8]
Table = NDArray[np.uint8]


def subwords_of(bits: int) -> int:
    """Number of subwords of `bits`, 2 or 4, in a word of eight bits."""
    return _WORD // bits


def split(values: Int8, bits: int) -> Int8:
    """The subwords of `values`, most significant first, each with the sign of its value: (..., subwords) int8.

    ValueError for -128, which has no magnitude of seven bits.
    """
    if (values == -LARGEST - 1).any():
        raise ValueError("-128 has no sign and magnitude in eight bits")
    magnitudes = np.abs(values)[..., None] >> _shifts(bits)
    subwords: Int8 = (np.sign(values)[..., None] * (magnitudes & (2**bits - 1))).astype(np.int8)
    return subwords


def join(subwords: Int8, bits: int) -> Int8:
    """The values of `subwords`, (..., subwords) int8 of one sign: the inverse of `split`."""
    values: Int8 = (subwords.astype(np.int64) << _shifts(bits)).sum(axis=-1).astype(np.int8)
    return values


def counts(values: Int8, bits: int) -> Int8:
    """Number of non-zero subwords of each of `values`, same shape."""
    used: Int8 = np.count_nonzero(split(values, bits), axis=-1).astype(np.int8)
    return used


@cache
def nearest(bits: int) -> Table:
    """At (j, m): the value nearest to magnitude m with at most j non-zero subwords. (subwords + 1, 128) uint8.

    Of two that are equally near, the one with fewer non-zero subwords, then the smaller.
    """
    used = counts(np.arange(LARGEST + 1, dtype=np.int8), bits).astype(np.int64)
    return np.array([_closest(np.flatnonzero(used <= most), used) for most in range(subwords_of(bits) + 1)])


@cache
def within(bits: int) -> Table:
    """At (s, m): the value nearest to magnitude m with non-zero subwords only in the set s. (2 ** subwords, 128) uint8.

    A set is the sum of 2 ** place over its subwords; places count from the least significant.
    """
    used = counts(np.arange(LARGEST + 1, dtype=np.int8), bits).astype(np.int64)
    tables = []
    for members in range(2 ** subwords_of(bits)):
        choices = [range(2**bits) if members >> place & 1 else (0,) for place in range(subwords_of(bits))]
        sums = {sum(part << bits * place for place, part in enumerate(parts)) for parts in product(*choices)}
        tables.append(_closest(np.array(sorted(value for value in sums if value <= LARGEST)), used))
    return np.array(tables)


def places(values: Int8, bits: int) -> NDArray[np.uint8]:
    """The set, as in `within`, of the non-zero subwords of each of `values`; same shape."""
    marks = 1 << np.arange(subwords_of(bits))[::-1]
    sets: Table = ((split(values, bits) != 0) * marks).sum(axis=-1).astype(np.uint8)
    return sets


def nth_subword(values: Int8, ranks: NDArray[np.int64], bits: int) -> tuple[Int8, NDArray[np.int64]]:
    """(subword, place) of one non-zero subword of each of `values`: the most significant for a rank of 0, and so on.

    All arrays are (values,). A subword has the sign of its value; it is zero if the value has no such rank. Places
    count from the least significant.
    """
    subwords = split(values, bits)
    order = np.argsort(subwords == 0, axis=-1, kind="stable")
    most = subwords_of(bits) - 1
    chosen = np.take_along_axis(order, np.minimum(ranks, most)[:, None], axis=-1)
    found = np.take_along_axis(subwords, chosen, axis=-1)[:, 0]
    return np.where(ranks <= most, found, np.int8(0)), most - chosen[:, 0]


def _closest(values: NDArray[np.int64], used: NDArray[np.int64]) -> Table:
    """The one of `values` that is nearest to each magnitude."""
    magnitudes = np.arange(LARGEST + 1)[:, None]
    # distance first, then subwords, then size: each is below 128
    rank = np.abs(magnitudes - values) * 2**14 + used[values] * 2**7 + values
    closest: Table = values[rank.argmin(axis=1)].astype(np.uint8)
    return closest


def _shifts(bits: int) -> NDArray[Any]:
    return np.arange(_WORD - bits, -1, -bits)
