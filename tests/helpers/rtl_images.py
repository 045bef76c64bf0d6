"""The memory images of an accelerator, read with NumPy alone, as docs/rtl.md describes them."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Position = tuple[int, int, int]  # channel, y, x in the window
Matrix = dict[tuple[int, Position], int]


def read_hex(folder: Path, name: str, bits: int | None = None) -> np.ndarray:
    """The words of a file, int64; of `bits` in two's complement, or unsigned."""
    numbers = [int(line, 16) for line in (folder / name).read_text().splitlines()]
    if bits is not None:
        numbers = [number - (number >> (bits - 1) << bits) for number in numbers]
    return np.array(numbers, object if name == "lanes.hex" else np.int64)


@dataclass(frozen=True)
class Record:
    """The record of a layer, its words named."""

    tiles: int
    first_tile: int
    vectors: int
    filters: int
    first_filter: int
    first_output: int
    first_corner: int
    first_y: int
    first_x: int
    stride_y: int
    stride_x: int
    to_next_row: int
    to_next_image: int
    out_height: int
    out_width: int
    height: int
    width: int
    zero_point: int
    low: int
    high: int
    compares_bytes: int
    first_activation: int
    cycles: int


class Images:
    """All images in a folder, and what follows from them."""

    def __init__(self, folder: Path) -> None:
        text = (folder / "network.svh").read_text()
        self.folder = folder
        self.parameters = {name: int(value) for name, value in re.findall(r"localparam (\w+) = (\d+);", text)}
        words = read_hex(folder, "layers.hex", 32).reshape(-1, 24)
        self.records = [Record(*map(int, row[:23])) for row in words]
        self.array = (self.parameters["ROWS"], self.parameters["COLUMNS"])
        self.fan_in = self.parameters["FAN_IN"]

    def tile_words(self, name: str, last: int) -> np.ndarray:
        """(tiles of all layers, rows, last)."""
        return read_hex(self.folder, name).reshape(-1, self.array[0], last)

    def matrix(self, number: int) -> Matrix:
        """The weight of each filter at each position of the window, added up over the slots of a layer."""
        record = self.records[number]
        slots, selects = (self.tile_words(name, self.array[1]) for name in ("slots.hex", "selects.hex"))
        lanes = self.tile_words("lanes.hex", self.fan_in)
        columns = read_hex(self.folder, "columns.hex").reshape(-1, self.array[1])
        select_bits = (self.fan_in - 1).bit_length()
        found: Matrix = defaultdict(int)
        for tile in range(record.first_tile, record.first_tile + record.tiles):
            for row, column in np.argwhere(selects[tile] >> select_bits):
                word = int(lanes[tile, row, selects[tile, row, column] & ((1 << select_bits) - 1)])
                assert word >> 63, "a slot selects an input that its lane does not carry"
                assert columns[tile, column] >> 31, "a column without a filter has a weight"
                x, y, offset = word >> 48 & 0x7FFF, word >> 32 & 0xFFFF, word & 0xFFFFFFFF
                channel, rest = divmod(offset - y * record.width - x, record.height * record.width)
                assert rest == 0, "the offset is not that of the position"
                filter_ = int(columns[tile, column]) & (1 << 29) - 1
                found[filter_, (channel, y, x)] += self.weight(int(slots[tile, row, column]))
        return {key: weight for key, weight in found.items() if weight}

    def weight(self, slot: int) -> int:
        """The weight, or the part of one, in a slot."""
        bits = self.parameters["SUBWORD_BITS"]
        if not bits:
            return slot - (slot >> 7 << 8)
        place, negative, magnitude = slot >> (bits + 1), slot >> bits & 1, slot & (1 << bits) - 1
        return (-1 if negative else 1) * magnitude << (bits * place)

    def sums(self, number: int) -> np.ndarray:
        """(vectors, filters) sums of a layer, computed from its activations."""
        record = self.records[number]
        activations = read_hex(self.folder, "activations.hex", 8)
        corners, ys, xs = self.corners(record)
        found = np.zeros((record.vectors, record.filters), np.int64)
        for (filter_, (channel, y, x)), weight in self.matrix(number).items():
            at_y, at_x = ys + y, xs + x
            on_map = (at_y >= 0) & (at_y < record.height) & (at_x >= 0) & (at_x < record.width)
            address = corners + (channel * record.height + y) * record.width + x
            read = activations[np.where(on_map, address, 0)]
            found[:, filter_] += weight * np.where(on_map, read, record.zero_point)
        return found

    def corners(self, record: Record) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Address, y and x of the window's corner for each vector, step by step."""
        places, corner, image = [], record.first_corner, record.out_height * record.out_width
        for m in range(record.vectors):
            row, column = divmod(m % image, record.out_width)
            if m:
                steps = record.stride_x if column else record.to_next_row if row else record.to_next_image
                corner += steps
            at = (record.first_y + row * record.stride_y, record.first_x + column * record.stride_x)
            places.append((corner, *at))
        corners, ys, xs = np.array(places, np.int64).T
        return corners, ys, xs

    def stored(self, name: str, number: int, bits: int) -> np.ndarray:
        """(vectors, filters) of sums.hex or bytes.hex."""
        record = self.records[number]
        size = record.vectors * record.filters
        words = read_hex(self.folder, name, bits)[record.first_output : record.first_output + size]
        return words.reshape(record.vectors, record.filters)

    def exact_bytes(self, number: int, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(vectors, filters) bytes of `sums`, and the exact values before rounding, not cut."""
        record = self.records[number]
        own = slice(record.first_filter, record.first_filter + record.filters)
        multiplier, offset, shift = (
            read_hex(self.folder, name, bits)[own]
            for name, bits in (("multipliers.hex", 32), ("offsets.hex", 64), ("shifts.hex", None))
        )
        scaled = sums * multiplier + offset
        return np.clip(scaled >> shift, record.low, record.high), scaled / 2.0**shift - 0.5

    def starts(self, number: int) -> np.ndarray:
        """The cycle in which each tile of a layer starts, as the file says."""
        record = self.records[number]
        return read_hex(self.folder, "starts.hex")[record.first_tile : record.first_tile + record.tiles]


def schedule(images: Images, number: int) -> tuple[list[int], int]:
    """The starts of a layer's tiles and its cycles, by walking from tile to tile."""
    (rows, columns), steps = images.array, images.records[number].vectors
    hops = (columns - 1) // images.parameters["COLUMNS_PER_REGISTER"]
    emptied = steps + rows - 1 + hops
    starts, tiles = [], images.records[number].tiles
    for _ in range(tiles):
        if not starts:
            starts.append(rows)
        elif images.parameters["OVERLAP"]:
            starts.append(starts[-1] + max(steps, 2 * rows - 1))
        elif images.parameters["SHADOW"]:
            starts.append(starts[-1] + max(emptied, rows))
        else:
            starts.append(starts[-1] + emptied + rows)
    return starts, starts[-1] + emptied if starts else 0
