"""A layer from its bits: the inverse of `encode`. docs/stream.md, "A layer"."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.stream.bits import Bytes, get_bits, get_choice, get_gamma
from tightc.stream.contents import Contents
from tightc.stream.encode import WIDTH_BITS
from tightc.stream.layer import (
    Lanes,
    StoredLayer,
    StoredTile,
    most_inputs,
    placing_order,
)
from tightc.stream.placing import place_as_stored
from tightc.stream.readable import Readable
from tightc.stream.slots import column_words
from tightc.stream.subsets import Numbers, get_subset
from tightc.stream.tables import Decoding, Table, get_number, get_table
from tightc.tile.array import LARGEST

_MOST_FAN_IN = 2**15 - 1
_MOST_FILTERS = 2**24
_MOST_INPUTS = 2**31
_NONE = np.zeros(0, np.int64)


def decode_layer(content: Bytes, usual: Lanes) -> tuple[StoredLayer, Contents]:
    """(the layer, what its slots hold) of the bits that `encode_layer` wrote.

    `usual`: the lanes that the header of the image names. ValueError where the bits contradict each other.
    """
    position, sizes = 0, []
    for _ in range(4):
        number, position = get_gamma(content, position)
        sizes.append(number)
    filters, inputs, groups = (size + 1 for size in sizes[:3])
    if filters % groups or filters > _MOST_FILTERS or inputs * groups > _MOST_INPUTS:
        raise ValueError(f"expected a layer, got {filters} filters and {inputs} inputs in {groups} groups")
    lanes, position = _get_lanes(content, position, usual)
    layer = StoredLayer(lanes, filters, inputs, groups, ())
    if not sizes[3]:
        _require_end(content, position)
        return layer, Contents(1, False, _NONE, np.zeros(0, np.uint8))
    floating = bool(get_bits(content, position, 1))
    width = get_bits(content, position + 1, WIDTH_BITS) + 1
    position += 1 + WIDTH_BITS
    counts, position = get_table(content, position)
    values, position = get_table(content, position)
    seen = np.zeros(filters, bool)
    tiles, magnitudes, signs = [], [], []
    for _ in range(sizes[3]):
        tile, position = _get_tile(content, position, layer, seen, counts)
        own, negative, position = _get_contents(content, position, len(tile.columns), values.decoding())
        tiles.append(tile)
        magnitudes.append(own)
        signs.append(negative)
    _require_end(content, position)
    every = np.concatenate(magnitudes)
    if len(every) and (every.min() < 0 or int(every.max()) >= 2**width):
        raise ValueError(f"a slot holds more than {width} bits")
    stored = StoredLayer(lanes, filters, inputs, groups, tuple(tiles))
    return stored, Contents(width, floating, every, np.concatenate(signs))


def _get_lanes(content: Bytes, position: int, usual: Lanes) -> tuple[Lanes, int]:
    """(the lanes of a layer, the position after them)."""
    if not get_bits(content, position, 1):
        return usual, position + 1
    position, sides = position + 1, []
    for _ in usual:
        number, position = get_gamma(content, position)
        sides.append(number + 1)
    if max(sides[:2]) > LARGEST or sides[2] > _MOST_FAN_IN:
        raise ValueError(f"expected lanes of an array, got {sides[0]}x{sides[1]} with a fan-in of {sides[2]}")
    return Lanes(*sides), position


def _require_end(content: Bytes, position: int) -> None:
    """ValueError unless only bits of 0 that fill a byte follow."""
    if -(-position // 8) != len(content) or get_bits(content, position, 8 * len(content) - position):
        raise ValueError("bits are left over")


def _get_tile(
    content: Bytes, position: int, layer: StoredLayer, seen: NDArray[np.bool_], counts: Table
) -> tuple[StoredTile, int]:
    """(the tile at `position`, the position of its contents); marks its filters as `seen`."""
    filters, position = _get_columns(content, position, layer, seen)
    if not len(filters):
        return StoredTile(filters, _NONE, _NONE, _NONE, 0, _NONE, _NONE, _NONE), position
    readable = Readable.of(filters, layer.filters // layer.groups, layer.inputs)
    count, position = get_choice(content, position, most_inputs(layer.lanes, len(filters)) + 1)
    if count > 8 * len(content) - position:  # each has a slot, and each slot a sign
        raise ValueError("it ends too early")
    inputs, position = _get_distinct(content, position, count, readable.inputs)
    inputs = readable.names(inputs)
    group = readable.group(inputs)
    ends, columns, position = _get_uses(
        content, position, np.stack([readable.first[group], readable.size[group]], axis=1), counts.decoding()
    )
    used, owner = np.diff(ends, prepend=0), np.repeat(np.arange(count), np.diff(ends, prepend=0))
    order, ranked = placing_order(used), 0
    if count:
        some, position = get_bits(content, position, 1), position + 1
        if some:
            ranked, position = get_choice(content, position, count)
            ranked += 1
    words = column_words(owner, columns, count, len(filters))
    position, lanes = place_as_stored(
        content, position, words, order, layer.lanes.fan_in, ranked, layer.lanes.rows
    )
    return StoredTile(filters, inputs, ends, columns, ranked, _NONE, _NONE, lanes), position


def _get_columns(
    content: Bytes, position: int, layer: StoredLayer, seen: NDArray[np.bool_]
) -> tuple[Numbers, int]:
    """(the filter of each column, rising; the position after them); marks them as `seen`."""
    count, position = get_choice(content, position, layer.lanes.columns + 1)
    if not count:
        return _NONE, position
    repeated, position = get_gamma(content, position)
    old, position = get_gamma(content, position)
    before = int(seen.sum())
    new = count - repeated - old
    if repeated >= count or not 0 <= new <= len(seen) - before or old > before:
        raise ValueError("a tile has more filters than there are")
    first, second = np.empty(new, np.int64), np.empty(old, np.int64)
    position = get_subset(content, position, first, len(seen) - before)
    position = get_subset(content, position, second, before)
    distinct = np.sort(np.concatenate([np.flatnonzero(~seen)[first], np.flatnonzero(seen)[second]]))
    again, position = _get_repeats(content, position, repeated, count)
    seen[distinct] = True
    return distinct[again], position


def _get_distinct(content: Bytes, position: int, count: int, things: int) -> tuple[Numbers, int]:
    """(`count` numbers below `things`, rising, some of them repeated; the position after them)."""
    repeated, position = get_gamma(content, position)
    if (count and not count - things <= repeated < count) or (not count and repeated):
        raise ValueError("a tile has more inputs than there are")
    distinct = np.empty(count - repeated, np.int64)
    position = get_subset(content, position, distinct, things)
    again, position = _get_repeats(content, position, repeated, count)
    return distinct[again], position


def _get_repeats(content: Bytes, position: int, repeated: int, count: int) -> tuple[Numbers, int]:
    """(which of the distinct numbers each of `count` is, of which so many are `repeated`; the position after them)."""
    repeats = np.empty(repeated, np.int64)
    position = get_subset(content, position, repeats, count - 1 if count else 0)
    new = np.ones(count, bool)
    new[repeats + 1] = False
    return np.cumsum(new) - 1, position


@njit(nogil=True, cache=True)
def _get_uses(
    content: Bytes, position: int, readers: Numbers, decoding: Decoding
) -> tuple[Numbers, Numbers, int]:
    """(where the slots of each lane input end, the columns of all slots, the position after them)."""
    items = len(readers)
    ends = np.empty(items, np.int64)
    columns = np.empty(4 * items + 64, np.int64)
    end = 0
    for item in range(items):
        count, position = get_number(content, position, decoding)
        first, size = readers[item]
        if count < 1 or count > size:
            raise ValueError("an input has more slots than columns")
        if end + count > 8 * len(content) - position:
            raise ValueError("it ends too early")
        if end + count > len(columns):
            longer = np.empty(2 * len(columns) + count, np.int64)
            longer[:end] = columns[:end]
            columns = longer
        position = get_subset(content, position, columns[end : end + count], size)
        columns[end : end + count] += first
        end += count
        ends[item] = end
    return ends, columns[:end].copy(), position


@njit(nogil=True, cache=True)
def _get_contents(
    content: Bytes, position: int, slots: int, decoding: Decoding
) -> tuple[Numbers, NDArray[np.uint8], int]:
    """(magnitude and sign of each slot, the position after them)."""
    magnitudes = np.empty(slots, np.int64)
    signs = np.empty(slots, np.uint8)
    for slot in range(slots):
        magnitudes[slot], position = get_number(content, position, decoding)
        signs[slot] = get_bits(content, position, 1)
        position += 1
    return magnitudes, signs, position
