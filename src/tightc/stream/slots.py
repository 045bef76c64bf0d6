"""The slots of a tile by lane input, in the order of the stream."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tightc.stream.lane_search import LaneInputs, Words
from tightc.stream.subsets import Numbers
from tightc.tile.packing import EMPTY, Tile

_WORD = 64


@dataclass(frozen=True)
class Slots:
    """The slots of a tile: `owner` (lane input) and `columns` of each, sorted by owner, then column.

    `filters`: (columns,) int64, rising. `inputs` and `lanes`: (lane inputs,) int64, by input, then first column.
    """

    filters: Numbers
    inputs: Numbers
    lanes: Numbers
    owner: Numbers
    columns: Numbers

    @classmethod
    def of(cls, tile: Tile) -> Slots:
        """Those of `tile`, its columns sorted by filter; columns and inputs without a slot are left out."""
        lane, column = np.nonzero(tile.select != EMPTY)
        used = np.unique(column)
        used = used[np.argsort(tile.filters[used], kind="stable")]
        place_of = np.zeros(tile.columns, np.int64)
        place_of[used] = np.arange(len(used))
        names, carried = np.unique(tile.lane_starts[lane] + tile.select[lane, column], return_inverse=True)
        lanes = np.asarray(np.searchsorted(tile.lane_starts, names, side="right"), np.int64) - 1
        return cls._sorted(
            tile.filters[used].astype(np.int64),
            tile.inputs[names].astype(np.int64),
            lanes,
            carried.astype(np.int64),
            place_of[column],
        )

    @classmethod
    def _sorted(
        cls, filters: Numbers, inputs: Numbers, lanes: Numbers, owner: Numbers, columns: Numbers
    ) -> Slots:
        """As the class says, of lane inputs and slots in any order."""
        first = np.full(len(inputs), len(filters), np.int64)
        np.minimum.at(first, owner, columns)
        # of equal inputs the one with the first column comes first, so that a stored tile is stored alike again
        order = np.lexsort((lanes, first, inputs))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        by_use = np.lexsort((columns, rank[owner]))
        return cls(filters, inputs[order], lanes[order], rank[owner][by_use], columns[by_use])

    @property
    def counts(self) -> Numbers:
        """Slots of each lane input, (lane inputs,) int64."""
        return np.bincount(self.owner, minlength=len(self.inputs)).astype(np.int64)

    @property
    def lanes_used(self) -> int:
        """How many lanes carry an input."""
        return len(np.unique(self.lanes))

    def words(self) -> Words:
        """A bit for each column of each lane input: (lane inputs, words) uint64."""
        return column_words(self.owner, self.columns, len(self.inputs), len(self.filters))

    def carried_once(self) -> Slots:
        """The same slots where one lane carries all uses of an input."""
        inputs, inverse = np.unique(self.inputs, return_inverse=True)
        lanes = np.zeros(len(inputs), np.int64)
        return self._sorted(self.filters, inputs, lanes, inverse[self.owner], self.columns)

    def carried_by(self, found: LaneInputs) -> Slots:
        """The same slots by the lane inputs `found`, whose names are places among these inputs."""
        bits = np.arange(_WORD, dtype=np.uint64)
        ones = (found.columns[:, :, None] >> bits & np.uint64(1)).reshape(len(found.names), -1)
        owner, columns = np.nonzero(ones)
        return self._sorted(self.filters, self.inputs[found.names], found.lanes, owner, columns)

    def repeats_a_slot(self) -> bool:
        """Whether a lane input is used twice in a column, as by two subwords of a weight."""
        same = (np.diff(self.owner) == 0) & (np.diff(self.columns) == 0)
        return bool(same.any())


def column_words(owner: Numbers, columns: Numbers, inputs: int, width: int) -> Words:
    """A bit for each column of each of `inputs` lane inputs: (inputs, words) uint64; slots (owner, columns)."""
    words = np.zeros((inputs, -(-width // _WORD)), np.uint64)
    bits = np.uint64(1) << (columns % _WORD).astype(np.uint64)
    np.bitwise_or.at(words, (owner, columns // _WORD), bits)
    return words
