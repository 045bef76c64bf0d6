"""An array in which sums stay: both operands stream through, one from the left, one from above. Kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tightc.simulation.engine.stationary import LANE_WORDS, MACS, NOTHING, STEPS_BEGUN, SUMS_OUT


@njit(nogil=True, cache=True)
def meet(
    left: NDArray[Any],
    above: NDArray[Any],
    used: NDArray[np.bool_],
    shape: tuple[int, int],
    ports: NDArray[np.float64],
    log: NDArray[np.int64],
) -> tuple[NDArray[Any], int]:
    """Streams both operands through an empty array until the last product is made: (sums, cycles).

    `left`: (T, r) float32 or int32, step t of each row used; `above`: (T, c), of each column used; sums: (r, c).
    Step t enters row r r cycles late, and column c c cycles late, so that both meet in PE (r, c). `used`: (r, c) bool,
    PEs whose sum anybody wants. `shape`: rows and columns of the array. `ports`: (2,) float64, words of `left` and of
    `above` that their buffers deliver in a cycle. `log`: (cycles at least, columns of a log) int64, or no rows.
    """
    rows, columns = shape
    count, used_rows, used_columns = len(left), left.shape[1], above.shape[1]
    sums = np.zeros((used_rows, used_columns), left.dtype)
    # rows' registers are rings: the head moves left instead of all that they hold moving right
    rings = np.zeros((used_rows, 2 * columns), left.dtype)
    falling = np.zeros((used_rows, used_columns), above.dtype)
    edge_left, edge_above = np.full(rows, NOTHING, np.int64), np.full(columns, NOTHING, np.int64)
    done = np.full(2 * columns, NOTHING, np.int64)  # the steps in the last row of the array
    words, demands = np.zeros(2), np.array([float(used_rows), float(used_columns)])
    head, begun, left_array, cycles = columns, 0, 0, 0
    while left_array < count:
        if head == 0:
            rings[:, columns:] = rings[:, :columns].copy()
            done[columns:] = done[:columns].copy()
            head = columns
        head -= 1
        edge_left[1:], edge_above[1:] = edge_left[:-1].copy(), edge_above[:-1].copy()
        edge_left[0] = edge_above[0] = NOTHING
        words += ports
        if begun < count and (words + 1e-9 >= demands).all():
            words -= demands
            edge_left[0] = edge_above[0] = begun
            begun += 1
        for r in range(used_rows - 1, -1, -1):
            rings[r, head] = left[edge_left[r], r] if edge_left[r] != NOTHING else 0
            if r > 0:
                falling[r] = falling[r - 1]
            else:
                for c in range(used_columns):
                    falling[0, c] = above[edge_above[c], c] if edge_above[c] != NOTHING else 0
            ring, fallen, own = rings[r, head:], falling[r], sums[r]
            for c in range(used_columns):
                own[c] += ring[c] * fallen[c]
        done[head] = edge_left[rows - 1]
        left_array += done[head + columns - 1] != NOTHING
        if cycles < len(log):
            log[cycles, STEPS_BEGUN] = edge_left[0] != NOTHING
            _write(log, cycles, used, edge_left, edge_above)
        cycles += 1
    if cycles <= len(log):
        log[cycles - 1, SUMS_OUT] = np.count_nonzero(used)
    return sums, cycles


@njit(nogil=True, cache=True)
def _write(
    log: NDArray[np.int64],
    cycle: int,
    used: NDArray[np.bool_],
    edge_left: NDArray[np.int64],
    edge_above: NDArray[np.int64],
) -> None:
    """Fills line `cycle` of the log but for what is known already."""
    rows, columns = used.shape
    log[cycle, LANE_WORDS] = np.count_nonzero(edge_left[:rows] != NOTHING)
    log[cycle, LANE_WORDS] += np.count_nonzero(edge_above[:columns] != NOTHING)
    for r in range(rows):
        for c in range(columns):
            if used[r, c] and cycle >= r + c:
                log[cycle, MACS] += log[cycle - r - c, STEPS_BEGUN]
