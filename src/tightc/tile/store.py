"""A packing as a stream of bits, and back: the record in a model, and the input of the packed form.

The stream consists of sections. Each is a list of integers of one width, lowest bit first, and begins at a new byte.
T is the number of tiles; L and C are the largest numbers of lanes and columns that a tile uses:

`occupied`  (T, L, C) whether a slot holds a weight; a single 1 if all in the lanes and columns used do
`select`    which of its lane's inputs each such slot multiplies, slots in order of tile, lane, column
`lengths`   (T, L) how many inputs each lane carries
`inputs`    those inputs, lane after lane
`filters`   (T, C) the filter of each column plus 1, 0 beyond the columns used
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tightc.tile.packing import EMPTY, Packing, Tile

SECTIONS = ("occupied", "select", "lengths", "inputs", "filters")
Numbers = NDArray[np.int64]
_LARGEST_SELECT = int(np.iinfo(np.int16).max)


@dataclass(frozen=True)
class BitStream:
    """Tiles as bits: `content`, (bytes,) uint8; `grid`, which is T, L and C.

    `sections`: of each, its first byte, its count of integers, and their width in bits.
    """

    content: NDArray[np.uint8]
    grid: tuple[int, int, int]
    sections: tuple[tuple[int, int, int], ...]

    def section(self, number: int) -> Numbers:
        """The integers of a section: (count,) int64; ValueError or IndexError if the stream is too short for it."""
        start, count, width = self.sections[number]
        if start < 0 or count < 0 or not 0 < width < 32:
            raise ValueError("a section without sense")
        if start + -(-count * width // 8) > len(self.content):
            raise ValueError("the stream ends within a section")
        bits = np.unpackbits(self.content[start : start + -(-count * width // 8)], bitorder="little")
        apart = bits[: count * width].reshape(count, width)
        numbers = np.zeros(count, np.int64)
        for place in range(width):
            numbers += apart[:, place].astype(np.int64) << place
        return numbers


class Section(NamedTuple):
    """`numbers`, integers of any shape, to be stored in `width` bits each."""

    numbers: NDArray[np.integer]
    width: int


def to_stream(packing: Packing, further: Iterable[Section] = ()) -> BitStream:
    """The tiles of `packing`, and `further` sections after theirs."""
    tiles = packing.tiles
    lanes = max((tile.lanes for tile in tiles), default=0)
    columns = max((tile.columns for tile in tiles), default=0)
    grid = (len(tiles), lanes, columns)
    occupied = np.zeros(grid, np.int64)
    lengths = np.zeros(grid[:2], np.int64)
    filters = np.zeros((len(tiles), columns), np.int64)
    for i, tile in enumerate(tiles):
        occupied[i, : tile.lanes, : tile.columns] = tile.select != EMPTY
        lengths[i, : tile.lanes] = np.diff(tile.lane_starts)
        filters[i, : tile.columns] = tile.filters + 1
    selects = _joined([tile.select[tile.select != EMPTY] for tile in tiles])
    inputs = _joined([tile.inputs for tile in tiles])
    full = all((tile.select != EMPTY).all() for tile in tiles)
    own = (np.ones(1, np.int64) if full else occupied, selects, lengths, inputs, filters)
    content: list[NDArray[np.uint8]] = []
    sections, start = [], 0
    for section in (*(Section(numbers, _width(numbers)) for numbers in own), *further):
        content.append(_bits(section))
        sections.append((start, section.numbers.size, section.width))
        start += len(content[-1])
    return BitStream(np.concatenate(content), grid, tuple(sections))


def check_sections(stream: BitStream, most_slots: int) -> None:
    """ValueError where the counts of the sections do not match the grid, or where this has more than `most_slots`.

    It reads the declared sizes only, so that nothing is allocated for a stream that contradicts itself.
    """
    count, lanes, columns = stream.grid
    slots = count * lanes * columns
    if min(stream.grid) < 0 or slots > most_slots:
        raise ValueError(f"expected at most {most_slots} slots, got {count} tiles of {lanes}x{columns}")
    declared = [section[1] for section in stream.sections[: len(SECTIONS)]]
    if len(declared) < len(SECTIONS):
        raise ValueError(f"expected {len(SECTIONS)} sections, got {len(declared)}")
    marks, selects, lengths, inputs, filters = declared
    if marks not in (1, slots) or lengths != count * lanes or filters != count * columns:
        raise ValueError(f"the sections are not those of {count} tiles of {lanes}x{columns}")
    if selects > slots or inputs > most_slots:
        raise ValueError(
            f"expected at most {slots} selects and {most_slots} inputs, got {selects} and {inputs}"
        )


def from_stream(stream: BitStream) -> tuple[Tile, ...]:
    """The tiles that `to_stream` stored; ValueError or IndexError if its sections contradict each other.

    `check_sections` comes before, where the stream is not our own.
    """
    count, lanes, columns = stream.grid
    occupied, selects, lengths, inputs, filters = (stream.section(i) for i in range(len(SECTIONS)))
    if len(lengths) != count * lanes or len(filters) != count * columns:
        raise ValueError(f"the sections are not those of {count} tiles of {lanes}x{columns}")
    if selects.max(initial=0) > _LARGEST_SELECT:
        raise ValueError(f"expected selects up to {_LARGEST_SELECT}, got {selects.max()}")
    used = (lengths > 0).reshape(count, lanes, 1) & (filters > 0).reshape(count, 1, columns)
    taken = used & occupied.reshape((1, 1, 1) if len(occupied) == 1 else stream.grid).astype(bool)
    if len(selects) != np.count_nonzero(taken):
        raise ValueError("as many selects as occupied slots are needed")
    if len(inputs) != lengths.sum():
        raise ValueError("as many inputs as the lanes carry are needed")
    first_select = np.cumsum([0, *(np.count_nonzero(slots) for slots in taken)])
    ends = np.cumsum(np.append(0, lengths)).astype(np.int32)
    tiles = []
    for i, (slots, names) in enumerate(zip(taken, filters.reshape(count, columns), strict=True)):
        high, wide = int(slots.any(axis=1).sum()), int(slots.any(axis=0).sum())
        if np.count_nonzero(slots[:high, :wide]) != np.count_nonzero(slots):
            raise ValueError(f"tile {i} leaves lanes or columns out between others")
        select = np.full((high, wide), EMPTY, np.int16)
        select[slots[:high, :wide]] = selects[first_select[i] : first_select[i + 1]]
        bounds = ends[i * lanes : i * lanes + high + 1]
        if (select.max(axis=1, initial=EMPTY) >= np.diff(bounds)).any():
            raise ValueError(f"tile {i} selects an input that its lane does not carry")
        tiles.append(
            Tile(
                names[:wide].astype(np.int32) - 1,
                bounds - bounds[0],
                inputs[bounds[0] : bounds[-1]].astype(np.int32),
                select,
            )
        )
    return tuple(tiles)


def _bits(section: Section) -> NDArray[np.uint8]:
    """A section as bytes: (bytes,) uint8."""
    flat = section.numbers.ravel()
    bits = np.empty((len(flat), section.width), np.uint8)
    for place in range(section.width):
        bits[:, place] = flat >> place & 1
    return np.packbits(bits, bitorder="little")


def _width(numbers: Numbers) -> int:
    """The least number of bits, at least 1, that holds each of `numbers`."""
    return max(1, int(numbers.max(initial=0)).bit_length())


def _joined(parts: list[NDArray[np.integer]]) -> Numbers:
    return np.concatenate([np.empty(0, np.int64), *parts]).astype(np.int64)
