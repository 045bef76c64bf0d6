"""Slow, plain answers to compare tightc with: loops over lists, nothing imported from tightc.

A packing is a list of tiles; a tile is a dict of plain lists: `lanes` (the inputs that each lane carries), `filters`
(one for each column) and `select` (rows of columns, -1 for an empty slot).
"""

from __future__ import annotations

from itertools import combinations, pairwise, product
from math import ceil
from typing import Any

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
    rows, columns = array
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
    dense_passes = groups * ceil(matrix.shape[1] / rows) * ceil(per_group / columns)
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


def packed_bits(tiles: list[dict[str, Any]], width: int, fan_in: int, inputs: int, filters: int) -> int:
    """Weight and select for every slot of the area; per lane a length and its inputs; per column its filter.

    A tile of fan-in 1 that is a plain block of the matrix needs its weights alone.
    """
    bits = 0
    for tile in tiles:
        slots = sum(len(row) for row in tile["select"])
        bits += slots * width
        carried = [k for lane in tile["lanes"] for k in lane]
        if fan_in == 1 and all(b - a == 1 for ids in (carried, tile["filters"]) for a, b in pairwise(ids)):
            continue
        bits += slots * _bits_for(fan_in)
        for lane in tile["lanes"]:
            bits += _bits_for(fan_in + 1) + len(lane) * max(1, _bits_for(inputs))
        bits += len(tile["filters"]) * max(1, _bits_for(filters))
    return bits


def _bits_for(values: int) -> int:
    """Bits that tell `values` values apart."""
    bits = 0
    while 2**bits < values:
        bits += 1
    return bits


# --- a weight-stationary array, PE by PE ------------------------------------------------------------------------


def run_pass(
    tile: dict[str, Any], whole: np.ndarray, vectors: np.ndarray, array: tuple[int, int]
) -> tuple[dict[int, np.ndarray], int, int]:
    """One tile loaded and `vectors` (M, inputs of all groups) streamed through, cycle by cycle.

    Gives the partial sums (M,) of each column used, the cycles that it took, and the multiply-accumulates done.
    Activations enter lane r r cycles late and go right, sums go down, both one PE a cycle.
    """
    rows, columns = array
    planes: list[list[Any]] = [[None] * columns for _ in range(rows)]
    for r, (lane, selected) in enumerate(zip(tile["lanes"], tile["select"], strict=True)):
        for c, choice in enumerate(selected):
            if choice != EMPTY:
                planes[r][c] = (whole[tile["filters"][c], lane[choice]], choice)
    cycles = macs = 0
    loaded: list[list[Any]] = [[None] * columns for _ in range(rows)]
    for row in reversed(planes):  # weights shift down, the last row first
        loaded = [row, *loaded[:-1]]
        cycles += 1
    assert loaded == planes
    count = len(vectors)
    sums = {c: np.zeros(count, np.float64) for c in range(columns)}
    awaited = count * columns
    activations: list[list[Any]] = [[None] * columns for _ in range(rows)]
    partials: list[list[Any]] = [[None] * columns for _ in range(rows)]
    first_stream_cycle = cycles
    while awaited:
        now = cycles - first_stream_cycle
        arriving = [[None] * columns for _ in range(rows)]
        below: list[list[Any]] = [[None] * columns for _ in range(rows)]
        for r in range(rows):
            for c in range(columns):
                if c > 0:
                    arriving[r][c] = activations[r][c - 1]
                elif 0 <= now - r < count:
                    m = now - r
                    lane = tile["lanes"][r] if r < len(tile["lanes"]) else []
                    arriving[r][c] = (m, [vectors[m, k] for k in lane])
                if arriving[r][c] is None:
                    continue
                m, bundle = arriving[r][c]
                total = 0.0
                if r > 0:
                    above = partials[r - 1][c]
                    assert above is not None and above[0] == m, "sum and activation of different vectors meet"
                    total = above[1]
                if loaded[r][c] is not None:
                    weight, choice = loaded[r][c]
                    total += float(weight) * float(bundle[choice])
                    macs += 1
                below[r][c] = (m, total)
                if r == rows - 1:
                    sums[c][m] = total
                    awaited -= 1
        activations, partials = arriving, below
        cycles += 1
    return {c: sums[c] for c in range(len(tile["filters"]))}, cycles, macs


def run_packing(
    tiles: list[dict[str, Any]], matrix: np.ndarray, groups: int, vectors: np.ndarray, array: tuple[int, int]
) -> tuple[np.ndarray, int, int]:
    """Outputs (M, filters), cycles and multiply-accumulates of a whole layer, pass after pass."""
    whole = block_diagonal(matrix, groups)
    outputs = np.zeros((len(vectors), matrix.shape[0]))
    cycles = macs = 0
    for tile in tiles:
        sums, took, done = run_pass(tile, whole, vectors, array)
        for column, values in sums.items():
            outputs[:, tile["filters"][column]] += values
        cycles += took
        macs += done
    return outputs, cycles, macs


def dense_tiles(filters: int, inputs: int, array: tuple[int, int]) -> list[dict[str, Any]]:
    """The folds of a dense layer as tiles of fan-in 1."""
    rows, columns = array
    tiles = []
    for k in range(0, inputs, rows):
        for f in range(0, filters, columns):
            lanes = [[i] for i in range(k, min(k + rows, inputs))]
            chosen = list(range(f, min(f + columns, filters)))
            tiles.append({"lanes": lanes, "filters": chosen, "select": [[0] * len(chosen) for _ in lanes]})
    return tiles


# --- closed forms and events ------------------------------------------------------------------------------------

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


EVENTS = (
    "macs",
    "multiplexer_levels",
    "register_bytes",
    "lane_bytes",
    "activation_buffer_bytes",
    "weight_buffer_bytes",
    "partial_sum_buffer_bytes",
    "index_bits",
)


def packed_events(
    tiles: list[dict[str, Any]], vectors: int, fan_in: int, inputs: int, filters: int
) -> dict[str, int]:
    """Events of a packing, counted slot by slot for one vector at a time."""
    levels = _bits_for(fan_in)
    found = dict.fromkeys(EVENTS, 0)
    found["index_bits"] = packed_bits(tiles, 0, fan_in, inputs, filters)
    for tile in tiles:
        for selected in tile["select"]:
            for _ in selected:
                found["weight_buffer_bytes"] += 1
                found["register_bytes"] += 1
    for _ in range(vectors):
        begun = set()
        for tile in tiles:
            found["activation_buffer_bytes"] += len({k for lane in tile["lanes"] for k in lane})
            for lane, selected in zip(tile["lanes"], tile["select"], strict=True):
                found["lane_bytes"] += len(lane)
                for choice in selected:
                    found["register_bytes"] += len(lane) + 4  # every input of the lane moves on, and the sum
                    if choice != EMPTY:
                        found["macs"] += 1
                        found["multiplexer_levels"] += levels
            for f in tile["filters"]:
                found["partial_sum_buffer_bytes"] += 4 if f not in begun else 8
                begun.add(f)
    return found


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
