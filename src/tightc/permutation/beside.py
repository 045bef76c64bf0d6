"""Plans for an array that puts copies of small tiles side by side, each copy for a part of the vectors."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import numpy as np

from tightc.permutation.heights import Sizes
from tightc.permutation.plan import Crowd, Plan, stack
from tightc.tiles.array import ArrayShape

_MOST_COPIES = 8
_MOST_SMALL = 8


def beside_plans(crowd: Crowd, array: ArrayShape, vectors: int, below: int) -> Iterator[Plan]:
    """Plans of tiles of full size and small ones that take fewer than `below` cycles, the fastest first.

    Small tiles have a number of copies side by side. Filters fill columns of full tiles first; what is left of them
    goes to columns of small ones, as low as it fits.
    """
    parts = int(np.sum(-(-crowd.sizes // array.rows)))
    most = ceil(parts / array.columns)
    found = []
    for copies in range(2, min(_MOST_COPIES, array.rows, array.columns) + 1):
        small = ArrayShape(array.rows // copies, array.columns // copies)
        for full in range(max(0, most - 2), most + 1):
            for tiles in range(1, _MOST_SMALL + 1):
                cycles = full * array.pass_cycles(vectors) + tiles * array.pass_cycles(ceil(vectors / copies))
                if cycles < below:
                    found.append((cycles, full + tiles, full, tiles, small))
    for _, _, full, tiles, small in sorted(found):
        plan = _plan(crowd, array, full, tiles, small)
        if plan is not None:
            yield plan


def _plan(crowd: Crowd, array: ArrayShape, full: int, tiles: int, small: ArrayShape) -> Plan | None:
    """`full` tiles of the array's size and `tiles` small ones; None where the filters do not fit."""
    for height in range(1, small.rows + 1):
        counts = _columns(crowd.sizes, array, full, height)
        if counts is not None and counts[1].sum() <= tiles * small.columns:
            wide, low = stack(counts[0], max(1, full), array.columns), stack(counts[1], tiles, small.columns)
            owner = np.concatenate([wide[0], low[0]])
            tile = np.concatenate([wide[1], low[1] + full])
            order = np.lexsort((crowd.filters[owner], tile))
            used, numbered = np.unique(tile[order], return_inverse=True)
            heights = np.where(used < full, array.rows, height).astype(np.int64)
            return Plan(heights, crowd.filters[owner[order]].astype(np.int32), numbered.astype(np.int32))
    return None


def _columns(sizes: Sizes, array: ArrayShape, full: int, height: int) -> tuple[Sizes, Sizes] | None:
    """Columns of each filter in full tiles and in tiles of `height`: two (filters,) int64.

    None where the full ones overflow. Every filter takes the full columns that it fills; those to spare go where they
    save most low ones.
    """
    wide = sizes // array.rows if full else np.zeros_like(sizes)
    spare = full * array.columns - int(wide.sum())
    if spare < 0:
        return None
    rest = sizes - wide * array.rows
    low = -(-rest // height)
    saved = np.argsort(-low, kind="stable")[:spare]
    saved = saved[low[saved] > 0]
    wide[saved] += 1
    low[saved] = 0
    return wide, low
