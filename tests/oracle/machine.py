"""The accelerator of the stepped arrays, and how a tile is loaded into one; nothing imported from tightc."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any, NamedTuple

from oracle.packings import EMPTY


class Machine(NamedTuple):
    """The accelerator of a layer; words that each buffer delivers in a cycle, text or number, None if unlimited.

    `streams` feeds what passes through, `stays` what is loaded (with output-stationary passes: what comes from above),
    `sums` takes and gives sums. `arrays` share all three in equal parts, as many as have something to do at all.
    `replicate_tiles`: a tile is replicated on the diagonal of the array as long as it fits and each replica has a step.
    `lane_columns`: columns that read the same register of a lane. `overlap`: PEs have a second register for what stays,
    and a pass begins behind the last step of the one before. `bypass`: a sum to which nothing is added any more leaves
    without being stored; `overlaps`: to each sum something is added after it has left.
    """

    array: tuple[int, int]
    streams: Any = None
    stays: Any = None
    sums: Any = None
    arrays: int = 1
    prefetch: bool = False
    operand_bytes: int = 1
    replicate_tiles: bool = False
    lane_columns: int = 1
    overlap: bool = False
    bypass: bool = False
    overlaps: bool = False

    def shared(self, at_once: int) -> list[Fraction | None]:
        """Words a cycle from (streams, stays, sums) for each of `at_once` arrays."""
        return [
            None if words is None else Fraction(str(words)) / max(1, at_once)
            for words in (self.streams, self.stays, self.sums)
        ]


class Run(NamedTuple):
    """`outputs` (vectors, filters); `cycles` of the busiest array, `all_cycles` of all arrays; `counts` of words.

    `starts`: for each pass in order the cycle in which its first step entered.
    """

    outputs: list[list[Any]]
    cycles: int
    all_cycles: int
    counts: Counter[str]
    starts: tuple[int, ...] = ()


class Queue:
    """Words that a buffer has delivered and nobody has taken; it never stops delivering."""

    def __init__(self, words_per_cycle: Fraction | None) -> None:
        self.rate, self.words = words_per_cycle, Fraction(0)

    def tick(self) -> None:
        self.words += self.rate or 0

    def has(self, words: Fraction | int) -> bool:
        return self.rate is None or self.words >= words

    def take(self, words: Fraction | int) -> None:
        self.words -= 0 if self.rate is None else words


class Entry(NamedTuple):
    """A pass of a `tile`; `parts`: the steps of each copy.

    `sum_words`: sums that each copy reads and writes in a step. `ending`: its columns to which no later one adds.
    """

    tile: dict[str, Any]
    sum_words: int
    ending: frozenset[int]
    parts: list[range]


def lane_groups_of(tile: dict[str, Any]) -> list[int]:
    """The group of each lane; one for all where the tile has none."""
    return tile.get("lane_groups", [0] * len(tile["lanes"]))


def column_groups_of(tile: dict[str, Any]) -> list[int]:
    """The group of each column; one for all where the tile has none."""
    return tile.get("column_groups", [0] * len(tile["filters"]))


class Loading:
    """What stays on its way up: the uppermost row enters first, below; each row that enters moves all above it up.

    A row is (words, {column: slot}); rows above the copies are empty, take no words and still a cycle each. The first
    copy is uppermost and leftmost. Where a tile has groups, a row has the slots of its own group only.
    """

    def __init__(self, entry: Entry, whole: Any, machine: Machine, rate: Fraction | None) -> None:
        tile, replicas = entry.tile, len(entry.parts)
        high, wide = len(tile["lanes"]), len(tile["filters"])
        index_words = Fraction(tile.get("index_bits", 0), 8 * machine.operand_bytes)
        self.waiting: list[Any] = [(0, {})] * (machine.array[0] - replicas * high)
        for copy in range(replicas):
            for lane, selected, group in zip(
                tile["lanes"], tile["select"], lane_groups_of(tile), strict=True
            ):
                chosen = zip(tile["filters"], selected, column_groups_of(tile), strict=True)
                row = {
                    copy * wide + c: None if choice == EMPTY else (whole[f][lane[choice]], choice)
                    for c, (f, choice, other) in enumerate(chosen)
                    if group == other
                }
                self.waiting.append((len(row) + index_words / high, row))
        self.index_bits = replicas * tile.get("index_bits", 0)
        self.held: list[Any] = [{}] * machine.array[0]
        self.queue = Queue(rate)

    def tick(self, counts: Counter[str]) -> None:
        """One cycle: a row enters if its words are there."""
        self.queue.tick()
        if not self.waiting or not self.queue.has(self.waiting[0][0]):
            return
        words, row = self.waiting.pop(0)
        self.queue.take(words)
        self.held = [*self.held[1:], row]
        counts["loaded"] += len(row)
        counts["load_hops"] += sum(len(there) for there in self.held)
