"""Tile heights: filters are cut into parts as tall as the tiles, so that little area is wasted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.permutation.annealing.rng import _draw, _next, _pick, seed_state
from tightc.tile.array import ArrayShape

Sizes = NDArray[np.int64]

IMPOSSIBLE = 1 << 60
_EFFORT = 6_000_000  # columns and filters that a search may cut, in all
_TRIES = (50, 3000)


@njit(nogil=True, cache=True)
def _cut(sizes: Sizes, heights: Sizes, columns: int, classes: Sizes, counts: Sizes) -> int:
    """Area of tiles of the given heights that hold filters of the given sizes, IMPOSSIBLE if none can.

    `sizes`: (filters,) int64 above 0. `heights`: (tiles,) int64, falling. `classes`: (tiles,) int64, and `counts`:
    (filters, classes) int64, receives the columns of each class of tiles that a filter takes. Tile by tile, columns go
    to the filters with most weights left, as long as these fill them; then to those for which the later tiles have no
    columns.
    """
    counts[:, :] = 0
    filters, tiles = len(sizes), len(heights)
    top = sizes.max()
    head = np.full(top + 1, -1, np.int64)
    following = np.empty(filters, np.int64)
    for i in range(filters):
        following[i] = head[sizes[i]]
        head[sizes[i]] = i
    left = sizes.copy()
    area = 0
    for tile in range(tiles):
        height = heights[tile]
        after = heights[tile + 1] if tile + 1 < tiles else 0
        room = (tiles - 1 - tile) * columns
        needed = -1
        used = 0
        while used < columns:
            while top > 0 and head[top] < 0:
                top -= 1
            if top == 0:
                break
            if top < height:
                if needed < 0:
                    needed = 0
                    for i in range(filters):
                        if after > 0:
                            needed += -(-left[i] // after)
                        elif left[i] > 0:
                            needed += 1
                if needed <= room:
                    break
                needed -= -(-top // after) if after > 0 else 1
            i = head[top]
            head[top] = following[i]
            left[i] = max(0, top - height)
            following[i] = head[left[i]]
            head[left[i]] = i
            counts[i, classes[tile]] += 1
            used += 1
        area += used * height
    return area if left.max() == 0 else IMPOSSIBLE


@njit(nogil=True, cache=True)
def _search_heights(
    sizes: Sizes, heights: Sizes, rows: int, columns: int, tail: int, tries: int, rng: np.uint64
) -> tuple[int, Sizes]:
    """(area, heights) of the best of `tries` changes of the last `tail` of `heights`, by annealing.

    `rows`, `columns`: of the array. `rng`: state of the random numbers, not 0.
    """
    tiles = len(heights)
    classes = np.zeros(tiles, np.int64)
    counts = np.zeros((len(sizes), 1), np.int64)
    current = heights.copy()
    area = _cut(sizes, current, columns, classes, counts)
    best, best_area = current.copy(), area
    for attempt in range(tries):
        tried = current.copy()
        for _ in range(2):
            rng = _next(rng)
            bits = _draw(rng)
            tile = tiles - 1 - _pick(bits, tail)
            if bits >> np.uint64(63):
                tried[tile] = 1 + _pick(bits >> np.uint64(16), rows)
            else:
                tried[tile] = min(rows, max(1, tried[tile] + _pick(bits >> np.uint64(16), 5) - 2))
        tried = np.sort(tried)[::-1].copy()
        found = _cut(sizes, tried, columns, classes, counts)
        if found == IMPOSSIBLE:
            continue
        rng = _next(rng)
        chance = (_draw(rng) >> np.uint64(11)) / 9007199254740992.0
        warmth = 0.01 * best_area * (1 - attempt / tries)
        if found <= area or chance < np.exp((area - found) / (warmth + 1e-9)):
            current, area = tried, found
        if found < best_area:
            best, best_area = tried, found
    return best_area, best


def search_heights(sizes: Sizes, array: ArrayShape, passes: int, seed: np.random.SeedSequence) -> Sizes:
    """Heights of `passes` tiles, falling, in which the filters waste little area: (passes,) int64.

    `sizes`: (filters,) int64 above 0. The height of a single tile is searched in full. Of many tiles, only the last
    ones, which hold the remainders, are changed. All are `rows` tall if nothing better is found.
    """
    full = np.full(passes, array.rows, np.int64)
    if passes == 1:
        heights = np.arange(1, array.rows + 1)
        columns = np.array([int(np.sum(-(-sizes // height))) for height in heights])
        areas = np.where(columns <= array.columns, columns * heights, IMPOSSIBLE)
        return heights[[int(areas.argmin())]].astype(np.int64) if areas.min() < IMPOSSIBLE else full
    tail = min(passes, -(-len(sizes) // array.columns) + 2)
    tries = int(np.clip(_EFFORT // (passes * array.columns + len(sizes)), *_TRIES))
    return _search_heights(
        sizes, full, rows=array.rows, columns=array.columns, tail=tail, tries=tries, rng=seed_state(seed)
    )[1]


def cut(sizes: Sizes, heights: Sizes, columns: int) -> tuple[Sizes, Sizes] | None:
    """(class heights, counts): distinct heights, falling, and how many columns of each a filter takes.

    `counts`: (filters, classes) int64. None if the filters do not fit into tiles of `heights`, (tiles,) int64.
    """
    falling = np.sort(heights)[::-1].astype(np.int64)
    distinct, classes = np.unique(-falling, return_inverse=True)
    counts = np.zeros((len(sizes), len(distinct)), np.int64)
    area = _cut(sizes, falling, columns, classes.astype(np.int64), counts)
    return None if area == IMPOSSIBLE else (-distinct, counts)
