"""A systolic array, PE by PE and cycle by cycle; nothing imported from tightc."""

from __future__ import annotations

from collections import Counter
from itertools import product
from math import ceil
from typing import Any

import numpy as np

from oracle.dense import dense_blocks, dense_tiles, with_groups
from oracle.machine import Entry, Loading, Machine, Queue, Run, column_groups_of, lane_groups_of
from oracle.overlapped import run_overlapped
from oracle.packings import block_diagonal


def run_stationary(
    tiles: list[dict[str, Any]],
    whole: Any,
    steps: Any,
    machine: Machine,
    temporal_tiles: int = 1,
    levels: int = 0,
) -> Run:
    """A layer of which `whole` (columns' numbers x lanes' numbers) stays, tile after tile, and `steps` pass through.

    Steps are cut into `temporal_tiles`, the longer ones first; each takes all tiles. Passes of one after the other are
    dealt to the arrays in entry. Replicas of a tile cut it once more. `levels`: of multiplexers before each PE.
    """
    counts: Counter[str] = Counter()
    outputs: dict[tuple[int, int], Any] = {}
    # columns that add to a sum that an earlier column, of this or an earlier tile, has left, and those of the last part
    adding, begun = [], set()
    for tile in tiles:
        adding.append(0)
        for f in tile["filters"]:
            adding[-1] += machine.overlaps or f in begun
            begun.add(f)
    ending, ended = [], set()
    for tile in reversed(tiles):
        ending.insert(0, set())
        for c, f in reversed(list(enumerate(tile["filters"]))):
            if machine.bypass and not machine.overlaps and f not in ended:
                ending[0].add(c)
            ended.add(f)
    turns = []
    for temporal_tile in cut(len(steps), temporal_tiles):
        for tile, own, last in zip(tiles, adding, ending, strict=True):
            room = min(machine.array[0] // len(tile["lanes"]), machine.array[1] // len(tile["filters"]))
            replicas = min(room, len(steps) // temporal_tiles) if machine.replicate_tiles else 1
            parts = [
                range(temporal_tile.start + part.start, temporal_tile.start + part.stop)
                for part in cut(len(temporal_tile), replicas)
            ]
            words = own + len(tile["filters"]) - len(last)
            turns.append(Entry(tile, words, frozenset(last), parts))
    at_once = min(machine.arrays, len(turns))
    rates = machine.shared(at_once)
    run = run_overlapped if machine.overlap else _turns
    took, starts = [], [0] * len(turns)
    for array in range(at_once):
        own_turns = turns[array :: machine.arrays]
        cycles, own_starts = run(own_turns, whole, steps, machine, rates, levels, outputs, counts)
        took.append(cycles)
        starts[array :: machine.arrays] = own_starts
    filters = len(whole)
    found = [[outputs.get((m, f), 0) for f in range(filters)] for m in range(len(steps))]
    return Run(found, max(took, default=0), sum(took), counts, tuple(starts))


def cut(count: int, temporal_tiles: int) -> list[range]:
    """0, 1, .. `count` - 1 in runs as equal as can be, longer ones first."""
    runs, first = [], 0
    for i in range(temporal_tiles):
        size = count // temporal_tiles + (i < count % temporal_tiles)
        runs.append(range(first, first + size))
        first += size
    return runs


def _turns(turns, whole, steps, machine, rates, levels, outputs, counts) -> tuple[int, list[int]]:
    """Cycles of one array for its passes, one after the other, and the cycle of the first step of each."""
    cycles, starts = 0, []
    loading = Loading(turns[0], whole, machine, rates[1])
    for i, entry in enumerate(turns):
        while loading.waiting:
            loading.tick(counts)
            cycles += 1
        held = loading.held
        assert len(held) == machine.array[0]
        counts["index_bits"] += loading.index_bits
        following = None
        if i + 1 < len(turns):
            loading = Loading(turns[i + 1], whole, machine, rates[1])
            following = loading if machine.prefetch else None
        took, waited = _stream(entry, held, following, steps, machine, rates, levels, outputs, counts)
        starts.append(cycles + waited)
        cycles += took
    return cycles, starts


def _stream(entry, held, following, steps, machine, rates, levels, outputs, counts) -> tuple[int, int]:
    """Cycles until both the array is empty and `following` is loaded, and those in which the first step waits.

    The copies take one of their steps each at the same time; buffers provide for all of them, also for those that have
    none left. Copies stand down the diagonal, and the groups of each: an activation passes all columns up to those of
    its own group in its own copy, a sum all lanes from those of its own group in its own copy on.
    """
    rows, columns = machine.array
    tile, parts = entry.tile, entry.parts
    high, wide, replicas = len(tile["lanes"]), len(tile["filters"]), len(parts)
    first = rows - replicas * high  # uppermost row in use
    # (copy, group) of each row and column in use: how far down the diagonal it stands
    lanes_at = [(copy, group) for copy in range(replicas) for group in lane_groups_of(tile)]
    columns_at = [(copy, group) for copy in range(replicas) for group in column_groups_of(tile)]
    distinct = len({k for lane in tile["lanes"] for k in lane})
    streams, sums = Queue(rates[0]), Queue(rates[2])
    entered: list[Any] = [None] * rows  # the time step that enters each row in this cycle
    bundles: list[list[Any]] = [[None] * columns for _ in range(rows)]
    partial: list[list[Any]] = [[None] * columns for _ in range(rows)]
    waiting, left, cycles, waited = list(range(len(parts[0]))), len(parts[0]), 0, None

    def busy(copy: int, t: int) -> bool:
        return copy < replicas and t < len(parts[copy])

    while left or (following and following.waiting):
        cycles += 1
        if following:
            following.tick(counts)
        streams.tick()
        sums.tick()
        step = None
        words = replicas * distinct, replicas * entry.sum_words
        if waiting and streams.has(words[0]) and sums.has(words[1]):
            step = waiting.pop(0)
            waited = cycles - 1 if waited is None else waited
            streams.take(words[0])
            sums.take(words[1])
            counts["begun"] += 1
            counts["streamed"] += distinct * sum(busy(copy, step) for copy in range(replicas))
        entered = [step, *entered[:-1]]
        now: list[list[Any]] = [[None] * columns for _ in range(rows)]
        below: list[list[Any]] = [[None] * columns for _ in range(rows)]
        for r, c in product(range(rows), range(columns)):
            own_row, own_column = (r - first) // high, c // wide  # copies that row and column belong to
            is_used = r >= first and c < len(columns_at) and columns_at[c] <= lanes_at[r - first]
            if c > 0:  # from the register before the first column of a group, as a wire within it
                now[r][c] = (now if c % machine.lane_columns else bundles)[r][c - 1]
            elif entered[r] is not None:
                lane = tile["lanes"][(r - first) % high] if r >= first and busy(own_row, entered[r]) else []
                now[r][c] = (entered[r], [steps[parts[own_row][entered[r]]][k] for k in lane])
                counts["edge"] += len(lane)
            if now[r][c] is None:
                continue
            t, bundle = now[r][c]
            total = 0
            if r > 0:
                assert partial[r - 1][c] is not None and partial[r - 1][c][0] == t, "a sum meets another step"
                total = partial[r - 1][c][1]
            if is_used and c % machine.lane_columns == 0:  # on its way to its copy and group, or in it
                counts["register"] += len(bundle)
            if is_used and busy(own_column, t):  # in its copy and group, or on its way out
                counts["sum"] += 1
            slot = held[r].get(c)
            if slot is not None and busy(own_row, t):
                weight, choice = slot
                total = total + weight * bundle[choice]
                counts["mac"] += 1
                counts["level"] += levels
            below[r][c] = (t, total)
            if r == rows - 1 and busy(own_column, t):
                at = (parts[own_column][t], tile["filters"][c % wide])
                counts["sum_read"] += at in outputs
                counts["sum_out"] += 1
                counts["sum_written"] += c % wide not in entry.ending
                outputs[at] = outputs.get(at, 0) + total
            left -= (r, c) == (rows - 1, columns - 1)
        bundles, partial = now, below
    return cycles, waited


def run_packing(
    tiles: list[dict[str, Any]],
    matrix: Any,
    groups: int,
    vectors: Any,
    machine: Machine,
    temporal_tiles: int = 1,
    levels: int = 0,
) -> Run:
    """The tiles of a layer, weight-stationary: weights stay, vectors (M, inputs of all groups) pass through."""
    whole = block_diagonal(np.asarray(matrix), groups).tolist()
    return run_stationary(tiles, whole, np.asarray(vectors).tolist(), machine, temporal_tiles, levels)


def run_dense(
    dataflow: str, matrix: Any, groups: int, vectors: Any, machine: Machine, temporal_tiles: int = 1
) -> Run:
    """A dense layer: weights stay (ws), activations stay and filters pass through (is), or sums stay (os)."""
    matrix, vectors = np.asarray(matrix), np.asarray(vectors)
    size, inputs, count = len(matrix) // groups, matrix.shape[1], len(vectors)
    if dataflow == "ws":
        tiles = with_groups(dense_tiles(size, inputs, machine.array, groups), size, inputs)
        return run_packing(tiles, matrix, groups, vectors, machine, temporal_tiles)
    if dataflow == "os":
        return _run_output_stationary(matrix.tolist(), groups, vectors.tolist(), machine)
    # column group * M + m is vector m of that group; step f is filter f of every group
    stays = [
        [x if k // inputs == group else 0 for k, x in enumerate(vectors[m].tolist())]
        for group in range(groups)
        for m in range(count)
    ]
    steps = [[w for group in range(groups) for w in matrix[group * size + f].tolist()] for f in range(size)]
    tiles = with_groups(dense_tiles(count, inputs, machine.array, groups), count, inputs)
    run = run_stationary(tiles, stays, steps, machine, temporal_tiles)
    outputs = [
        [run.outputs[f % size][f // size * count + m] for f in range(len(matrix))] for m in range(count)
    ]
    return run._replace(outputs=outputs)


def _run_output_stationary(matrix: Any, groups: int, vectors: Any, machine: Machine) -> Run:
    """Rows are vectors, columns filters: activations come from the left, weights from above, sums stay.

    The sums of a pass leave while the array works on; a pass takes at least as long as its own sums take to leave.
    """
    size, inputs = len(matrix) // groups, len(matrix[0])
    counts: Counter[str] = Counter()
    outputs = [[0] * len(matrix) for _ in vectors]
    passes = dense_blocks(size, len(vectors), groups, machine.array)
    at_once = min(machine.arrays, len(passes))
    rates = machine.shared(at_once)
    took = [0] * at_once
    for number, parts in enumerate(passes):
        down = [(part.group, m) for part in parts for m in part.inputs]
        across = [(part.group, f) for part in parts for f in part.filters]
        left = [[vectors[m][g * inputs + k] for g, m in down] for k in range(inputs)]
        above = [[matrix[g * size + f][k] for g, f in across] for k in range(inputs)]
        groups_at = [g for g, _ in down], [h for h, _ in across]
        sums, cycles = _stream_operands(left, above, groups_at, machine, rates, counts)
        for (r, (g, m)), (c, (h, f)) in product(enumerate(down), enumerate(across)):
            if g == h:
                outputs[m][g * size + f] += sums[r][c]
        leaving = sum(g == h for (g, _), (h, _) in product(down, across))
        counts["sum_out"] += leaving
        leaving = 0 if machine.bypass and not machine.overlaps else leaving
        counts["sum_written"] += leaving
        took[number % at_once] += max(cycles, ceil(leaving / rates[2]) if rates[2] else 0)
    return Run(outputs, max(took), sum(took), counts)


def _stream_operands(left, above, groups_at, machine, rates, counts) -> tuple[list[list[Any]], int]:
    """One pass of which sums stay, until the last step has gone through the last PE of the whole array.

    `groups_at`: the group of each row and of each column, in order down the diagonal. An operand moves on until it is
    through with its own group.
    """
    rows, columns = machine.array
    row_group, column_group = groups_at
    high, wide, count = len(left[0]), len(above[0]), len(left)
    sums = [[0] * wide for _ in range(high)]
    queues = [Queue(rates[0]), Queue(rates[1])]
    waiting, through, cycles = list(range(count)), 0, 0
    enter_left: list[Any] = [None] * rows
    enter_above: list[Any] = [None] * columns  # of each group of columns with a lane register
    right: list[list[Any]] = [[None] * columns for _ in range(rows)]
    down: list[list[Any]] = [[None] * columns for _ in range(rows)]
    while through < count:
        cycles += 1
        for queue in queues:
            queue.tick()
        step = None
        if waiting and queues[0].has(high) and queues[1].has(wide):
            step = waiting.pop(0)
            queues[0].take(high)
            queues[1].take(wide)
            counts["begun"] += 1
            counts["streamed"] += high
            counts["from_above"] += wide
            counts["edge"] += high + wide
        enter_left, enter_above = [step, *enter_left[:-1]], [step, *enter_above[:-1]]
        next_right: list[list[Any]] = [[None] * columns for _ in range(rows)]
        next_down: list[list[Any]] = [[None] * columns for _ in range(rows)]
        for r, c in product(range(rows), range(columns)):
            from_left = (next_right if c % machine.lane_columns else right)[r][c - 1]
            t = next_right[r][c] = from_left if c > 0 else enter_left[r]
            u = next_down[r][c] = down[r - 1][c] if r > 0 else enter_above[c // machine.lane_columns]
            assert t == u, "operands of different steps meet"
            if t is None:
                continue
            if r < high and c < wide:
                is_registered = c % machine.lane_columns == 0
                counts["register"] += (
                    is_registered and column_group[c] <= row_group[r]
                )  # the one from the left
                counts["register"] += row_group[r] <= column_group[c]  # the one from above
                if row_group[r] == column_group[c]:
                    sums[r][c] += left[t][r] * above[t][c]
                    counts["mac"] += 1
                    counts["sum"] += 1
            through += (r, c) == (rows - 1, columns - 1)
        right, down = next_right, next_down
    return sums, cycles


def stored_words(tiles: list[dict[str, Any]]) -> int:
    """Weights that tiles hold in memory: one for every slot, zeros between groups of a dense layer left out."""
    return sum(
        group == other
        for tile in tiles
        for group, other in product(lane_groups_of(tile), column_groups_of(tile))
    )
