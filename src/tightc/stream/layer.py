"""The arrangement of a layer in the order in which it is stored, and its tiles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tightc.stream.placing import Words, fewest_ranked, place
from tightc.stream.subsets import Numbers
from tightc.tile.packing import EMPTY, Packing, Tile

_WORD = 64


class StoredTile(NamedTuple):
    """A tile as it is stored.

    `filters`: (columns,) int64, rising. `inputs`: (lane inputs,) int64, rising; one that several lanes carry is listed
    for each. `ends`: (lane inputs,) int64, where the slots of each end in `columns`, (slots,) int64, in which its
    columns rise. `ranked`: how many inputs, of those used most, have a rank; `ranks` and `options`: (lane inputs,)
    int64, as of `place`. `lanes`: (lane inputs,) int64.
    """

    filters: Numbers
    inputs: Numbers
    ends: Numbers
    columns: Numbers
    ranked: int
    ranks: Numbers
    options: Numbers
    lanes: Numbers

    @property
    def counts(self) -> Numbers:
        """Slots of each lane input, (lane inputs,) int64."""
        return np.diff(self.ends, prepend=0)


class Lanes(NamedTuple):
    """The lanes that tiles are made for: `rows` of them, with `columns` slots each, carry up to `fan_in` inputs."""

    rows: int
    columns: int
    fan_in: int


@dataclass(frozen=True)
class StoredLayer:
    """The tiles of a layer as they are stored; `filters` counts all `groups`, `inputs` one."""

    lanes: Lanes
    filters: int
    inputs: int
    groups: int
    tiles: tuple[StoredTile, ...]


def stored_layer(packing: Packing) -> StoredLayer:
    """`packing` in the order of its stream.

    Columns are sorted by filter. Inputs keep to their tile, but may change the lane: on the first with room wherever
    the tile then takes no more lanes than before. What no slot uses is left out. Of a packing that is arranged so
    already, nothing changes.
    """
    array = packing.array
    tiles = tuple(_stored_tile(tile, packing.fan_in, array.rows) for tile in packing.tiles)
    lanes = Lanes(array.rows, array.columns, packing.fan_in)
    return StoredLayer(lanes, packing.filters, packing.inputs, packing.groups, tiles)


def in_stored_order(packing: Packing, layer: StoredLayer) -> Packing:
    """`packing` with the tiles of `layer`: the same weights in the same tiles, in the order of the stream."""
    return replace(packing, tiles=tuple(tile_of_stored(tile) for tile in layer.tiles))


def tile_of_stored(stored: StoredTile) -> Tile:
    """The tile: lanes in the order in which they were opened, inputs of a lane in that in which they were placed."""
    order = placing_order(stored.counts)
    lanes = stored.lanes[order]
    by_lane = order[np.argsort(lanes, kind="stable")]
    sizes = np.bincount(lanes) if len(lanes) else np.zeros(0, np.int64)
    starts = np.append(0, np.cumsum(sizes))
    positions = np.empty(len(order), np.int64)
    positions[by_lane] = np.arange(len(order)) - np.repeat(starts[:-1], sizes)
    select = np.full((len(sizes), len(stored.filters)), EMPTY, np.int16)
    owner = np.repeat(np.arange(len(order)), stored.counts)
    select[stored.lanes[owner], stored.columns] = positions[owner]
    return Tile(
        stored.filters.astype(np.int32),
        starts.astype(np.int32),
        stored.inputs[by_lane].astype(np.int32),
        select,
    )


def most_inputs(lanes: Lanes, columns: int) -> int:
    """How many inputs the lanes of a tile can carry whose slots are in so many `columns`."""
    return lanes.rows * min(lanes.fan_in, columns)


def placing_order(counts: Numbers) -> Numbers:
    """The lane inputs in the order in which they are placed: those with most slots first, then as stored."""
    return np.argsort(-counts, kind="stable").astype(np.int64)


def column_words(owner: Numbers, columns: Numbers, inputs: int, width: int) -> Words:
    """A bit for each column of each of `inputs` lane inputs: (inputs, words) uint64; slots (owner, columns)."""
    words = np.zeros((inputs, -(-width // _WORD)), np.uint64)
    bits = np.uint64(1) << (columns % _WORD).astype(np.uint64)
    np.bitwise_or.at(words, (owner, columns // _WORD), bits)
    return words


def _stored_tile(tile: Tile, fan_in: int, rows: int) -> StoredTile:
    slots = _Slots.of(tile)
    own = slots.carried_once()
    order = placing_order(np.bincount(own.owner, minlength=len(own.inputs)))
    words = column_words(own.owner, own.columns, len(own.inputs), len(slots.filters))
    if own.repeats_a_slot() or not place(words, order, fan_in, order, 0, slots.most_lanes)[0]:
        own = slots
        order = placing_order(np.bincount(own.owner, minlength=len(own.inputs)))
        words = column_words(own.owner, own.columns, len(own.inputs), len(slots.filters))
        ranked = fewest_ranked(words, order, fan_in, own.lanes, slots.most_lanes)
    else:
        ranked = 0
    _, lanes, ranks, options = place(words, order, fan_in, own.lanes, ranked, rows)
    ends = np.cumsum(np.bincount(own.owner, minlength=len(own.inputs))).astype(np.int64)
    return StoredTile(slots.filters, own.inputs, ends, own.columns, ranked, ranks, options, lanes)


@dataclass(frozen=True)
class _Slots:
    """The slots of a tile by lane input: `owner` (lane input) and `columns` of each, sorted by owner, then column."""

    filters: Numbers
    inputs: Numbers
    lanes: Numbers
    owner: Numbers
    columns: Numbers
    most_lanes: int

    @classmethod
    def of(cls, tile: Tile) -> _Slots:
        lane, column = np.nonzero(tile.select != EMPTY)
        used = np.unique(column)
        used = used[np.argsort(tile.filters[used], kind="stable")]
        place_of = np.zeros(tile.columns, np.int64)
        place_of[used] = np.arange(len(used))
        carried = tile.lane_starts[lane] + tile.select[lane, column]
        by_use = np.lexsort((place_of[column], carried))
        carried, columns = carried[by_use], place_of[column][by_use]
        names, first = np.unique(carried, return_index=True)
        lanes = np.asarray(np.searchsorted(tile.lane_starts, names, side="right"), np.int64) - 1
        inputs = tile.inputs[names].astype(np.int64)
        # of equal inputs the one with the first column comes first, so that a stored tile is stored alike again
        order = np.lexsort((lanes, columns[first], inputs))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        owner = rank[np.searchsorted(names, carried)]
        again = np.argsort(owner, kind="stable")
        return cls(
            filters=tile.filters[used].astype(np.int64),
            inputs=inputs[order],
            lanes=lanes[order],
            owner=owner[again],
            columns=columns[again],
            most_lanes=len(np.unique(lanes)),
        )

    def carried_once(self) -> _Slots:
        """The same slots where one lane carries all uses of an input."""
        inputs, inverse = np.unique(self.inputs, return_inverse=True)
        owner = inverse[self.owner]
        order = np.lexsort((self.columns, owner))
        return replace(
            self,
            inputs=inputs,
            lanes=np.zeros(len(inputs), np.int64),
            owner=owner[order],
            columns=self.columns[order],
        )

    def repeats_a_slot(self) -> bool:
        """Whether an input is used twice in a column, as by two subwords of a weight."""
        same = (np.diff(self.owner) == 0) & (np.diff(self.columns) == 0)
        return bool(same.any())
