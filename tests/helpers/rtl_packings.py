"""Random packings that are valid but that no method would make."""

from __future__ import annotations

import numpy as np

from tightc.tile.array import ArrayShape
from tightc.tile.packing import EMPTY, Packing, Tile

_TRIES = 6  # slots that are tried before a tile is added


class _Draft:
    """A tile that is being filled: the filter of each column, the inputs of each lane, the input of each slot."""

    def __init__(self, rows: int, columns: int) -> None:
        self.filters: list[int | None] = [None] * columns
        self.lanes: list[list[int]] = [[] for _ in range(rows)]
        self.slots = np.full((rows, columns), EMPTY)

    def put(self, filter_: int, input_: int, row: int, column: int, fan_in: int) -> bool:
        """Whether the weight went to the slot."""
        if self.slots[row, column] != EMPTY or self.filters[column] not in (None, filter_):
            return False
        if input_ not in self.lanes[row]:
            if len(self.lanes[row]) == fan_in:
                return False
            self.lanes[row].append(input_)
        self.filters[column] = filter_
        self.slots[row, column] = input_
        return True

    def tile(self) -> Tile:
        """The tile, without lanes and columns that hold nothing."""
        rows, columns = (np.flatnonzero((self.slots != EMPTY).any(axis=axis)) for axis in (1, 0))
        select = np.full((len(rows), len(columns)), EMPTY, np.int16)
        for (i, row), (j, column) in ((a, b) for a in enumerate(rows) for b in enumerate(columns)):
            if self.slots[row, column] != EMPTY:
                select[i, j] = self.lanes[row].index(self.slots[row, column])
        lists = [self.lanes[row] for row in rows]
        return Tile(
            np.array([self.filters[column] for column in columns], np.int32),
            np.cumsum([0, *map(len, lists)]).astype(np.int32),
            np.array([input_ for lane in lists for input_ in lane], np.int32),
            select,
        )


def random_packing(
    values: np.ndarray,
    groups: int,
    array: tuple[int, int],
    fan_in: int,
    seed: int,
    subword_bits: int | None = None,
) -> Packing:
    """Every non-zero of `values`, (filters, inputs) int8, in a slot drawn at random.

    A filter has several columns of a tile and parts in many tiles; an input is on several lanes, and some lanes carry
    one that no slot selects; slots, lanes and columns stay empty.
    """
    rng = np.random.default_rng(seed)
    filters, inputs = values.shape
    drafts: list[_Draft] = []
    for filter_, local in rng.permutation(np.argwhere(values)):
        input_ = int(filter_) // (filters // groups) * inputs + int(local)
        for _ in range(_parts(int(values[filter_, local]), subword_bits)):
            _place(drafts, int(filter_), input_, array, fan_in, rng)
    for draft in drafts:
        for lane in draft.lanes:
            spare = int(rng.integers(groups * inputs))
            if len(lane) < fan_in and spare not in lane and rng.random() < 0.3:
                lane.insert(0, spare)
    tiles = tuple(draft.tile() for draft in drafts)
    shape = ArrayShape(*array)
    return Packing("random", shape, fan_in, filters, inputs, groups, tiles, subword_bits)


def _place(
    drafts: list[_Draft],
    filter_: int,
    input_: int,
    array: tuple[int, int],
    fan_in: int,
    rng: np.random.Generator,
) -> None:
    for _ in range(_TRIES if drafts else 0):
        draft = drafts[rng.integers(len(drafts))]
        if draft.put(filter_, input_, int(rng.integers(array[0])), int(rng.integers(array[1])), fan_in):
            return
    drafts.append(_Draft(*array))
    drafts[-1].put(filter_, input_, int(rng.integers(array[0])), int(rng.integers(array[1])), fan_in)


def _parts(weight: int, subword_bits: int | None) -> int:
    """Slots that a weight takes: its non-zero subwords."""
    if subword_bits is None:
        return 1
    mask = (1 << subword_bits) - 1
    return sum(bool(abs(weight) >> place & mask) for place in range(0, 8, subword_bits))
