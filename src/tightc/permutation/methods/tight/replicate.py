"""Plans with small tiles that the array holds several times, each replica for a part of the input vectors."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import ceil
from typing import NamedTuple

import numpy as np

from tightc.permutation.methods.tight.filter_set import FilterSet
from tightc.permutation.methods.tight.plan import Plan, stack
from tightc.permutation.methods.tight.tile_heights import Sizes
from tightc.tile.array import ArrayShape

_MOST_REPLICAS = 8
_FEWER = 2  # full tiles fewer than are needed without small ones, at most
_LARGER, _SMALLER = 3, 2  # tiles of the larger and of the smaller small kind, at most


class Kind(NamedTuple):
    """`tiles` tiles of `rows` x `columns`; the array holds `replicas` of each at a time."""

    tiles: int
    rows: int
    columns: int
    replicas: int = 1

    @classmethod
    def of(cls, replicas: int, tiles: int, array: ArrayShape) -> Kind:
        """The largest tiles that fit on `array` so many times."""
        return cls(tiles, array.rows // replicas, array.columns // replicas, replicas)


def replicated_plans(filters: FilterSet, array: ArrayShape, vectors: int, below: float) -> Iterator[Plan]:
    """Plans of full tiles and up to two kinds of small ones that take fewer than `below` cycles, the fastest first.

    The array holds several replicas of a small tile. Filters fill columns of the larger tiles first. The last kind is
    as low as the rest allows, which may leave room for more replicas than the order of the plans assumes.
    """
    weights = int(filters.sizes.sum())
    found = []
    for kinds in _mixes(filters.sizes, array):
        cycles = sum(
            kind.tiles * array.pass_cycles(ceil(vectors / min(vectors, kind.replicas))) for kind in kinds
        )
        if cycles < below and weights <= sum(kind.tiles * kind.rows * kind.columns for kind in kinds):
            found.append((cycles, sum(kind.tiles for kind in kinds), kinds))
    for _, _, kinds in sorted(found):
        plan = _plan(filters, kinds)
        if plan is not None:
            yield plan


def _mixes(sizes: Sizes, array: ArrayShape) -> Iterator[list[Kind]]:
    """Lists of kinds, each kind smaller than the one before, with at least one small kind."""
    most = ceil(int(np.sum(-(-sizes // array.rows))) / array.columns)
    every = range(2, min(_MOST_REPLICAS, array.rows, array.columns) + 1)
    larger = product(every, range(1, _LARGER + 1))
    for full, (replicas, tiles) in product(range(max(0, most - _FEWER), most + 1), larger):
        kinds = [Kind.of(1, full, array)] if full else []
        kinds.append(Kind.of(replicas, tiles, array))
        yield kinds
        for further, few in product(range(replicas + 1, every.stop), range(1, _SMALLER + 1)):
            yield [*kinds, Kind.of(further, few, array)]


def _plan(filters: FilterSet, kinds: list[Kind]) -> Plan | None:
    """The plan of tiles of these kinds; None if the filters do not fit."""
    *larger, last = kinds
    rest = filters.sizes
    given = []
    for kind, after in zip(larger, kinds[1:], strict=True):
        counts = _columns(rest, kind, after.rows)
        rest = np.maximum(0, rest - counts * kind.rows)
        given.append(counts)
    for height in range(1, last.rows + 1):
        counts = -(-rest // height)
        if counts.sum() <= last.tiles * last.columns:
            return _stacked(filters, [*larger, last._replace(rows=height)], [*given, counts])
    return None


def _columns(sizes: Sizes, kind: Kind, next_rows: int) -> Sizes:
    """Columns that each filter takes in tiles of `kind`: (filters,) int64.

    Every filter takes the columns that it fills, the largest ones fewer if there are not enough. Spare columns go where
    they save most columns of `next_rows`.
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


def _stacked(filters: FilterSet, kinds: list[Kind], counts: list[Sizes]) -> Plan:
    """The plan in which each filter has `counts` columns in the tiles of each kind."""
    owners, tiles = [], []
    heights: list[int] = []
    for kind, columns in zip(kinds, counts, strict=True):
        owner, tile = stack(columns, kind.tiles, kind.columns)
        owners.append(owner)
        tiles.append(tile + len(heights))
        heights += [kind.rows] * kind.tiles
    owner, tile = np.concatenate(owners), np.concatenate(tiles)
    order = np.lexsort((filters.ids[owner], tile))
    used, numbered = np.unique(tile[order], return_inverse=True)
    tall = np.array(heights, np.int64)[used]
    return Plan(tall, filters.ids[owner[order]].astype(np.int32), numbered.astype(np.int32))
