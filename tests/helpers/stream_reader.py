"""A reader of weight streams, written from docs/stream.md in NumPy and the standard library; nothing of tightc."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EMPTY = -1


class DamagedError(Exception):
    """The stream is not what the page says."""


class ReadTile(NamedTuple):
    """A tile with what its slots hold: `select` is EMPTY, and `weights` 0, where a slot is empty."""

    filters: list[int]
    lanes: list[list[int]]
    select: NDArray[np.int64]
    weights: NDArray[np.object_]


class ReadLayer(NamedTuple):
    """A layer: `array` is rows, columns and fan-in; `sizes` filters, inputs of a group, groups."""

    array: tuple[int, int, int]
    sizes: tuple[int, int, int]
    floating: bool
    width: int
    tiles: list[ReadTile]


class Table(NamedTuple):
    base: int
    raw: int
    tokens: dict[tuple[int, int], int]  # by length and code
    single: bool


@dataclass
class Reader:
    """The bits of one layer."""

    text: str
    position: int = 0

    def bits(self, count: int) -> int:
        end = self.position + count
        if end > len(self.text):
            raise DamagedError("too short")
        found = self.text[self.position : end]
        self.position = end
        return int(found, 2) if found else 0

    def gamma(self) -> int:
        zeros = 0
        while not self.bits(1):
            zeros += 1
        return (1 << zeros | self.bits(zeros)) - 1

    def choice(self, options: int) -> int:
        width = options.bit_length() - 1
        short = 2 ** (width + 1) - options
        number = self.bits(width)
        return number if number < short else (2 * number + self.bits(1)) - short

    def subset(self, count: int, things: int) -> list[int]:
        if things > 32 and 2 * count > things:
            others = set(self._few(things - count, things))
            return [thing for thing in range(things) if thing not in others]
        return self._few(count, things)

    def _few(self, count: int, things: int) -> list[int]:
        members: list[int] = []
        at, left, wanted = 0, things, count
        while left > 32 and 0 < wanted < left:
            width = (left // wanted).bit_length() - 1
            quotient, largest = 0, (left - wanted) >> width
            while quotient < largest and self.bits(1):
                quotient += 1
            gap = (quotient << width) + self.bits(width)
            at += gap
            members.append(at)
            at, left, wanted = at + 1, left - gap - 1, wanted - 1
        if wanted == left:
            return [*members, *range(at, at + wanted)]
        number = self.choice(comb(left, wanted)) if wanted else 0
        while wanted:
            left -= 1
            having = comb(left, wanted - 1)
            if number < having:
                members.append(at)
                wanted -= 1
            else:
                number -= having
            at += 1
        return members

    def table(self) -> Table:
        base, raw, count = self.gamma(), self.bits(6), self.bits(8) + 1
        if count == 1:
            return Table(base, raw, {}, True)
        lengths = [self.bits(4)]
        while len(lengths) < count:
            if not self.bits(1):
                lengths.append(lengths[-1])
            elif not self.bits(1):
                lengths.append(lengths[-1] + (-1 if self.bits(1) else 1))
            else:
                lengths.append(self.bits(4))
        code, tokens = 0, {}
        for length in range(1, 16):
            for token in (token for token, own in enumerate(lengths) if own == length):
                tokens[length, code] = token
                code += 1
            code *= 2
        return Table(base, raw, tokens, False)

    def number(self, table: Table) -> int:
        token = 0
        if not table.single:
            length, code = 1, self.bits(1)
            while (length, code) not in table.tokens:
                length, code = length + 1, code * 2 + self.bits(1)
            token = table.tokens[length, code]
        return table.base + (token << table.raw) + self.bits(table.raw)


def read_stream(content: bytes) -> list[ReadLayer]:
    """The layers of a memory image."""
    if len(content) < 24 or content[:4] != b"TCWS" or zlib.crc32(content[:20]) != _word(content, 20):
        raise DamagedError("header")
    version, layers, rows, columns, fan_in, zero, size = struct.unpack("<HHHHHHI", content[4:20])
    if version != 1 or zero or size != len(content):
        raise DamagedError("header")
    found, at = [], 24
    for _ in range(layers):
        if at + 8 > len(content):
            raise DamagedError("record")
        length = _word(content, at)
        end = at + 8 + length
        body = content[at + 8 : end]
        if len(body) != length or zlib.crc32(content[at : at + 4] + body) != _word(content, at + 4):
            raise DamagedError("record")
        following = -(-end // 4) * 4
        if any(content[end:following]) or following > len(content):
            raise DamagedError("filler")
        found.append(_layer(body, (rows, columns, fan_in)))
        at = following
    if at != len(content):
        raise DamagedError("size")
    return found


def _word(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + 4], "little")


def _layer(body: bytes, array: tuple[int, int, int]) -> ReadLayer:
    bits = "".join(map(str, np.unpackbits(np.frombuffer(body, np.uint8))))
    reader = Reader(bits)
    sizes = (reader.gamma() + 1, reader.gamma() + 1, reader.gamma() + 1)
    tiles = reader.gamma()
    if reader.bits(1):
        array = (reader.gamma() + 1, reader.gamma() + 1, reader.gamma() + 1)
    if not tiles:
        return ReadLayer(array, sizes, False, 0, [])
    floating, width = bool(reader.bits(1)), reader.bits(6) + 1
    uses, magnitudes = reader.table(), reader.table()
    seen: set[int] = set()
    return ReadLayer(
        array,
        sizes,
        floating,
        width,
        [_tile(reader, array, sizes, seen, (uses, magnitudes)) for _ in range(tiles)],
    )


def _columns(reader: Reader, columns: int, filters: int, seen: set[int]) -> list[int]:
    count = reader.choice(columns + 1)
    if not count:
        return []
    repeated, old = reader.gamma(), reader.gamma()
    unseen = [name for name in range(filters) if name not in seen]
    distinct = [unseen[i] for i in reader.subset(count - repeated - old, len(unseen))]
    distinct += [sorted(seen)[i] for i in reader.subset(old, len(seen))]
    return _repeated(sorted(distinct), reader.subset(repeated, count - 1), count)


def _repeated(distinct: list[int], repeats: list[int], count: int) -> list[int]:
    following = iter(distinct)
    names: list[int] = []
    for at in range(count):
        names.append(names[-1] if at - 1 in repeats else next(following))
    return names


def _tile(
    reader: Reader,
    array: tuple[int, int, int],
    sizes: tuple[int, int, int],
    seen: set[int],
    tables: tuple[Table, Table],
) -> ReadTile:
    (rows, columns, fan_in), (filters, inputs, groups) = array, sizes
    names = _columns(reader, columns, filters, seen)
    if not names:
        return ReadTile([], [], np.zeros((0, 0), np.int64), np.zeros((0, 0), object))
    seen |= set(names)
    group_of = [name // (filters // groups) for name in names]
    readable = [own for own in range(groups * inputs) if own // inputs in set(group_of)]
    count = reader.choice(rows * min(fan_in, len(names)) + 1)
    repeated = reader.gamma()
    distinct = [readable[i] for i in reader.subset(count - repeated, len(readable))]
    carried = _repeated(distinct, reader.subset(repeated, count - 1) if count else [], count)
    slots: list[list[int]] = []
    for own in carried:
        possible = [at for at, group in enumerate(group_of) if group == own // inputs]
        used = reader.number(tables[0])
        slots.append([possible[i] for i in reader.subset(used, len(possible))])
    lane_of, lanes = _lanes(reader, rows, fan_in, slots)
    select = np.full((len(lanes), len(names)), EMPTY)
    weights = np.zeros((len(lanes), len(names)), object)
    for item, own_slots in enumerate(slots):
        for column in own_slots:
            magnitude = reader.number(tables[1])
            negative = reader.bits(1)
            select[lane_of[item], column] = lanes[lane_of[item]].index(item)
            weights[lane_of[item], column] = (magnitude, negative)
    return ReadTile(names, [[carried[item] for item in lane] for lane in lanes], select, weights)


def _lanes(
    reader: Reader, rows: int, fan_in: int, slots: list[list[int]]
) -> tuple[list[int], list[list[int]]]:
    """(the lane of each lane input, the lane inputs of each lane in the order in which they came)."""
    ranked = 0
    if slots and reader.bits(1):
        ranked = reader.choice(len(slots)) + 1
    lanes: list[list[int]] = []
    taken: list[set[int]] = []
    lane_of = [0] * len(slots)
    for step, item in enumerate(sorted(range(len(slots)), key=lambda own: -len(slots[own]))):
        room = [
            at for at in range(len(lanes)) if len(lanes[at]) < fan_in and not taken[at] & set(slots[item])
        ]
        if len(lanes) < rows:
            room.append(len(lanes))
        chosen = room[reader.choice(len(room)) if step < ranked else 0]
        if chosen == len(lanes):
            lanes.append([])
            taken.append(set())
        lanes[chosen].append(item)
        taken[chosen] |= set(slots[item])
        lane_of[item] = chosen
    return lane_of, lanes
