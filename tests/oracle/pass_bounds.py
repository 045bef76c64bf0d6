"""Fewest passes by exhaustive search, and the lower bound of passes in exact fractions; nothing from tightc."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np

from oracle.packings import block_diagonal, lower_bound

Slots = dict[tuple[int, int], tuple[int, int]]  # of a tile: at (lane, column) a filter and an input


def fewest_passes(slots: np.ndarray, groups: int, array: tuple[int, int], fan_in: int) -> int:
    """The least number of passes of any lossless packing, by trying every slot for every weight. Tiny cases only.

    `slots`: (filters, inputs of a group), the slots that each weight takes.
    """
    whole = block_diagonal(slots, groups)
    weights = [(int(f), int(k)) for f, k in np.argwhere(whole) for _ in range(int(whole[f, k]))]
    passes = 0
    while not _fits(weights, [{} for _ in range(passes)], array, fan_in):
        passes += 1
    return passes


def _fits(weights: list[tuple[int, int]], tiles: list[Slots], array: tuple[int, int], fan_in: int) -> bool:
    """Whether the weights fit, too. Of tiles, lanes and columns that are empty only the first is tried."""
    if not weights:
        return True
    (f, k), rest = weights[0], weights[1:]
    empty = next((number for number, tile in enumerate(tiles) if not tile), len(tiles))
    for tile in tiles[: empty + 1]:
        filters = {column: held[0] for (_, column), held in tile.items()}
        lanes = {lane for lane, _ in tile}
        for lane in range(min(array[0], len(lanes) + 1)):
            carried = {held[1] for (other, _), held in tile.items() if other == lane}
            if len(carried | {k}) > fan_in:
                continue
            for column in range(min(array[1], len(filters) + 1)):
                if (lane, column) in tile or filters.get(column, f) != f:
                    continue
                tile[lane, column] = (f, k)
                if _fits(rest, tiles, array, fan_in):
                    return True
                del tile[lane, column]
    return False


def passes_bound(slots: np.ndarray, groups: int, array: tuple[int, int], fan_in: int) -> int:
    """The lower bound of docs/design/search.md, by loops over lists; columns are given out in every way."""
    rows, columns = array
    whole = [[int(n) for n in row] for row in block_diagonal(slots, groups).tolist()]
    sizes = [sum(row) for row in whole]
    users = [sum(row[k] for row in whole) for k in range(len(whole[0]))]
    if not any(sizes):
        return 0
    width = min(fan_in, columns)
    lane = min(columns, sum(sorted((min(u, columns) for u in users), reverse=True)[:width]))
    passes = max(
        lower_bound(_repeated(whole), array),
        ceil(Fraction(sum(ceil(u / columns) for u in users), rows * width)),
        ceil(Fraction(sum(sizes), rows * lane)),
    )
    while _least_inputs(whole, users, array, passes * columns) > passes * rows * width:
        passes += 1
    return passes


def _repeated(whole: list[list[int]]) -> np.ndarray:
    """As many ones in each row as it has slots."""
    longest = max(sum(row) for row in whole)
    return np.array([[1] * sum(row) + [0] * (longest - sum(row)) for row in whole])


def _least_inputs(whole: list[list[int]], users: list[int], array: tuple[int, int], columns: int) -> Fraction:
    """The least sum over filters of `_inputs_of` with so many columns for all: one filter after the other."""
    best = {0: Fraction(0)}  # by columns given out
    for f, row in enumerate(whole):
        least = ceil(sum(row) / array[0])
        costs = {}
        for more in range(columns - least + 1):
            costs[least + more] = _inputs_of(whole, f, users, array, least + more)
            if more and costs[least + more] == costs[least + more - 1]:
                break  # more columns are of no use
        following: dict[int, Fraction] = {}
        for given, cost in best.items():
            for taken, inputs in costs.items():
                if given + taken <= columns and cost + inputs < following.get(
                    given + taken, cost + inputs + 1
                ):
                    following[given + taken] = cost + inputs
        best = following
    return min(best.values(), default=Fraction(10**9))


def _inputs_of(
    whole: list[list[int]], f: int, users: list[int], array: tuple[int, int], columns: int
) -> Fraction:
    """The least sum of 1/c over the weights of filter `f` in so many columns."""
    rows, width = array
    overlaps = []
    for g, row in enumerate(whole):
        overlap = sum(a * b for a, b in zip(row, whole[f], strict=True)) if g != f else 0
        overlaps += [rows] * (overlap // rows) + [overlap % rows]
    pairs = sum(sorted(overlaps, reverse=True)[: columns * (width - 1)])
    pairs += sum(n * (n - 1) for n in whole[f])
    counts = [[1, min(users[k], width)] for k, n in enumerate(whole[f]) for _ in range(n)]
    for level in range(1, width):
        for count in counts:
            if count[0] == level < count[1] and pairs:
                count[0] += 1
                pairs -= 1
    return sum((Fraction(1, c) for c, _ in counts), Fraction(0))
