"""Plans for an array that puts copies of small tiles side by side, each copy for a part of the vectors."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import ceil
from typing import NamedTuple

import numpy as np

from tightc.permutation.methods.tight.plan import Crowd, Plan, stack
from tightc.permutation.methods.tight.tile_heights import Sizes
from tightc.tile.array import ArrayShape

_MOST_COPIES = 8
_FEWER = 2  # full tiles less than are needed without small ones
_SMALL = (3, 2)  # tiles at most of the larger small kind and of the smaller


class Kind(NamedTuple):
    """`tiles` tiles of a size."""

    tiles: int
    rows: int
    columns: int


def beside_plans(crowd: Crowd, array: ArrayShape, vectors: int, below: int) -> Iterator[Plan]:
    """Plans of full tiles and up to two kinds of small ones that take fewer than `below` cycles, the fastest first.

    Small tiles stand on the array several times. Filters fill columns of the larger tiles first; the last kind is as
    low as what is left allows, which may let it stand more often than the order knows.
    """
    weights = int(crowd.sizes.sum())
    found = []
    for copies, kinds in _mixes(crowd.sizes, array):
        cycles = sum(
            kind.tiles * array.pass_cycles(ceil(vectors / min(vectors, times)))
            for kind, times in zip(kinds, copies, strict=True)
        )
        if cycles < below and weights <= sum(kind.tiles * kind.rows * kind.columns for kind in kinds):
            found.append((cycles, sum(kind.tiles for kind in kinds), kinds))
    for _, _, kinds in sorted(found):
        plan = _plan(crowd, kinds)
        if plan is not None:
            yield plan


def _mixes(sizes: Sizes, array: ArrayShape) -> Iterator[tuple[list[int], list[Kind]]]:
    """(copies of each kind, kinds), each kind smaller than the one before, with a small kind at least."""
    most = ceil(int(np.sum(-(-sizes // array.rows))) / array.columns)
    every = range(2, min(_MOST_COPIES, array.rows, array.columns) + 1)
    larger = product(every, range(1, _SMALL[0] + 1))
    for full, (copies, tiles) in product(range(max(0, most - _FEWER), most + 1), larger):
        begun = [(1, full), (copies, tiles)] if full else [(copies, tiles)]
        yield _sized(begun, array)
        for second in product(range(copies + 1, every.stop), range(1, _SMALL[1] + 1)):
            yield _sized([*begun, second], array)


def _sized(mix: list[tuple[int, int]], array: ArrayShape) -> tuple[list[int], list[Kind]]:
    kinds = [Kind(tiles, array.rows // times, array.columns // times) for times, tiles in mix]
    return [times for times, _ in mix], kinds


def _plan(crowd: Crowd, kinds: list[Kind]) -> Plan | None:
    """The plan of tiles of these kinds; None where the filters do not fit."""
    *larger, last = kinds
    rest = crowd.sizes
    given = []
    for kind, after in zip(larger, kinds[1:], strict=True):
        counts = _columns(rest, kind, after.rows)
        rest = np.maximum(0, rest - counts * kind.rows)
        given.append(counts)
    for height in range(1, last.rows + 1):
        counts = -(-rest // height)
        if counts.sum() <= last.tiles * last.columns:
            return _stacked(crowd, [*larger, last._replace(rows=height)], [*given, counts])
    return None


def _columns(sizes: Sizes, kind: Kind, next_rows: int) -> Sizes:
    """Columns that each filter takes in tiles of `kind`: (filters,) int64.

    Every filter takes the columns that it fills, the largest ones fewer where there are not so many; those to spare go
    where they save most columns of `next_rows`.
    """
    counts = sizes // kind.rows
    spare = kind.tiles * kind.columns - int(counts.sum())
    while spare < 0:
        largest = np.flatnonzero(counts)[:-spare]
        counts[largest] -= 1
        spare += len(largest)
    saved = -(-(sizes - counts * kind.rows) // next_rows)
    chosen = np.argsort(-saved, kind="stable")[:spare]
    counts[chosen[saved[chosen] > 0]] += 1
    return counts


def _stacked(crowd: Crowd, kinds: list[Kind], counts: list[Sizes]) -> Plan:
    """The plan in which each filter has `counts` columns in the tiles of each kind."""
    owners, tiles = [], []
    heights: list[int] = []
    for kind, columns in zip(kinds, counts, strict=True):
        owner, tile = stack(columns, kind.tiles, kind.columns)
        owners.append(owner)
        tiles.append(tile + len(heights))
        heights += [kind.rows] * kind.tiles
    owner, tile = np.concatenate(owners), np.concatenate(tiles)
    order = np.lexsort((crowd.filters[owner], tile))
    used, numbered = np.unique(tile[order], return_inverse=True)
    tall = np.array(heights, np.int64)[used]
    return Plan(tall, crowd.filters[owner[order]].astype(np.int32), numbered.astype(np.int32))
