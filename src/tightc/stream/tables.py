"""Canonical Huffman codes for numbers: a token of a table, then raw bits. docs/stream.md, "Tables"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tightc.kernel_cache import njit
from tightc.stream.bits import Bytes, get_bits, get_gamma, put_bits, put_gamma
from tightc.stream.subsets import Numbers

LONGEST_CODE = 15
MOST_TOKENS = 256
MOST_RAW_BITS = 55
_LARGEST_BASE = 2**31
_SHIFT_BITS, _COUNT_BITS, _LENGTH_BITS = 6, 8, 4


class Coding(NamedTuple):
    """A table to write by: its numbers, and `lengths` and `codes` of its tokens, (tokens,) int64."""

    base: int
    raw: int
    lengths: Numbers
    codes: Numbers


class Decoding(NamedTuple):
    """A table to read by: how many codes have each length, (LONGEST_CODE + 1,) int64, and the tokens by code."""

    base: int
    raw: int
    counts: Numbers
    tokens: Numbers


@dataclass(frozen=True)
class Table:
    """How numbers from `base` are coded: (number - base) >> `raw` is a token, its `raw` low bits follow.

    `lengths`: (tokens,) int64, bits of each token's code, 0 for a token that does not occur. A table with one token
    codes it in no bits.
    """

    base: int
    raw: int
    lengths: Numbers

    def coding(self) -> Coding:
        """What `put_number` needs. Short codes come first, then small tokens."""
        codes = np.zeros(len(self.lengths), np.int64)
        code = 0
        for length in range(1, LONGEST_CODE + 1):
            for token in np.flatnonzero(self.lengths == length):
                codes[token] = code
                code += 1
            code <<= 1
        return Coding(self.base, self.raw, self.lengths, codes)

    def decoding(self) -> Decoding:
        """What `get_number` needs."""
        counts = np.bincount(self.lengths, minlength=LONGEST_CODE + 1).astype(np.int64)
        counts[0] = 0
        order = np.argsort(self.lengths, kind="stable")
        return Decoding(self.base, self.raw, counts, order[self.lengths[order] > 0].astype(np.int64))


def best_table(numbers: Numbers) -> Table:
    """The table that takes the fewest bits for itself and `numbers`, (count,) int64 from 0, at least one."""
    smallest = int(numbers.min())
    base = smallest if smallest < _LARGEST_BASE else 0
    span = int(numbers.max()) - base
    least = max(0, span.bit_length() - MOST_TOKENS.bit_length() + 1)
    best: tuple[int, Table] | None = None
    for raw in range(least, min(span.bit_length(), MOST_RAW_BITS) + 1):
        tokens = np.bincount((numbers - base) >> raw)
        table = Table(base, raw, code_lengths(tokens))
        bits = table_bits(table) + int((tokens * table.lengths).sum()) + raw * len(numbers)
        if best is None or bits < best[0]:
            best = bits, table
    assert best is not None
    return best[1]


def code_lengths(counts: Numbers) -> Numbers:
    """Lengths of an optimal prefix code of up to `LONGEST_CODE` bits for tokens that occur so often; 0 for 0.

    `counts`: (tokens,) int64. Package-merge (Larmore and Hirschberg, J. ACM 37(3), 1990). All 0 for a single token.
    """
    used = np.flatnonzero(counts)
    lengths = np.zeros(len(counts), np.int64)
    if len(counts) == 1:
        return lengths
    if len(used) == 1:  # a code of one bit is complete with another
        lengths[[used[0], used[0] - 1]] = 1
        return lengths
    single = sorted((int(counts[token]), (int(token),)) for token in used)
    packages: list[tuple[int, tuple[int, ...]]] = []
    for _ in range(LONGEST_CODE):
        pairs = zip(packages[::2], packages[1::2], strict=False)
        packages = sorted([*single, *((a[0] + b[0], a[1] + b[1]) for a, b in pairs)])
    for _, tokens in packages[: 2 * len(used) - 2]:
        for token in tokens:
            lengths[token] += 1
    return lengths


def table_bits(table: Table) -> int:
    """Bits that `put_table` writes."""
    bits = 2 * (table.base + 1).bit_length() - 1 + _SHIFT_BITS + _COUNT_BITS
    if len(table.lengths) > 1:
        steps = np.abs(np.diff(table.lengths))
        bits += _LENGTH_BITS + int(np.where(steps == 0, 1, np.where(steps == 1, 3, 2 + _LENGTH_BITS)).sum())
    return bits


def put_table(buffer: Bytes, position: int, table: Table) -> int:
    """Write `table`; the position after it."""
    position = put_gamma(buffer, position, table.base)
    position = put_bits(buffer, position, table.raw, _SHIFT_BITS)
    position = put_bits(buffer, position, len(table.lengths) - 1, _COUNT_BITS)
    if len(table.lengths) == 1:
        return position
    position = put_bits(buffer, position, int(table.lengths[0]), _LENGTH_BITS)
    for step, length in zip(np.diff(table.lengths), table.lengths[1:], strict=True):
        if abs(step) < 2:
            code, count = ((0, 1), (0b100, 3), (0b101, 3))[int(step)]
        else:
            code, count = 0b11 << _LENGTH_BITS | int(length), 2 + _LENGTH_BITS
        position = put_bits(buffer, position, code, count)
    return position


def get_table(buffer: Bytes, position: int) -> tuple[Table, int]:
    """(the table at `position`, the position after it); ValueError for lengths that are no complete code."""
    base, position = get_gamma(buffer, position)
    raw = get_bits(buffer, position, _SHIFT_BITS)
    count = get_bits(buffer, position + _SHIFT_BITS, _COUNT_BITS) + 1
    position += _SHIFT_BITS + _COUNT_BITS
    lengths = np.zeros(count, np.int64)
    if raw > MOST_RAW_BITS:
        raise ValueError(f"a table has {raw} raw bits")
    if count == 1:
        return Table(base, raw, lengths), position
    lengths[0] = get_bits(buffer, position, _LENGTH_BITS)
    position += _LENGTH_BITS
    for token in range(1, count):
        lengths[token] = lengths[token - 1]
        if get_bits(buffer, position, 1) == 0:
            position += 1
        elif get_bits(buffer, position + 1, 1) == 0:
            lengths[token] += -1 if get_bits(buffer, position + 2, 1) else 1
            position += 3
        else:
            lengths[token] = get_bits(buffer, position + 2, _LENGTH_BITS)
            position += 2 + _LENGTH_BITS
    used = lengths[lengths != 0]
    if used.min(initial=1) < 1 or used.max(initial=1) > LONGEST_CODE or np.sum(0.5**used) != 1:
        raise ValueError("the codes of a table are not complete")
    return Table(base, raw, lengths), position


@njit(nogil=True, cache=True)
def put_number(buffer: Bytes, position: int, number: int, coding: Coding) -> int:
    """Write `number` by a table; the position after it."""
    above = number - coding.base
    token = above >> coding.raw
    position = put_bits(buffer, position, coding.codes[token], coding.lengths[token])
    return put_bits(buffer, position, above & ((1 << coding.raw) - 1), coding.raw)


@njit(nogil=True, cache=True)
def get_number(buffer: Bytes, position: int, decoding: Decoding) -> tuple[int, int]:
    """(the number that `put_number` wrote at `position`, the position after it)."""
    token = 0
    if len(decoding.tokens):
        code, first, index = 0, 0, 0
        for length in range(1, len(decoding.counts)):
            code = code << 1 | get_bits(buffer, position, 1)
            position += 1
            count = decoding.counts[length]
            if code - first < count:
                token = decoding.tokens[index + code - first]
                break
            index += count
            first = (first + count) << 1
    above = token << decoding.raw | get_bits(buffer, position, decoding.raw)
    return decoding.base + above, position + decoding.raw
