"""A layer as bits: its tiles and the contents of their slots. docs/stream.md, "A layer"."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.stream.bits import Bytes, put_bits, put_choice, put_gamma
from tightc.stream.contents import Contents
from tightc.stream.layer import Lanes, StoredLayer, StoredTile, most_inputs, placing_order
from tightc.stream.readable import Readable
from tightc.stream.subsets import Numbers, put_subset
from tightc.stream.tables import MOST_RAW_BITS, Coding, Table, best_table, put_number, put_table

WIDTH_BITS = 6
_SPARE = 64  # bytes for the numbers at the head of a layer or tile


def encode_layer(layer: StoredLayer, contents: Contents, usual: Lanes) -> Bytes:
    """The bits of `layer` with `contents` in its slots, filled up to whole bytes: (bytes,) uint8.

    `usual`: the lanes that the header of the image names; others are named in the layer.
    """
    buffer = np.zeros(_most_bytes(layer, contents), np.uint8)
    position = 0
    for number in (layer.filters - 1, layer.inputs - 1, layer.groups - 1, len(layer.tiles)):
        position = put_gamma(buffer, position, number)
    position = put_bits(buffer, position, int(layer.lanes != usual), 1)
    if layer.lanes != usual:
        for number in layer.lanes:
            position = put_gamma(buffer, position, number - 1)
    if not layer.tiles:
        return buffer[: -(-position // 8)]
    position = put_bits(buffer, position, int(contents.floating), 1)
    position = put_bits(buffer, position, contents.width - 1, WIDTH_BITS)
    counts = np.concatenate([tile.counts for tile in layer.tiles])
    tables = best_table(counts), best_table(contents.magnitudes)
    for table in tables:
        position = put_table(buffer, position, table)
    seen = np.zeros(layer.filters, bool)
    first = 0
    for tile in layer.tiles:
        slots = slice(first, first + len(tile.columns))
        position = _put_columns(buffer, position, tile, layer, seen)
        position = _put_inputs(buffer, position, tile, layer, tables[0])
        position = _put_lanes(buffer, position, tile)
        position = _put_contents(
            buffer,
            position,
            contents.magnitudes[slots],
            contents.signs[slots],
            tables[1].coding(),
        )
        first = slots.stop
    return buffer[: -(-position // 8)]


def _most_bytes(layer: StoredLayer, contents: Contents) -> int:
    """Bytes that are enough for `layer`."""
    slots = len(contents.magnitudes)
    inputs = sum(len(tile.inputs) for tile in layer.tiles)
    columns = sum(len(tile.filters) for tile in layer.tiles)
    things = layer.inputs * layer.groups + layer.filters
    gap = 2 * things.bit_length() + 4
    bits = slots * (MOST_RAW_BITS + 32) + (inputs * 3 + columns * 2 + slots) * gap
    return bits // 8 + (len(layer.tiles) + 64) * _SPARE


def _put_columns(
    buffer: Bytes, position: int, tile: StoredTile, layer: StoredLayer, seen: NDArray[np.bool_]
) -> int:
    """The filters of the columns: first those of no earlier tile, then the others; marks them as `seen`."""
    position = put_choice(buffer, position, len(tile.filters), layer.lanes.columns + 1)
    if not len(tile.filters):
        return position
    filters, first = np.unique(tile.filters, return_index=True)
    old = seen[filters]
    position = put_gamma(buffer, position, len(tile.filters) - len(filters))
    position = put_gamma(buffer, position, int(old.sum()))
    number = np.where(seen, np.cumsum(seen), np.cumsum(~seen)) - 1
    position = put_subset(buffer, position, number[filters[~old]], len(seen) - int(seen.sum()))
    position = put_subset(buffer, position, number[filters[old]], int(seen.sum()))
    position = _put_repeats(buffer, position, first, len(tile.filters))
    seen[filters] = True
    return position


def _put_repeats(buffer: Bytes, position: int, first: NDArray[np.intp], count: int) -> int:
    """Which of `count` sorted numbers are equal to the one before; `first`: where each distinct one stands first."""
    repeats = np.setdiff1d(np.arange(count), first).astype(np.int64) - 1
    return put_subset(buffer, position, repeats, count - 1)


def _put_inputs(buffer: Bytes, position: int, tile: StoredTile, layer: StoredLayer, counts: Table) -> int:
    """The lane inputs, and for each the columns in which it is multiplied."""
    if not len(tile.filters):
        return position
    readable = Readable.of(tile.filters, layer.filters // layer.groups, layer.inputs)
    inputs, first = np.unique(tile.inputs, return_index=True)
    position = put_choice(buffer, position, len(tile.inputs), most_inputs(layer.lanes, len(tile.filters)) + 1)
    position = put_gamma(buffer, position, len(tile.inputs) - len(inputs))
    position = put_subset(buffer, position, readable.numbers(inputs), readable.inputs)
    position = _put_repeats(buffer, position, first, len(tile.inputs))
    group = readable.group(tile.inputs)
    return _put_uses(
        buffer,
        position,
        tile.ends,
        tile.columns,
        np.stack([readable.first[group], readable.size[group]], axis=1),
        counts.coding(),
    )


@njit(nogil=True, cache=True)
def _put_uses(
    buffer: Bytes, position: int, ends: Numbers, columns: Numbers, readers: Numbers, coding: Coding
) -> int:
    """For each lane input the number of its slots, then which of its `readers` they are in.

    `readers`: (lane inputs, 2) int64, the first column that can read an input, and how many can.
    """
    start = 0
    for item in range(len(ends)):
        position = put_number(buffer, position, ends[item] - start, coding)
        first, size = readers[item]
        position = put_subset(buffer, position, columns[start : ends[item]] - first, size)
        start = ends[item]
    return position


def _put_lanes(buffer: Bytes, position: int, tile: StoredTile) -> int:
    """The ranks of the inputs that are not on the first lane with room."""
    if not len(tile.inputs):
        return position
    position = put_bits(buffer, position, int(tile.ranked > 0), 1)
    if tile.ranked:
        position = put_choice(buffer, position, tile.ranked - 1, len(tile.inputs))
    for item in placing_order(tile.counts)[: tile.ranked]:
        position = put_choice(buffer, position, int(tile.ranks[item]), int(tile.options[item]))
    return position


@njit(nogil=True, cache=True)
def _put_contents(
    buffer: Bytes, position: int, magnitudes: Numbers, signs: NDArray[np.uint8], coding: Coding
) -> int:
    """The magnitude of each slot by the table, then its sign."""
    for slot in range(len(magnitudes)):
        position = put_number(buffer, position, magnitudes[slot], coding)
        position = put_bits(buffer, position, signs[slot], 1)
    return position
