"""The arrangement of a layer in the order in which it is stored, and its tiles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tightc.stream.bits import choice_bits
from tightc.stream.costs import tile_costs
from tightc.stream.lane_search import BIT, Costs, Limits, search_lanes
from tightc.stream.placing import fewest_ranked, place
from tightc.stream.readable import Readable
from tightc.stream.slots import Slots
from tightc.stream.subsets import Numbers
from tightc.stream.tables import Table, best_table
from tightc.tile.packing import EMPTY, Packing, Tile


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
    lanes = Lanes(packing.array.rows, packing.array.columns, packing.fan_in)
    slots = [Slots.of(tile) for tile in packing.tiles]
    counts = [np.ones(1, np.int64), *(own.carried_once().counts for own in slots)]
    table = best_table(
        np.concatenate(counts)
    )  # close to that of the stream, whose lane inputs are not known yet
    sizes = packing.filters // packing.groups, packing.inputs
    tiles = tuple(_stored_tile(own, lanes, table, sizes) for own in slots)
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


def _stored_tile(slots: Slots, lanes: Lanes, table: Table, layer: tuple[int, int]) -> StoredTile:
    """The tile with `slots`; `layer`: filters and inputs of a group."""
    once = slots.carried_once()
    if once.repeats_a_slot() or not len(once.inputs):
        return _ranked_tile(slots, lanes)
    most = slots.lanes_used
    order = placing_order(once.counts)
    if place(once.words(), order, lanes.fan_in, order, 0, most)[0]:
        return _tile_of(once, lanes, 0)
    readable = Readable.of(slots.filters, *layer)
    best = _ranked_tile(slots, lanes)
    while True:
        limits = Limits(lanes.fan_in, int(best.lanes.max()) + 1, lanes.rows, len(best.inputs))
        costs = tile_costs(table, readable, once.inputs, limits.inputs - len(once.inputs))
        cost, found = search_lanes(once.words(), limits, costs)
        if cost < 0:
            return best
        tile = _ranked_tile(once.carried_by(found), lanes)
        if _cost(tile, costs, once.inputs) >= _cost(best, costs, once.inputs):
            return best
        best = tile  # what is stored again must come to the same end: search until nothing is gained


def _ranked_tile(slots: Slots, lanes: Lanes) -> StoredTile:
    """The tile whose inputs keep their lanes, as far as ranks are needed for that they take no more lanes."""
    ranked = fewest_ranked(
        slots.words(), placing_order(slots.counts), lanes.fan_in, slots.lanes, slots.lanes_used
    )
    return _tile_of(slots, lanes, ranked)


def _tile_of(slots: Slots, lanes: Lanes, ranked: int) -> StoredTile:
    order = placing_order(slots.counts)
    _, placed, ranks, options = place(slots.words(), order, lanes.fan_in, slots.lanes, ranked, lanes.rows)
    ends = np.cumsum(slots.counts).astype(np.int64)
    return StoredTile(slots.filters, slots.inputs, ends, slots.columns, ranked, ranks, options, placed)


def _cost(tile: StoredTile, costs: Costs, inputs: Numbers) -> int:
    """Bits of the lane inputs of `tile`, times BIT; `inputs`: the distinct ones."""
    group = costs.group[np.searchsorted(inputs, tile.inputs)]
    order = placing_order(tile.counts)[: tile.ranked]
    ranks = sum(map(choice_bits, tile.ranks[order].tolist(), tile.options[order].tolist()))
    repeats = costs.repeats[len(tile.inputs) - len(inputs)]
    return int(costs.uses[group, tile.counts].sum() + repeats) + BIT * ranks
