"""A dense layer as passes; nothing imported from tightc."""

from __future__ import annotations

from typing import Any, NamedTuple

from oracle.packings import EMPTY


class Part(NamedTuple):
    """A block of the matrix of one group: its `filters` at its `inputs`, both numbered within the group."""

    group: int
    filters: range
    inputs: range


def dense_blocks(filters: int, inputs: int, groups: int, array: tuple[int, int]) -> list[list[Part]]:
    """The passes of `groups` matrices of `filters` x `inputs`, each pass a list of blocks.

    A group's blocks come one after the other, those that differ in their inputs first. The last one waits for the last
    ones of the next groups as long as all that wait find room on the diagonal of one array; blocks that come first
    never share, not even where they would fit.
    """
    rows, columns = array
    passes: list[list[Part]] = []
    waiting: list[Part] = []
    for group in range(groups):
        own = [
            Part(group, range(f, min(f + columns, filters)), range(k, min(k + rows, inputs)))
            for f in range(0, filters, columns)
            for k in range(0, inputs, rows)
        ]
        together = [*waiting, own[-1]]
        too_tall = sum(len(part.inputs) for part in together) > rows
        too_wide = sum(len(part.filters) for part in together) > columns
        if waiting and (too_tall or too_wide):
            passes.append(waiting)
            waiting = []
        passes += [[part] for part in own[:-1]]
        waiting = [*waiting, own[-1]]
    return [*passes, waiting] if waiting else passes


def dense_tiles(filters: int, inputs: int, array: tuple[int, int], groups: int = 1) -> list[dict[str, Any]]:
    """The passes of a dense layer as tiles of fan-in 1; `filters` and `inputs` are those of one group."""
    tiles = []
    for parts in dense_blocks(filters, inputs, groups, array):
        lanes = [part.group * inputs + k for part in parts for k in part.inputs]
        chosen = [part.group * filters + f for part in parts for f in part.filters]
        select = [[0 if k // inputs == f // filters else EMPTY for f in chosen] for k in lanes]
        tiles.append({"lanes": [[k] for k in lanes], "filters": chosen, "select": select})
    return tiles


def with_groups(tiles: list[dict[str, Any]], filters: int, inputs: int) -> list[dict[str, Any]]:
    """The tiles of a dense layer, each with the group of each of its lanes and of each of its columns.

    `filters` and `inputs` are those of one group. Groups that share a tile stand down its diagonal, in order. A slot of
    a lane and a column of different groups holds a zero that nobody stores: the layer's size says where they are.
    """
    return [
        {
            **tile,
            "lane_groups": [lane[0] // inputs for lane in tile["lanes"]],
            "column_groups": [f // filters for f in tile["filters"]],
        }
        for tile in tiles
    ]
