"""A systolic array whose PEs have two registers for what stays: passes follow without emptying it.

Every value has the number of the pass that it belongs to with it, so that a product or sum across passes is found.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from oracle.machine import Entry, Loading, Queue, column_groups_of, lane_groups_of


class _Geometry:
    """Where the copies of a tile stand on the diagonal, and what each lane brings."""

    def __init__(self, entry: Entry, rows: int) -> None:
        tile, self.parts, self.ending = entry.tile, entry.parts, entry.ending
        self.high, self.wide, self.replicas = len(tile["lanes"]), len(tile["filters"]), len(entry.parts)
        self.first = rows - self.replicas * self.high
        self.lanes, self.filters = tile["lanes"], tile["filters"]
        self.lanes_at = [(copy, g) for copy in range(self.replicas) for g in lane_groups_of(tile)]
        self.columns_at = [(copy, g) for copy in range(self.replicas) for g in column_groups_of(tile)]
        self.distinct = len({k for lane in tile["lanes"] for k in lane})
        self.words = self.replicas * self.distinct, self.replicas * entry.sum_words

    def busy(self, copy: int, t: int) -> bool:
        return copy < self.replicas and t < len(self.parts[copy])

    def is_used(self, r: int, c: int) -> bool:
        in_columns = c < len(self.columns_at)
        return r >= self.first and in_columns and self.columns_at[c] <= self.lanes_at[r - self.first]

    def bundle(self, r: int, t: int, steps: Any) -> list[Any]:
        """What step `t` puts on row `r`."""
        copy = (r - self.first) // self.high
        if r < self.first or not self.busy(copy, t):
            return []
        return [steps[self.parts[copy][t]][k] for k in self.lanes[(r - self.first) % self.high]]


class _Array:
    """Registers between PEs: `wires` are what each PE sees in this cycle, `registers` what it passes to the right."""

    def __init__(self, rows: int, columns: int, lane_columns: int) -> None:
        self.rows, self.columns, self.lane_columns = rows, columns, lane_columns
        self.seen: dict[str, list[list[Any]]] = {}

    def pass_right(self, name: str, at_edge: list[Any]) -> list[list[Any]]:
        """What each PE of each row sees: the edge first, a register where a group of columns begins."""
        before = self.seen.get(name, [[None] * self.columns for _ in at_edge])
        now = [[None] * self.columns for _ in at_edge]
        for r, c in product(range(len(at_edge)), range(self.columns)):
            if c == 0:
                now[r][c] = at_edge[r]
            elif c % self.lane_columns == 0:
                now[r][c] = before[r][c - 1]
            else:
                now[r][c] = now[r][c - 1]
        self.seen[name] = now
        return now


def run_overlapped(turns, whole, steps, machine, rates, levels, outputs, counts) -> tuple[int, list[int]]:
    """Cycles of one array for its passes, and the cycle of the first step of each."""
    rows, columns = machine.array
    array = _Array(rows, columns, machine.lane_columns)
    places = [_Geometry(entry, rows) for entry in turns]
    # (pass, slot) in the register that multiplies and in the one that is loaded; None where nothing came yet
    active: list[list[Any]] = [[None] * columns for _ in range(rows)]
    shadow: list[list[Any]] = [[None] * columns for _ in range(rows)]
    partial: list[list[Any]] = [[None] * columns for _ in range(rows)]
    starting: list[Any] = [None] * rows  # the pass that takes over each row's first column in this cycle
    entered: list[Any] = [None] * rows  # (pass, step) that enters each row
    current, waiting, starts = -1, [], [None] * len(turns)
    streams = sums = None
    loading, is_free = Loading(turns[0], whole, machine, rates[1]), True
    left, cycles = sum(len(entry.parts[0]) for entry in turns), 0
    while left:
        start = None
        if loading is not None and not waiting and not loading.waiting:
            current, start, is_free = current + 1, current + 1, False
            counts["index_bits"] += loading.index_bits
            waiting = list(range(len(turns[current].parts[0])))
            streams, sums = Queue(rates[0]), Queue(rates[2])
            is_more = current + 1 < len(turns)
            loading = Loading(turns[current + 1], whole, machine, rates[1]) if is_more else None
        starting = [start, *starting[:-1]]
        is_free = is_free or starting[-1] == current  # the lowest row of the first column has taken over
        step = None
        if current >= 0:
            place = places[current]
            streams.tick()
            sums.tick()
            if waiting and streams.has(place.words[0]) and sums.has(place.words[1]):
                step = (current, waiting.pop(0))
                streams.take(place.words[0])
                sums.take(place.words[1])
                starts[current] = cycles if starts[current] is None else starts[current]
                counts["begun"] += 1
                moved = sum(place.busy(copy, step[1]) for copy in range(place.replicas))
                counts["streamed"] += place.distinct * moved
        entered = [step, *entered[:-1]]
        row = None
        if loading is not None and is_free:
            loading.queue.tick()
            if loading.waiting and loading.queue.has(loading.waiting[0][0]):
                words, slots = loading.waiting.pop(0)
                loading.queue.take(words)
                counts["loaded"] += len(slots)
                row = (current + 1, slots)
        at_edge = []
        for r, own in enumerate(entered):
            bundle = None if own is None else (*own, places[own[0]].bundle(r, own[1], steps))
            counts["edge"] += len(bundle[2]) if bundle else 0
            at_edge.append(bundle)
        takes_over = array.pass_right("start", starting)
        bundles = array.pass_right("step", at_edge)
        (rising,) = array.pass_right("row", [row])
        below: list[list[Any]] = [[None] * columns for _ in range(rows)]
        for r, c in product(range(rows), range(columns)):
            if takes_over[r][c] is not None:
                active[r][c] = shadow[r][c]
                assert active[r][c][0] == takes_over[r][c], "a PE takes over what is not loaded yet"
            if bundles[r][c] is not None:
                above = partial[r - 1][c] if r > 0 else None
                below[r][c] = _multiply(
                    places, (r, c), bundles[r][c], active[r][c], above, machine, levels, counts
                )
            elif r > 0:
                assert partial[r - 1][c] is None, "a sum without a step"
        for c in range(columns):
            if rising[c] is not None:
                number, slots = rising[c]
                for r in range(rows - 1):
                    shadow[r][c] = shadow[r + 1][c]
                shadow[-1][c] = (number, slots.get(c), c in slots)
                counts["load_hops"] += sum(
                    shadow[r][c] is not None and shadow[r][c][0] == number and shadow[r][c][2]
                    for r in range(rows)
                )
            if below[-1][c] is not None:
                _leave(places, c, below[-1][c], outputs, counts)
                left -= c == columns - 1
        partial = below
        cycles += 1
    return cycles, starts


def _multiply(places, at, bundle, held, above, machine, levels, counts) -> tuple[int, int, Any]:
    """(pass, step, sum) that the PE at (row, column) passes down."""
    r, c = at
    number, t, inputs = bundle
    place = places[number]
    assert held[0] == number, "a step meets the weights of another pass"
    total = 0
    if r > 0:
        assert above is not None and above[:2] == (number, t), "a sum meets another step"
        total = above[2]
    if place.is_used(r, c):
        counts["register"] += len(inputs) * (c % machine.lane_columns == 0)
        counts["sum"] += place.busy(c // place.wide, t)
    slot = held[1]
    if slot is not None and place.busy((r - place.first) // place.high, t):
        weight, choice = slot
        total = total + weight * inputs[choice]
        counts["mac"] += 1
        counts["level"] += levels
    return number, t, total


def _leave(places, c, leaving, outputs, counts) -> None:
    """Adds what leaves column `c` to its output."""
    number, t, total = leaving
    place = places[number]
    copy = c // place.wide
    if not place.busy(copy, t):
        return
    at = (place.parts[copy][t], place.filters[c % place.wide])
    counts["sum_out"] += 1
    counts["sum_read"] += at in outputs
    counts["sum_written"] += c % place.wide not in place.ending
    outputs[at] = outputs.get(at, 0) + total
