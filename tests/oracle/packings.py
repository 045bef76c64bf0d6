"""What a packing has to be, and what plain methods and bounds give; nothing imported from tightc."""

from __future__ import annotations

from itertools import combinations, pairwise
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
