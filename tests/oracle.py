"""Slow, plain answers to compare tightc with: loops over lists, nothing imported from tightc.

A packing is a list of tiles; a tile is a dict of plain lists: `lanes` (the inputs that each lane carries), `filters`
(one for each column) and `select` (rows of columns, -1 for an empty slot).
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import combinations, pairwise, product
from math import ceil
from typing import Any, NamedTuple

import numpy as np

EMPTY = -1


def plain(packing: Any) -> list[dict[str, Any]]:
    """The tiles of anything that has the arrays of a packing, as lists."""
    tiles = []
    for tile in packing.tiles:
        starts = tile.lane_starts.tolist()
        inputs = tile.inputs.tolist()
        lanes = [inputs[a:b] for a, b in pairwise(starts)]
        assert starts[0] == 0 and starts[-1] == len(inputs), "lists that no lane has"
        tiles.append({"lanes": lanes, "filters": tile.filters.tolist(), "select": tile.select.tolist()})
    return tiles


# --- packings ---------------------------------------------------------------------------------------------------


def block_diagonal(matrix: np.ndarray, groups: int) -> np.ndarray:
    """(filters, inputs of a group) with the groups one below the other -> (filters, inputs of all groups)."""
    filters, inputs = matrix.shape
    whole = np.zeros((filters, inputs * groups), matrix.dtype)
    for f in range(filters):
        group = f // (filters // groups)
        whole[f, group * inputs : (group + 1) * inputs] = matrix[f]
    return whole


def packing_faults(
    tiles: list[dict[str, Any]],
    matrix: np.ndarray,
    groups: int,
    array: tuple[int, int],
    fan_in: int,
    kept: np.ndarray | None = None,
) -> list[str]:
    """All that is wrong with a packing of `kept`, or of all non-zeros, and nothing else; empty where nothing is.

    `kept`: bool, of the shape of `matrix`. A lossless packing may also give zeros a slot, a lossy one may not.
    """
    rows, columns = array
    whole = block_diagonal(matrix if kept is None else kept, groups)
    per_group = matrix.shape[0] // groups
    faults = []
    uses = np.zeros(whole.shape, int)
    for t, tile in enumerate(tiles):
        if len(tile["lanes"]) > rows or len(tile["filters"]) > columns:
            faults.append(f"tile {t}: larger than the array")
        if len(tile["select"]) != len(tile["lanes"]):
            faults.append(f"tile {t}: rows of slots and lanes differ")
        if not tile["lanes"] or not tile["filters"]:
            faults.append(f"tile {t}: empty")
        for lane, carried in enumerate(tile["lanes"]):
            if len(carried) > fan_in:
                faults.append(f"tile {t} lane {lane}: beyond the fan-in")
            if len(set(carried)) != len(carried):
                faults.append(f"tile {t} lane {lane}: carries an input twice")
            selected = tile["select"][lane]
            if len(selected) != len(tile["filters"]):
                faults.append(f"tile {t} lane {lane}: slots and columns differ")
            for column, choice in enumerate(selected):
                if choice == EMPTY:
                    continue
                if not 0 <= choice < len(carried):
                    faults.append(
                        f"tile {t} lane {lane} column {column}: selects what the lane does not carry"
                    )
                    continue
                f, k = tile["filters"][column], carried[choice]
                if not (0 <= f < whole.shape[0] and 0 <= k < whole.shape[1]):
                    faults.append(f"tile {t} lane {lane} column {column}: no such weight")
                elif f // per_group != k // matrix.shape[1]:
                    faults.append(
                        f"tile {t} lane {lane} column {column}: filter and input of different groups"
                    )
                else:
                    uses[f, k] += 1
    faults += [f"weight {f},{k}: {uses[f, k]} slots" for f, k in zip(*np.nonzero(uses > 1), strict=True)]
    if kept is not None:
        faults += [
            f"weight {f},{k}: not to be kept"
            for f, k in zip(*np.nonzero((uses > 0) & (whole == 0)), strict=True)
        ]
    missing = (whole != 0) & (uses == 0)
    faults += [f"weight {f},{k}: no slot" for f, k in zip(*np.nonzero(missing), strict=True)]
    return faults


def first_fit(columns: list[list[int]], rows: int, fan_in: int) -> list[list[int]]:
    """The lane of each weight of a tile, -1 where it has no room; `columns` holds the inputs of each."""
    carried: list[set[int]] = [set() for _ in range(rows)]
    lanes = []
    for inputs in columns:
        free = list(range(rows))
        chosen = []
        for k in inputs:
            there = [lane for lane in free if k in carried[lane]]
            roomy = [lane for lane in free if len(carried[lane]) < fan_in]
            lane = (there or roomy or [-1])[0]
            if lane >= 0:
                free.remove(lane)
                carried[lane].add(k)
            chosen.append(lane)
        lanes.append(chosen)
    return lanes


def combined_inputs(block: np.ndarray, alpha: int, gamma: float) -> list[list[int]]:
    """Column combining of one group of a layer, (filters, inputs): the inputs of each lane, ascending.

    The input with most weights opens a lane; then comes the one that fills most further filters, of equals the one
    that drops least, then the one that would have opened a lane first.
    """
    weights = {k: {f for f, w in enumerate(column) if w != 0} for k, column in enumerate(block.T.tolist())}
    waiting = sorted((k for k in weights if weights[k]), key=lambda k: (-len(weights[k]), k))
    lanes = []
    while waiting:
        lane = [waiting.pop(0)]
        filled, dropped = set(weights[lane[0]]), 0
        while len(lane) < alpha:
            fitting = [k for k in waiting if dropped + len(filled & weights[k]) <= gamma * len(block) + 1e-9]
            if not fitting:
                break
            best = min(fitting, key=lambda k: (-len(weights[k] - filled), len(weights[k] & filled)))
            waiting.remove(best)
            lane.append(best)
            dropped += len(filled & weights[best])
            filled |= weights[best]
        lanes.append(sorted(lane))
    return lanes


def combined_kept(matrix: np.ndarray, groups: int, lanes: list[list[list[int]]]) -> np.ndarray:
    """Which weights are left once only the largest of each lane and filter is, the first of equals; bool.

    `lanes`: for each group the inputs of each lane, numbered within the group.
    """
    kept = np.zeros(matrix.shape, bool)
    per_group = matrix.shape[0] // groups
    for f in range(matrix.shape[0]):
        for lane in lanes[f // per_group]:
            largest = max(lane, key=lambda k: (abs(float(matrix[f, k])), -k))
            kept[f, largest] = matrix[f, largest] != 0
    return kept


def nm_kept(block: np.ndarray, order: list[int], kept: int, group: int) -> np.ndarray:
    """Which weights N:M sparsity keeps of one group of a layer, (filters, inputs): bool. Of equals the first."""
    mask = np.zeros(block.shape, bool)
    for f, row in enumerate(np.abs(block).tolist()):
        for first in range(0, len(order), group):
            members = order[first : first + group]
            for k in sorted(members, key=lambda k: (-row[k], members.index(k)))[:kept]:
                mask[f, k] = row[k] != 0
    return mask


def nm_bound(block: np.ndarray, kept: int, group: int) -> float:
    """The magnitude of what a filter could keep at most, with as many weights, summed over filters."""
    inputs = block.shape[1]
    count = inputs // group * kept + min(inputs % group, kept)
    return sum(sum(sorted(row, reverse=True)[:count]) for row in np.abs(block).tolist())


def best_nm_magnitude(block: np.ndarray, kept: int, group: int) -> float:
    """The magnitude kept in the best of all orders of inputs. Tiny cases only."""

    def best(left: tuple[int, ...]) -> float:
        if not left:
            return 0.0
        found = 0.0
        # the short group, if there is one, is taken first
        size = len(left) % group or group
        pool = (
            combinations(left, size)
            if size < group
            else ((left[0], *c) for c in combinations(left[1:], size - 1))
        )
        for members in pool:
            rest = tuple(k for k in left if k not in members)
            own = sum(sum(sorted((row[k] for k in members), reverse=True)[:kept]) for row in rows)
            found = max(found, own + best(rest))
        return found

    rows = np.abs(block).tolist()
    return best(tuple(range(block.shape[1])))


def lower_bound(matrix: np.ndarray, array: tuple[int, int]) -> int:
    """Columns that the filters need, spread over passes."""
    rows, columns = array
    needed = sum(ceil(sum(1 for w in row if w != 0) / rows) for row in matrix.tolist())
    return ceil(needed / columns)


def fewest_passes(matrix: np.ndarray, groups: int, array: tuple[int, int], fan_in: int) -> int:
    """The least number of passes of any lossless packing, by trying every slot for every weight. Tiny cases only."""
    whole = block_diagonal(matrix, groups)
    weights = [(int(f), int(k)) for f, k in zip(*np.nonzero(whole), strict=True)]
    passes = 0
    while not _fits(weights, passes, array, fan_in, {}, {}, set()):
        passes += 1
    return passes


def _fits(weights, passes, array, fan_in, column_filter, lane_inputs, taken) -> bool:
    if not weights:
        return True
    (f, k), rest = weights[0], weights[1:]
    rows, columns = array
    for t, lane, column in product(range(passes), range(rows), range(columns)):
        if (t, lane, column) in taken or column_filter.get((t, column), f) != f:
            continue
        carried = lane_inputs.get((t, lane), frozenset()) | {k}
        if len(carried) > fan_in:
            continue
        if _fits(
            rest,
            passes,
            array,
            fan_in,
            {**column_filter, (t, column): f},
            {**lane_inputs, (t, lane): carried},
            taken | {(t, lane, column)},
        ):
            return True
    return False


def anneal_cost(slots: list[list[int]], fan_in: int) -> int:
    """Quarters: 4 for each input beyond the fan-in of its lane, 1 for each input carried."""
    cost = 0
    for lane in slots:
        carried = len({item for item in lane if item != EMPTY})
        cost += carried + (4 * (carried - fan_in) if carried > fan_in else 0)
    return cost


def measures(
    tiles: list[dict[str, Any]], matrix: np.ndarray, groups: int, array: tuple[int, int]
) -> dict[str, Any]:
    """The measures that need no assumption about bits."""
    whole = block_diagonal(matrix, groups)
    packed = set()
    for tile in tiles:
        for lane, selected in zip(tile["lanes"], tile["select"], strict=True):
            for f, choice in zip(tile["filters"], selected, strict=True):
                if choice != EMPTY:
                    packed.add((f, lane[choice]))
    nonzeros = {(int(f), int(k)) for f, k in zip(*np.nonzero(whole), strict=True)}
    area = sum(len(tile["lanes"]) * len(tile["filters"]) for tile in tiles)
    dropped = nonzeros - packed
    squares = sum(float(whole[at]) ** 2 for at in nonzeros)
    per_group = matrix.shape[0] // groups
    dense_passes = len(dense_blocks(per_group, matrix.shape[1], groups, array))
    return {
        "weights": matrix.size,
        "nonzeros": len(nonzeros),
        "density": len(nonzeros) / matrix.size,
        "matrix_compression_rate": matrix.size / area if area else None,
        "tightness": len(nonzeros & packed) / area if area else None,
        "passes": len(tiles),
        "dense_passes": dense_passes,
        "pass_compression": dense_passes / len(tiles) if tiles else None,
        "passes_lower_bound": lower_bound(matrix, array),
        "fan_in_max": max((len(lane) for tile in tiles for lane in tile["lanes"]), default=0),
        "lane_inputs": sum(len(lane) for tile in tiles for lane in tile["lanes"]),
        "dropped_weights": len(dropped),
        "dropped_magnitude": sum(float(whole[at]) ** 2 for at in dropped) / squares if squares else 0.0,
    }


def packed_bits(
    tiles: list[dict[str, Any]], width: int, fan_in: int, inputs: int, filters: int, is_dense: bool = False
) -> int:
    """A weight for every slot of the area, and the index; `inputs` and `filters` over all groups."""
    slots = sum(len(row) for tile in tiles for row in tile["select"])
    return slots * width + sum(index_bits(tile, fan_in, inputs, filters, is_dense) for tile in tiles)


def index_bits(tile: dict[str, Any], fan_in: int, inputs: int, filters: int, is_dense: bool = False) -> int:
    """A select for every slot of the area; per lane a length and its inputs; per column its filter.

    Nothing where the numbers say themselves: in the dense arrangement, and in a tile of fan-in 1 whose inputs and
    filters are runs of consecutive numbers.
    """
    carried = [k for lane in tile["lanes"] for k in lane]
    is_block = all(b - a == 1 for ids in (carried, tile["filters"]) for a, b in pairwise(ids))
    if is_dense or (fan_in == 1 and is_block):
        return 0
    bits = sum(len(row) for row in tile["select"]) * _bits_for(fan_in)
    for lane in tile["lanes"]:
        bits += _bits_for(fan_in + 1) + len(lane) * max(1, _bits_for(inputs))
    return bits + len(tile["filters"]) * max(1, _bits_for(filters))


def _bits_for(values: int) -> int:
    """Bits that tell `values` values apart."""
    bits = 0
    while 2**bits < values:
        bits += 1
    return bits


def with_index(
    tiles: list[dict[str, Any]], fan_in: int, inputs: int, filters: int, is_dense: bool = False
) -> list[dict[str, Any]]:
    """The tiles, each with the bits of its index, which are loaded with its weights."""
    return [{**tile, "index_bits": index_bits(tile, fan_in, inputs, filters, is_dense)} for tile in tiles]


# --- dense layers as passes -------------------------------------------------------------------------------------


class Part(NamedTuple):
    """A block of the matrix of one group: its `filters` at its `inputs`, both numbered within the group."""

    group: int
    filters: range
    inputs: range


def dense_blocks(filters: int, inputs: int, groups: int, array: tuple[int, int]) -> list[list[Part]]:
    """The passes of `groups` matrices of `filters` x `inputs`, each pass a list of blocks.

    A group's blocks come one after the other, those that differ in their inputs first. The last one waits for the last
    ones of the next groups as long as all that wait find room on the diagonal of one array; blocks that come first
    never share, not even where they would fit.
    """
    rows, columns = array
    passes: list[list[Part]] = []
    waiting: list[Part] = []
    for group in range(groups):
        own = [
            Part(group, range(f, min(f + columns, filters)), range(k, min(k + rows, inputs)))
            for f in range(0, filters, columns)
            for k in range(0, inputs, rows)
        ]
        together = [*waiting, own[-1]]
        too_tall = sum(len(part.inputs) for part in together) > rows
        too_wide = sum(len(part.filters) for part in together) > columns
        if waiting and (too_tall or too_wide):
            passes.append(waiting)
            waiting = []
        passes += [[part] for part in own[:-1]]
        waiting = [*waiting, own[-1]]
    return [*passes, waiting] if waiting else passes


def dense_tiles(filters: int, inputs: int, array: tuple[int, int], groups: int = 1) -> list[dict[str, Any]]:
    """The passes of a dense layer as tiles of fan-in 1; `filters` and `inputs` are those of one group."""
    tiles = []
    for parts in dense_blocks(filters, inputs, groups, array):
        lanes = [part.group * inputs + k for part in parts for k in part.inputs]
        chosen = [part.group * filters + f for part in parts for f in part.filters]
        select = [[0 if k // inputs == f // filters else EMPTY for f in chosen] for k in lanes]
        tiles.append({"lanes": [[k] for k in lanes], "filters": chosen, "select": select})
    return tiles


def with_groups(tiles: list[dict[str, Any]], filters: int, inputs: int) -> list[dict[str, Any]]:
    """The tiles of a dense layer, each with the group of each of its lanes and of each of its columns.

    `filters` and `inputs` are those of one group. Groups that share a tile stand down its diagonal, in order. A slot of
    a lane and a column of different groups holds a zero that nobody stores: the layer's size says where they are.
    """
    return [
        {
            **tile,
            "lane_groups": [lane[0] // inputs for lane in tile["lanes"]],
            "column_groups": [f // filters for f in tile["filters"]],
        }
        for tile in tiles
    ]


# --- a systolic array, PE by PE ---------------------------------------------------------------------------------


class Hall(NamedTuple):
    """What a layer runs on. Words that each buffer delivers in a cycle, as a text or number; None: as many as asked.

    `streams` feeds what passes through, `stays` what is loaded (with output-stationary passes: what comes from above),
    `sums` takes and gives sums. `arrays` share all three in equal parts, as many as have something to do at all.
    `side_by_side`: a tile stands on the diagonal of the array as often as it fits, as long as each copy has a step.
    """

    array: tuple[int, int]
    streams: Any = None
    stays: Any = None
    sums: Any = None
    arrays: int = 1
    prefetch: bool = False
    operand_bytes: int = 1
    side_by_side: bool = False

    def shared(self, at_once: int) -> list[Fraction | None]:
        """Words a cycle from (streams, stays, sums) for each of `at_once` arrays."""
        return [
            None if words is None else Fraction(str(words)) / max(1, at_once)
            for words in (self.streams, self.stays, self.sums)
        ]


class Run(NamedTuple):
    """`outputs` (vectors, filters); `cycles` of the busiest array, `all_cycles` of all arrays; `counts` of words."""

    outputs: list[list[Any]]
    cycles: int
    all_cycles: int
    counts: Counter[str]


class _Queue:
    """Words that a buffer has delivered and nobody has taken; it never stops delivering."""

    def __init__(self, words_per_cycle: Fraction | None) -> None:
        self.rate, self.words = words_per_cycle, Fraction(0)

    def tick(self) -> None:
        self.words += self.rate or 0

    def has(self, words: Fraction | int) -> bool:
        return self.rate is None or self.words >= words

    def take(self, words: Fraction | int) -> None:
        self.words -= 0 if self.rate is None else words


class _Turn(NamedTuple):
    """A pass of a `tile`, `adding` columns of which add to sums that are there; `parts`: the steps of each copy."""

    tile: dict[str, Any]
    adding: int
    parts: list[range]


def _lane_groups(tile: dict[str, Any]) -> list[int]:
    """The group of each lane; one for all where the tile has none."""
    return tile.get("lane_groups", [0] * len(tile["lanes"]))


def _column_groups(tile: dict[str, Any]) -> list[int]:
    """The group of each column; one for all where the tile has none."""
    return tile.get("column_groups", [0] * len(tile["filters"]))


class _Loading:
    """What stays on its way up: the uppermost row enters first, below; each row that enters moves all above it up.

    A row is (words, {column: slot}); rows above the copies are empty, take no words and still a cycle each. The first
    copy is uppermost and leftmost. Where a tile has groups, a row has the slots of its own group only.
    """

    def __init__(self, turn: _Turn, whole: Any, hall: Hall, rate: Fraction | None) -> None:
        tile, copies = turn.tile, len(turn.parts)
        high, wide = len(tile["lanes"]), len(tile["filters"])
        index_words = Fraction(tile.get("index_bits", 0), 8 * hall.operand_bytes)
        self.waiting: list[Any] = [(0, {})] * (hall.array[0] - copies * high)
        for copy in range(copies):
            for lane, selected, group in zip(tile["lanes"], tile["select"], _lane_groups(tile), strict=True):
                chosen = zip(tile["filters"], selected, _column_groups(tile), strict=True)
                row = {
                    copy * wide + c: None if choice == EMPTY else (whole[f][lane[choice]], choice)
                    for c, (f, choice, other) in enumerate(chosen)
                    if group == other
                }
                self.waiting.append((len(row) + index_words / high, row))
        self.index_bits = copies * tile.get("index_bits", 0)
        self.held: list[Any] = [{}] * hall.array[0]
        self.queue = _Queue(rate)

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


def run_stationary(
    tiles: list[dict[str, Any]], whole: Any, steps: Any, hall: Hall, pieces: int = 1, levels: int = 0
) -> Run:
    """A layer of which `whole` (columns' numbers x lanes' numbers) stays, tile after tile, and `steps` pass through.

    Steps are cut into `pieces`, the longer ones first; every piece takes all tiles. Passes of one piece after the other
    are dealt to the arrays in turn. Copies of a tile cut the piece once more. `levels`: of multiplexers before each PE.
    """
    counts: Counter[str] = Counter()
    outputs: dict[tuple[int, int], Any] = {}
    # columns that add to a sum that an earlier column, of this or an earlier tile, has left
    adding, begun = [], set()
    for tile in tiles:
        adding.append(0)
        for f in tile["filters"]:
            adding[-1] += f in begun
            begun.add(f)
    turns = []
    for piece in cut(len(steps), pieces):
        for tile, own in zip(tiles, adding, strict=True):
            room = min(hall.array[0] // len(tile["lanes"]), hall.array[1] // len(tile["filters"]))
            copies = min(room, len(steps) // pieces) if hall.side_by_side else 1
            parts = [
                range(piece.start + part.start, piece.start + part.stop) for part in cut(len(piece), copies)
            ]
            turns.append(_Turn(tile, own, parts))
    at_once = min(hall.arrays, len(turns))
    rates = hall.shared(at_once)
    took = [
        _turns(turns[array :: hall.arrays], whole, steps, hall, rates, levels, outputs, counts)
        for array in range(at_once)
    ]
    filters = len(whole)
    found = [[outputs.get((m, f), 0) for f in range(filters)] for m in range(len(steps))]
    return Run(found, max(took, default=0), sum(took), counts)


def cut(count: int, pieces: int) -> list[range]:
    """0, 1, .. `count` - 1 in runs as equal as can be, longer ones first."""
    runs, first = [], 0
    for i in range(pieces):
        size = count // pieces + (i < count % pieces)
        runs.append(range(first, first + size))
        first += size
    return runs


def _turns(turns, whole, steps, hall, rates, levels, outputs, counts) -> int:
    """Cycles of one array for its passes, one after the other."""
    cycles = 0
    loading = _Loading(turns[0], whole, hall, rates[1])
    for i, turn in enumerate(turns):
        while loading.waiting:
            loading.tick(counts)
            cycles += 1
        held = loading.held
        assert len(held) == hall.array[0]
        counts["index_bits"] += loading.index_bits
        following = None
        if i + 1 < len(turns):
            loading = _Loading(turns[i + 1], whole, hall, rates[1])
            following = loading if hall.prefetch else None
        cycles += _stream(turn, held, following, steps, hall, rates, levels, outputs, counts)
    return cycles


def _stream(turn, held, following, steps, hall, rates, levels, outputs, counts) -> int:
    """Cycles from the first step's entry until both the array is empty and `following` is loaded.

    The copies take one of their steps each at the same time; buffers provide for all of them, also for those that have
    none left. Copies stand down the diagonal, and the groups of each: an activation passes all columns up to those of
    its own group in its own copy, a sum all lanes from those of its own group in its own copy on.
    """
    rows, columns = hall.array
    tile, parts = turn.tile, turn.parts
    high, wide, copies = len(tile["lanes"]), len(tile["filters"]), len(parts)
    first = rows - copies * high  # uppermost row in use
    # (copy, group) of each row and column in use: how far down the diagonal it stands
    lanes_at = [(copy, group) for copy in range(copies) for group in _lane_groups(tile)]
    columns_at = [(copy, group) for copy in range(copies) for group in _column_groups(tile)]
    distinct = len({k for lane in tile["lanes"] for k in lane})
    streams, sums = _Queue(rates[0]), _Queue(rates[2])
    entered: list[Any] = [None] * rows  # the time step that enters each row in this cycle
    bundles: list[list[Any]] = [[None] * columns for _ in range(rows)]
    partial: list[list[Any]] = [[None] * columns for _ in range(rows)]
    waiting, left, cycles = list(range(len(parts[0]))), len(parts[0]), 0

    def busy(copy: int, t: int) -> bool:
        return copy < copies and t < len(parts[copy])

    while left or (following and following.waiting):
        cycles += 1
        if following:
            following.tick(counts)
        streams.tick()
        sums.tick()
        step = None
        words = copies * distinct, copies * (wide + turn.adding)
        if waiting and streams.has(words[0]) and sums.has(words[1]):
            step = waiting.pop(0)
            streams.take(words[0])
            sums.take(words[1])
            counts["begun"] += 1
            counts["streamed"] += distinct * sum(busy(copy, step) for copy in range(copies))
        entered = [step, *entered[:-1]]
        now: list[list[Any]] = [[None] * columns for _ in range(rows)]
        below: list[list[Any]] = [[None] * columns for _ in range(rows)]
        for r, c in product(range(rows), range(columns)):
            own_row, own_column = (r - first) // high, c // wide  # copies that row and column belong to
            is_used = r >= first and c < len(columns_at) and columns_at[c] <= lanes_at[r - first]
            if c > 0:
                now[r][c] = bundles[r][c - 1]
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
            if is_used:  # on its way to its copy and group, or in it
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
                counts["sum_written"] += 1
                outputs[at] = outputs.get(at, 0) + total
            left -= (r, c) == (rows - 1, columns - 1)
        bundles, partial = now, below
    return cycles


def run_packing(
    tiles: list[dict[str, Any]],
    matrix: Any,
    groups: int,
    vectors: Any,
    hall: Hall,
    pieces: int = 1,
    levels: int = 0,
) -> Run:
    """The tiles of a layer, weight-stationary: weights stay, vectors (M, inputs of all groups) pass through."""
    whole = block_diagonal(np.asarray(matrix), groups).tolist()
    return run_stationary(tiles, whole, np.asarray(vectors).tolist(), hall, pieces, levels)


def run_dense(dataflow: str, matrix: Any, groups: int, vectors: Any, hall: Hall, pieces: int = 1) -> Run:
    """A dense layer: weights stay (ws), activations stay and filters pass through (is), or sums stay (os)."""
    matrix, vectors = np.asarray(matrix), np.asarray(vectors)
    size, inputs, count = len(matrix) // groups, matrix.shape[1], len(vectors)
    if dataflow == "ws":
        tiles = with_groups(dense_tiles(size, inputs, hall.array, groups), size, inputs)
        return run_packing(tiles, matrix, groups, vectors, hall, pieces)
    if dataflow == "os":
        return _run_output_stationary(matrix.tolist(), groups, vectors.tolist(), hall)
    # column group * M + m is vector m of that group; step f is filter f of every group
    stays = [
        [x if k // inputs == group else 0 for k, x in enumerate(vectors[m].tolist())]
        for group in range(groups)
        for m in range(count)
    ]
    steps = [[w for group in range(groups) for w in matrix[group * size + f].tolist()] for f in range(size)]
    tiles = with_groups(dense_tiles(count, inputs, hall.array, groups), count, inputs)
    run = run_stationary(tiles, stays, steps, hall, pieces)
    outputs = [
        [run.outputs[f % size][f // size * count + m] for f in range(len(matrix))] for m in range(count)
    ]
    return run._replace(outputs=outputs)


def _run_output_stationary(matrix: Any, groups: int, vectors: Any, hall: Hall) -> Run:
    """Rows are vectors, columns filters: activations come from the left, weights from above, sums stay.

    The sums of a pass leave while the array works on; a pass takes at least as long as its own sums take to leave.
    """
    size, inputs = len(matrix) // groups, len(matrix[0])
    counts: Counter[str] = Counter()
    outputs = [[0] * len(matrix) for _ in vectors]
    passes = dense_blocks(size, len(vectors), groups, hall.array)
    at_once = min(hall.arrays, len(passes))
    rates = hall.shared(at_once)
    took = [0] * at_once
    for number, parts in enumerate(passes):
        down = [(part.group, m) for part in parts for m in part.inputs]
        across = [(part.group, f) for part in parts for f in part.filters]
        left = [[vectors[m][g * inputs + k] for g, m in down] for k in range(inputs)]
        above = [[matrix[g * size + f][k] for g, f in across] for k in range(inputs)]
        groups_at = [g for g, _ in down], [h for h, _ in across]
        sums, cycles = _meet(left, above, groups_at, hall.array, rates, counts)
        for (r, (g, m)), (c, (h, f)) in product(enumerate(down), enumerate(across)):
            if g == h:
                outputs[m][g * size + f] += sums[r][c]
        leaving = sum(g == h for (g, _), (h, _) in product(down, across))
        counts["sum_written"] += leaving
        took[number % at_once] += max(cycles, ceil(leaving / rates[2]) if rates[2] else 0)
    return Run(outputs, max(took), sum(took), counts)


def _meet(left, above, groups_at, array, rates, counts) -> tuple[list[list[Any]], int]:
    """One pass of which sums stay, until the last step has gone through the last PE of the whole array.

    `groups_at`: the group of each row and of each column, in order down the diagonal. An operand moves on until it is
    through with its own group.
    """
    rows, columns = array
    row_group, column_group = groups_at
    high, wide, count = len(left[0]), len(above[0]), len(left)
    sums = [[0] * wide for _ in range(high)]
    queues = [_Queue(rates[0]), _Queue(rates[1])]
    waiting, through, cycles = list(range(count)), 0, 0
    enter_left: list[Any] = [None] * rows
    enter_above: list[Any] = [None] * columns
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
            t = next_right[r][c] = right[r][c - 1] if c > 0 else enter_left[r]
            u = next_down[r][c] = down[r - 1][c] if r > 0 else enter_above[c]
            assert t == u, "operands of different steps meet"
            if t is None:
                continue
            if r < high and c < wide:
                counts["register"] += column_group[c] <= row_group[r]  # the one from the left
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
        group == other for tile in tiles for group, other in product(_lane_groups(tile), _column_groups(tile))
    )


# --- closed forms, events and energy ----------------------------------------------------------------------------

# SCALE-Sim 3.0.0: (ifmap height and width with padding, kernel, channels, filters) -> cycles on a 32x32 array
SCALE_SIM = {
    (34, 3, 16, 16): {"ws": 5590, "os": 6592, "is": 17600},
    (18, 3, 32, 32): {"ws": 3150, "os": 2800, "is": 9072},
    (10, 3, 64, 64): {"ws": 5688, "os": 2552, "is": 5688},
}


def dense_cycles(dataflow: str, R: int, C: int, N: int, K: int, M: int) -> int:
    """SCALE-Sim's "Total Cycles" + 1."""
    if dataflow == "ws":
        return ceil(K / R) * ceil(N / C) * (2 * R + C + M - 2)
    if dataflow == "os":
        return ceil(M / R) * ceil(N / C) * (K + R + C - 2)
    return ceil(K / R) * ceil(M / C) * (2 * R + C + N - 2)


def events(
    dataflow: str, run: Run, outputs: int, operand_bytes: int, moved: tuple[int, int, int]
) -> dict[str, int]:
    """Bytes and bits from the words that `run` counted; sums have 4 bytes.

    `outputs`: of the layer, written to the activation buffer. `moved`: bytes of activations, weights and outputs
    between DRAM and the buffers; the first two are written to theirs, outputs are read from that of activations.
    """
    counts, size = run.counts, operand_bytes
    loaded = counts["loaded"] * size
    from_left, from_above = counts["streamed"] * size, counts["from_above"] * size
    by_dataflow = {  # read by the array from the buffers of activations and of weights
        "ws": (from_left, loaded),
        "is": (loaded, from_left),
        "os": (from_left, from_above),
    }
    activations, weights = by_dataflow[dataflow]
    return {
        "macs": counts["mac"],
        "multiplied_words": counts["mac"],
        "multiplexer_bytes": counts["level"] * size,
        "register_bytes": (counts["register"] + counts["load_hops"]) * size + counts["sum"] * 4,
        "lane_bytes": counts["edge"] * size + loaded,
        "activation_buffer_bytes": activations + outputs * size + moved[0] + moved[2],
        "weight_buffer_bytes": weights + moved[1],
        # what was written last for a place is read too, to leave
        "partial_sum_buffer_bytes": 4 * (2 * counts["sum_written"]),
        "index_bits": counts["index_bits"],
        "dram_bytes": sum(moved),
    }


def map_cells(
    dataflow: str, shape: tuple[int, int, int], vectors: int, positions: int, tiles: Any
) -> list[set[tuple[int, int]]]:
    """For each pass the (channel, vector) cells of the feature map that it reads.

    `shape`: filters and inputs of a group, groups; `positions`: inputs from one channel. `tiles`: the tiles of ws and
    is, whose columns are vectors; the blocks of os, whose inputs are vectors.
    """
    _, inputs, _ = shape
    cells = []
    for tile in tiles:
        if dataflow == "os":
            read = {
                ((part.group * inputs + k) // positions, m)
                for part in tile
                for k in range(inputs)
                for m in part.inputs
            }
        else:
            read = {
                (lane[choice] // positions, m)
                for lane, selected in zip(tile["lanes"], tile["select"], strict=True)
                for f, choice in zip(tile["filters"], selected, strict=True)
                if choice != EMPTY
                for m in (range(vectors) if dataflow == "ws" else [f % vectors])
            }
        cells.append(read)
    return cells


def map_bytes_fetched(
    cells: list[set[tuple[int, int]]], total_cells: int, size: int, fits: bool, times: int
) -> int:
    """Bytes of a feature map of `size` bytes, spread evenly over its cells, that passes fetch.

    Of one that fits, each cell that any pass reads is fetched once; of another a pass fetches all that it reads, and
    all passes do so `times`.
    """
    if fits:
        return ceil(Fraction(size * len(set().union(*cells)), total_cells))
    return ceil(Fraction(size * times * sum(len(read) for read in cells), total_cells))


def waiting_sums(filters: list[list[int]], pieces: list[range], arrays: int) -> int:
    """The most sums that wait for a later pass at any time.

    `filters`: for each pass those of its columns. Each of `pieces` takes all passes, for each of its steps; those of
    one piece after the other run, `arrays` at a time. A sum waits from the round of its first pass to that of its last,
    if these are two passes.
    """
    spans = []
    for f in {f for own in filters for f in own}:
        its = [number for number, own in enumerate(filters) if f in own]
        if its[0] != its[-1]:
            spans.append((its[0], its[-1]))
    waiting: Counter[int] = Counter()
    for i, piece in enumerate(pieces):
        for first, last in spans:
            rounds = (i * len(filters) + first) // arrays, (i * len(filters) + last) // arrays
            for time in range(rounds[0], rounds[1] + 1):
                waiting[time] += len(piece)
    return max(waiting.values(), default=0)


# --- convolution ------------------------------------------------------------------------------------------------


def im2col(
    x: np.ndarray,
    kernel: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    dilations: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> tuple[np.ndarray, tuple[int, int]]:
    """(batch, channels, height, width) -> (batch x out height x out width, channels x kernel), and the out sizes."""
    batch, channels, height, width = x.shape
    top, left, bottom, right = pads
    padded = np.zeros((batch, channels, height + top + bottom, width + left + right), x.dtype)
    padded[:, :, top : top + height, left : left + width] = x
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    out_h = (padded.shape[2] - reach[0]) // strides[0] + 1
    out_w = (padded.shape[3] - reach[1]) // strides[1] + 1
    rows = []
    for b, i, j in product(range(batch), range(out_h), range(out_w)):
        row = [
            padded[b, c, i * strides[0] + di * dilations[0], j * strides[1] + dj * dilations[1]]
            for c, di, dj in product(range(channels), range(kernel[0]), range(kernel[1]))
        ]
        rows.append(row)
    return np.array(rows), (out_h, out_w)


def convolution(x: np.ndarray, weight: np.ndarray, groups: int = 1, **geometry: Any) -> np.ndarray:
    """im2col and a product with the block-diagonal layer matrix: (batch, filters, out height, out width)."""
    vectors, (out_h, out_w) = im2col(x, weight.shape[2:], **geometry)
    whole = block_diagonal(weight.reshape(weight.shape[0], -1), groups)
    flat = vectors.astype(np.float64) @ whole.astype(np.float64).T
    return flat.reshape(len(x), out_h, out_w, -1).transpose(0, 3, 1, 2)


def smallest_zeroed(magnitudes: list[float], count: int) -> set[int]:
    """Which `count` weights magnitude pruning zeroes: repeatedly the smallest that is left, the earliest of equals."""
    left = dict(enumerate(magnitudes))
    gone = set()
    for _ in range(count):
        least = min(left, key=lambda i: (left[i], i))
        gone.add(least)
        del left[least]
    return gone


# --- what is kept -----------------------------------------------------------------------------------------------


def largest_kept(worths: list[float], count: int) -> list[bool]:
    """The `count` largest; of equal ones the later."""
    order = sorted(range(len(worths)), key=lambda place: (worths[place], place))
    stay = set(order[max(0, len(worths) - max(0, count)) :])
    return [place in stay for place in range(len(worths))]


def largest_with_floors(layers: list[list[float]], count: int, floors: list[int]) -> list[list[bool]]:
    """Of each layer its floor, and of all that is left the largest, until `count` are kept."""
    kept = [largest_kept(worths, floor) for worths, floor in zip(layers, floors, strict=True)]
    rest = sorted(
        (worth, number, place)
        for number, worths in enumerate(layers)
        for place, worth in enumerate(worths)
        if not kept[number][place]
    )
    while rest and sum(map(sum, kept)) < count:
        _, number, place = rest.pop()
        kept[number][place] = True
    return kept


def parts(worths: list[float], rows: int) -> list[list[int]]:
    """A filter's weights by number, those worth most first, of equal ones the first, `rows` to a part."""
    order = sorted(range(len(worths)), key=lambda place: (-worths[place], place))
    return [order[begin : begin + rows] for begin in range(0, len(order), rows)]


def most_worth(units: list[list[float]], costs: list[float], budget: float, floors: list[int]) -> float:
    """The most that `budget` buys, by trying everything: of each layer its floor, then as many units as it takes."""
    best = -1.0
    for taken in product(
        *(range(floor, len(worths) + 1) for worths, floor in zip(units, floors, strict=True))
    ):
        price = sum(count * cost for count, cost in zip(taken, costs, strict=True))
        if price <= budget or list(taken) == floors:
            best = max(best, sum(sum(worths[:count]) for worths, count in zip(units, taken, strict=True)))
    return best


def most_relaxed_worth(
    units: list[list[float]], costs: list[float], budget: float, floors: list[int]
) -> float:
    """The same where the last unit may be cut: no choice of whole units is worth more."""
    worth = sum(sum(worths[:floor]) for worths, floor in zip(units, floors, strict=True))
    left = budget - sum(cost * floor for cost, floor in zip(costs, floors, strict=True))
    others = sorted(
        (
            (unit / cost, cost)
            for worths, cost, floor in zip(units, costs, floors, strict=True)
            for unit in worths[floor:]
        ),
        reverse=True,
    )
    for density, cost in others:
        piece = min(cost, max(0.0, left))
        worth += density * piece
        left -= piece
    return worth


def bought_one_by_one(
    units: list[list[float]], costs: list[float], budget: float, floors: list[int]
) -> list[int]:
    """The floors, then again and again the unit that fits and is worth most for its cost; of equal ones the first."""
    taken = list(floors)
    while True:
        left = budget - sum(cost * count for cost, count in zip(costs, taken, strict=True))
        fitting = [
            number for number, one in enumerate(units) if taken[number] < len(one) and costs[number] <= left
        ]
        if not fitting:
            return taken
        taken[max(fitting, key=lambda number: (units[number][taken[number]] / costs[number], -number))] += 1


def regrown(worths: list[float], kept: list[bool], pulls: list[float], share: float) -> list[bool]:
    """One filter after `share` of its weights, the least, gave their places to the zeros that are pulled at most."""
    going = sorted(
        (place for place, stays in enumerate(kept) if stays), key=lambda place: (worths[place], place)
    )
    coming = sorted(
        (place for place, stays in enumerate(kept) if not stays and pulls[place] > 0),
        key=lambda place: (-pulls[place], place),
    )
    count = min(int(share * len(going)), len(coming))
    found = list(kept)
    for old, new in zip(going[:count], coming[:count], strict=True):
        found[old], found[new] = False, True
    return found
