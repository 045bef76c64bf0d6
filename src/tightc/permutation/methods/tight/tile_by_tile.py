"""Tile by tile: each tile takes the filters and inputs that leave least behind; for a scarce fan-in.

Where lanes carry few inputs, a tile should hold nearly all readers of its inputs. So its filters are chosen for that,
then its inputs, and inputs with few readers in common share a lane. What does not fit is left for later tiles.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.permutation.annealing.rng import _draw, _next, _pick, seed_state
from tightc.permutation.methods.first_fit import fill_tiles
from tightc.permutation.methods.tight.insertion import insert
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import Ids
from tightc.tile.packing import EMPTY, Tile, tile_of_slots

Counts = NDArray[np.int64]

_LARGEST = 1 << 25  # weights of a layer, zeros included, that it is tried for
_EFFORT = 400_000_000  # inputs that the choices of filters may look at, in all
_SWAPS = 400  # of filters, for a tile, at most
_MOVES = 3000  # of inputs between lanes, for a tile
_WHOLE = 1 << 20  # value of an input whose readers are all inside


def fill_tile_by_tile(
    filters: Ids,
    inputs: Ids,
    array: ArrayShape,
    fan_in: int,
    seed: np.random.SeedSequence,
    *,
    ended: Callable[[], bool] = lambda: False,
) -> list[Tile]:
    """Tiles within the fan-in for all weights; none where the layer is too large for it.

    Once the search has `ended`, first fit takes what is left.

    `filters`, `inputs`: (weights,) int32, a pair for each slot that a weight takes.
    """
    used, row = np.unique(filters, return_inverse=True)
    read, column = np.unique(inputs, return_inverse=True)
    if len(used) * len(read) > _LARGEST:
        return []
    left = np.zeros((len(used), len(read)), np.int64)
    np.add.at(left, (row, column), 1)
    tiles: list[Tile] = []
    rng, most = seed_state(seed), min(len(read), array.rows * fan_in)
    expected = max(1, len(filters) // (array.rows * array.columns))
    swaps = int(np.clip(_EFFORT // (expected * len(read)), 1, _SWAPS))
    users, sizes = left.sum(axis=0), left.sum(axis=1)
    while sizes.any():
        if ended():
            row, column = np.nonzero(left)
            uses = left[row, column]
            filters, inputs = np.repeat(used[row], uses), np.repeat(read[column], uses)
            return [*tiles, *fill_tiles(filters, inputs, array, fan_in)]
        chosen, inside, rng = _choose(
            left, array.columns, most, users=users, sizes=sizes, swaps=swaps, rng=np.uint64(rng)
        )
        each = max(1, array.columns // len(chosen))
        lanes, rng = _lanes(
            left[np.ix_(chosen, inside)], array.rows, fan_in, each=each, moves=_MOVES, rng=np.uint64(rng)
        )
        slots = np.full((array.rows, len(chosen) * each), EMPTY, np.int32)
        _place(left, chosen, inside, lanes=lanes, each=each, slots=slots)
        held = slots != EMPTY
        users -= np.bincount(slots[held], minlength=len(read))
        sizes[chosen] -= held.reshape(array.rows, len(chosen), each).sum(axis=(0, 2))
        owners = np.repeat(used[chosen], each).astype(np.int32)
        tiles.append(tile_of_slots(owners, np.where(slots == EMPTY, EMPTY, read[slots]).astype(np.int32)))
    return dissolve(tiles, array, fan_in)


def dissolve(tiles: list[Tile], array: ArrayShape, fan_in: int) -> list[Tile]:
    """The tiles without those whose weights all find a slot in the others, the emptiest first."""
    while len(tiles) > 1:
        emptiest = min(range(len(tiles)), key=lambda i: int(np.count_nonzero(tiles[i].select != EMPTY)))
        filters, inputs = tiles[emptiest].slots()
        order = np.lexsort((inputs, filters))
        rest = [tile for i, tile in enumerate(tiles) if i != emptiest]
        filled, placed = insert(rest, filters[order], inputs[order], array, fan_in)
        if not placed.all():
            break
        tiles = filled
    return tiles


@njit(nogil=True, cache=True)
def _choose(
    left: Counts, columns: int, most: int, users: Counts, sizes: Counts, swaps: int, rng: np.uint64
) -> tuple[Counts, Counts, np.uint64]:
    """(filters of a tile, its inputs, next state of `rng`): filters change places as long as that leaves less behind.

    `left`: (filters, inputs) int64, slots that no tile holds yet; `users`, `sizes`: its sums, (inputs,) and
    (filters,). At most `columns` filters and `most` inputs.
    """
    candidates = np.flatnonzero(sizes)
    for i in range(len(candidates) - 1):  # in random order
        rng = _next(rng)
        j = i + _pick(_draw(rng), len(candidates) - i)
        candidates[i], candidates[j] = candidates[j], candidates[i]
    inside = np.zeros(left.shape[1], np.int64)
    for i in range(min(columns, len(candidates))):
        inside += left[candidates[i]]
    values = _values(inside, users)
    best, level = _sum_of_largest(values, most)
    outside = len(candidates) - columns
    for _ in range(swaps if outside > 0 else 0):
        rng = _next(rng)
        bits = _draw(rng)
        one, other = _pick(bits, columns), columns + _pick(bits >> np.uint64(20), outside)
        leaving, entering = left[candidates[one]], left[candidates[other]]
        if _change_above(level, values, inside, users=users, leaving=leaving, entering=entering) < 0:
            continue  # the sum of the largest falls at least as much
        tried = inside - leaving + entering
        tried_values = _values(tried, users)
        found, its_level = _sum_of_largest(tried_values, most)
        if found >= best:
            inside, values, best, level = tried, tried_values, found, its_level
            candidates[one], candidates[other] = candidates[other], candidates[one]
    order = np.argsort(-values, kind="mergesort")[:most]
    chosen = np.sort(candidates[: min(columns, len(candidates))])
    return chosen, np.sort(order[inside[order] > 0]), rng


@njit(nogil=True, cache=True)
def _value(inside: int, users: int) -> int:
    """What it is worth that so many of the `users` of an input are inside: more for the last than for the first."""
    return inside * inside * _WHOLE // max(users * users, 1) + inside


@njit(nogil=True, cache=True)
def _values(inside: Counts, users: Counts) -> Counts:
    """The value of each input, (inputs,) int64."""
    values = np.empty(len(inside), np.int64)
    for i in range(len(inside)):
        values[i] = _value(inside[i], users[i])
    return values


@njit(nogil=True, cache=True)
def _sum_of_largest(values: Counts, most: int) -> tuple[int, int]:
    """(the sum of the `most` largest values, the smallest of these)."""
    first = max(0, len(values) - most)
    ordered = np.partition(values, first)
    return int(ordered[first:].sum()), int(ordered[first])


@njit(nogil=True, cache=True)
def _change_above(
    level: int, values: Counts, inside: Counts, users: Counts, leaving: Counts, entering: Counts
) -> int:
    """By how much the sum of what `values` have above `level` changes when a filter leaves and another one enters.

    The `most` largest values add up to at most this sum and `most` times the level, and to as much where the level is
    the smallest of them. So that sum changes by no more.
    """
    change = 0
    for i in range(len(inside)):
        if leaving[i] != entering[i]:
            value = _value(inside[i] - leaving[i] + entering[i], users[i])
            change += max(value - level, 0) - max(values[i] - level, 0)
    return change


@njit(nogil=True, cache=True)
def _lanes(
    readers: Counts, rows: int, fan_in: int, each: int, moves: int, rng: np.uint64
) -> tuple[Counts, np.uint64]:
    """(lane of each input, next state of `rng`): few filters read more than `each` inputs of a lane.

    `readers`: (filters, inputs) int64, slots of each. A lane carries up to `fan_in` inputs.
    """
    filters, inputs = readers.shape
    load = np.zeros((rows, filters), np.int64)
    carried = np.zeros(rows, np.int64)
    lane_of = np.zeros(inputs, np.int64)
    for item in np.argsort(-readers.sum(axis=0), kind="mergesort"):
        best, least = -1, np.int64(1) << 60
        for row in range(rows):
            if carried[row] < fan_in:
                cost = 0
                for f in range(filters):
                    cost += max(0, load[row, f] + readers[f, item] - each) - max(0, load[row, f] - each)
                cost = cost * inputs + carried[row]
                if cost < least:
                    best, least = row, cost
        lane_of[item] = best
        carried[best] += 1
        load[best] += readers[:, item]
    for _ in range(moves):
        rng = _next(rng)
        bits = _draw(rng)
        one, two = _pick(bits, inputs), _pick(bits >> np.uint64(20), inputs)
        p, q = lane_of[one], lane_of[two]
        if p == q:
            continue
        change = 0
        for f in range(filters):
            delta = readers[f, two] - readers[f, one]
            change += max(0, load[p, f] + delta - each) - max(0, load[p, f] - each)
            change += max(0, load[q, f] - delta - each) - max(0, load[q, f] - each)
        if change <= 0:
            for f in range(filters):
                delta = readers[f, two] - readers[f, one]
                load[p, f] += delta
                load[q, f] -= delta
            lane_of[one], lane_of[two] = q, p
    return lane_of, rng


@njit(nogil=True, cache=True)
def _place(left: Counts, chosen: Counts, inside: Counts, lanes: Counts, each: int, slots: Ids) -> None:
    """Moves weights from `left` to `slots`, both in place: the inputs with most readers first, `each` slots of a lane.

    `slots`: (rows, filters x each) int32, receives the number of an input.
    """
    taken = np.zeros((slots.shape[0], len(chosen)), np.int64)
    readers = np.zeros(len(inside), np.int64)
    for number in range(len(inside)):
        for f in range(len(chosen)):
            readers[number] += left[chosen[f], inside[number]]
    for number in np.argsort(-readers, kind="mergesort"):
        item, row = inside[number], lanes[number]
        for f in range(len(chosen)):
            while left[chosen[f], item] and taken[row, f] < each:
                slots[row, f * each + taken[row, f]] = item
                taken[row, f] += 1
                left[chosen[f], item] -= 1
