"""An array in which sums stay: both operands stream, one from the left and one from above. Kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.simulation.engine.stationary import LANE_WORDS, MACS, NOTHING, STEPS_BEGUN, SUMS_OUT
from tightc.tile.array import ArrayShape


@njit(nogil=True, cache=True)
def run_output_stationary(
    left: NDArray[Any],
    above: NDArray[Any],
    used: NDArray[np.bool_],
    array: ArrayShape,
    hops: NDArray[np.int64],
    bandwidths: NDArray[np.float64],
    log: NDArray[np.int64],
) -> tuple[NDArray[Any], int]:
    """Streams both operands through an empty array until the last product is made: (sums, cycles).

    `array`: the size of the array. `left`: (T, r) float32 or int32, step t of each row used; `above`: (T, c), of each
    column used; sums: (r, c). `hops`: (columns,) int64, registers that a step from the left passes on its way to each
    column. Step t enters row r with a delay of r cycles and column c with hops[c] cycles, so that both reach PE (r, c)
    together. `used`: (r, c) bool, PEs with a sum that is kept. `bandwidths`: (2,) float64, words of `left` and `above`
    that their buffers deliver in a cycle. `log`: (cycles or more, columns of a log) int64, or no rows.
    """
    rows, columns = array
    count, used_rows, used_columns = len(left), left.shape[1], above.shape[1]
    sums = np.zeros((used_rows, used_columns), left.dtype)
    # a row's registers are a ring buffer: its head moves left instead of the contents moving right
    rings = np.zeros((used_rows, 2 * columns), left.dtype)
    falling = np.zeros((used_rows, used_columns), above.dtype)
    edge_left, edge_above = np.full(rows, NOTHING, np.int64), np.full(columns, NOTHING, np.int64)
    done = np.full(2 * columns, NOTHING, np.int64)  # the steps in the last row of the array
    words, demands = np.zeros(2), np.array([float(used_rows), float(used_columns)])
    is_systolic = hops[columns - 1] == columns - 1
    head, begun, finished, cycles = columns, 0, 0, 0
    while finished < count:
        if head == 0:
            rings[:, columns:] = rings[:, :columns].copy()
            done[columns:] = done[:columns].copy()
            head = columns
        head -= 1
        edge_left[1:], edge_above[1:] = edge_left[:-1].copy(), edge_above[:-1].copy()
        edge_left[0] = edge_above[0] = NOTHING
        words += bandwidths
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
                    step = edge_above[hops[c]]
                    falling[0, c] = above[step, c] if step != NOTHING else 0
            ring, fallen, own = rings[r, head:], falling[r], sums[r]
            if is_systolic:
                for c in range(used_columns):
                    own[c] += ring[c] * fallen[c]
            else:
                for c in range(used_columns):
                    own[c] += ring[hops[c]] * fallen[c]
        done[head] = edge_left[rows - 1]
        finished += done[head + hops[columns - 1]] != NOTHING
        if cycles < len(log):
            log[cycles, STEPS_BEGUN] = edge_left[0] != NOTHING
            _log_cycle(log, cycles, used, hops, edge_left, edge_above=edge_above)
        cycles += 1
    if cycles <= len(log):
        log[cycles - 1, SUMS_OUT] = np.count_nonzero(used)
    return sums, cycles


@njit(nogil=True, cache=True)
def _log_cycle(
    log: NDArray[np.int64],
    cycle: int,
    used: NDArray[np.bool_],
    hops: NDArray[np.int64],
    edge_left: NDArray[np.int64],
    edge_above: NDArray[np.int64],
) -> None:
    """Fills the columns of line `cycle` that the caller does not set."""
    rows, columns = used.shape
    log[cycle, LANE_WORDS] = np.count_nonzero(edge_left[:rows] != NOTHING)
    log[cycle, LANE_WORDS] += np.count_nonzero(edge_above[hops[:columns]] != NOTHING)
    for r in range(rows):
        for c in range(columns):
            if used[r, c] and cycle >= r + hops[c]:
                log[cycle, MACS] += log[cycle - r - hops[c], STEPS_BEGUN]
