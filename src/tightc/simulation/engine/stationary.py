"""An array in which one operand stays: it is loaded, the other streams through, sums come out. Kernels.

Lanes are the lower rows, and sums leave at the bottom. The stationary operand enters at the bottom too and moves up a
row in each cycle. A step enters row r one cycle after row r - 1 and moves right; a sum moves down. In each cycle a sum
moves one PE, and a step one lane register, of which several columns may share one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.simulation.engine.loaded_tile import LoadedTile

NOTHING = -1
# columns of a log: counts of the events in a cycle
ROWS_LOADED, STEPS_BEGUN, LANE_WORDS, MACS, SUMS_OUT = range(5)
LOG_COLUMNS = ("rows_loaded", "steps_begun", "lane_words", "macs", "sums_out")
ROUNDING = 1e-9  # so that a third of a word in each of three cycles is a word


class Loader(NamedTuple):
    """The registers through which the next tile moves up, and its progress.

    `weights`, `taps`: as in LoadedTile. `rows`: (1,) int64, rows that have entered. `words`: (1,) float64, words that
    the buffer has delivered and no row has taken yet.
    """

    weights: NDArray[Any]
    taps: NDArray[np.uint32]
    rows: NDArray[np.int64]
    words: NDArray[np.float64]


def new_loader(rows: int, columns: int, dtype: np.dtype[Any]) -> Loader:
    """An empty loader for an array of `rows` and `columns`, with weights of `dtype`."""
    shape = (rows, columns)
    return Loader(np.zeros(shape, dtype), np.zeros(shape, np.uint32), np.zeros(1, np.int64), np.zeros(1))


@njit(nogil=True, cache=True)
def load(loader: Loader, tile: LoadedTile, bandwidth: float, log: NDArray[np.int64]) -> int:
    """Loads `tile` through `loader` with nothing else running; returns the cycles.

    `bandwidth`: words that its buffer delivers in a cycle. `log`: (cycles or more, columns of a log) int64, or no rows.
    """
    cycles = 0
    while loader.rows[0] < len(tile.row_words):
        moved = _load_cycle(loader, tile, bandwidth)
        if cycles < len(log):
            log[cycles, ROWS_LOADED] = moved
        cycles += 1
    return cycles


@njit(nogil=True, cache=True)
def _load_cycle(loader: Loader, tile: LoadedTile, bandwidth: float) -> int:
    """One cycle of loading: the next row enters at the bottom and the rows above move up, once its words are there."""
    row = loader.rows[0]
    rows, columns = loader.weights.shape
    if row == rows:
        return 0
    loader.words[0] += bandwidth
    if loader.words[0] + ROUNDING < tile.row_words[row]:
        return 0
    loader.words[0] -= tile.row_words[row]
    for r in range(rows - 1):
        for c in range(columns):
            loader.weights[r, c] = loader.weights[r + 1, c]
            loader.taps[r, c] = loader.taps[r + 1, c]
    for c in range(columns):
        loader.weights[rows - 1, c] = tile.weights[row, c]
        loader.taps[rows - 1, c] = tile.taps[row, c]
    loader.rows[0] += 1
    return 1


@njit(nogil=True, cache=True)
def stream(
    loader: Loader,
    tile: LoadedTile,
    next_tile: LoadedTile,
    steps: NDArray[Any],
    sums: NDArray[Any],
    bandwidths: NDArray[np.float64],
    log: NDArray[np.int64],
) -> int:
    """Streams `steps` through what `loader` holds until the array is empty; returns the cycles.

    `steps`: (T, inputs) V. `sums`: (T, outputs) V, added to in place. `next_tile`: the tile that loads meanwhile, one
    without rows if none does. `bandwidths`: (4,) float64, words that the buffers of the streamed operand, the
    stationary operand and the sums deliver in a cycle, and the array's part of a cycle of the banks. `log`: as in
    `load`.
    """
    weights, taps = loader.weights.copy(), loader.taps.copy()
    loader.rows[0], loader.words[0] = 0, 0.0
    rows, columns = weights.shape
    used, first = len(tile.outputs), 0
    while first < rows - 1 and tile.starts[first + 1] == 0:
        first += 1
    # a row's registers are a ring buffer: its head moves left instead of the contents moving right
    length = 2 * columns
    rings = np.zeros(length * tile.starts[rows], steps.dtype)
    leaving = np.full(length, NOTHING, np.int32)
    edge = np.full(rows, NOTHING, np.int32)
    partial = np.zeros((rows + 1, used), sums.dtype)  # nothing enters above the first row
    words = np.zeros(len(bandwidths))
    head, begun, finished, cycles = columns, 0, 0, 0
    while finished < len(steps) or loader.rows[0] < len(next_tile.row_words):
        loaded = _load_cycle(loader, next_tile, bandwidths[1]) if len(next_tile.row_words) else 0
        if head == 0:
            _rewind(rings, leaving, tile.starts, columns)
            head = columns
        head -= 1
        for r in range(rows - 1, 0, -1):
            edge[r] = edge[r - 1]
        edge[0] = NOTHING
        ready = begun < len(steps)
        for i in range(len(bandwidths)):
            words[i] += bandwidths[i]
            ready &= words[i] + ROUNDING >= tile.demands[i]
        if ready:
            for i in range(len(bandwidths)):
                words[i] -= tile.demands[i]
            edge[0] = begun
            begun += 1
        _feed(rings, steps, edge, tile.starts, tile.inputs, head=head)
        leaving[head] = edge[rows - 1]
        _multiply(weights, taps, rings, partial, tile, head=head, first=first)
        for c in range(used):
            step = leaving[head + tile.hops[c]]
            if step != NOTHING:
                sums[step, tile.outputs[c]] += partial[rows, c]
        finished += leaving[head + tile.hops[columns - 1]] != NOTHING
        if cycles < len(log):
            log[cycles, ROWS_LOADED] = loaded
            log[cycles, STEPS_BEGUN] = edge[0] != NOTHING
            _log_cycle(log, cycles, tile, edge, leaving[head:])
        cycles += 1
    return cycles


@njit(nogil=True, cache=True)
def _feed(
    rings: NDArray[Any],
    steps: NDArray[Any],
    edge: NDArray[np.int32],
    starts: NDArray[np.int32],
    inputs: NDArray[np.int32],
    head: int,
) -> None:
    """Puts the inputs of each row's lane in its current step at the head of the row's registers."""
    length = len(rings) // max(1, starts[-1])
    for r in range(len(edge)):
        if edge[r] != NOTHING:
            at = length * starts[r] + head * (starts[r + 1] - starts[r])
            for i in range(starts[r], starts[r + 1]):
                rings[at + i - starts[r]] = steps[edge[r], inputs[i]]


@njit(nogil=True, cache=True)
def _multiply(
    weights: NDArray[Any],
    taps: NDArray[np.uint32],
    rings: NDArray[Any],
    partial: NDArray[Any],
    tile: LoadedTile,
    head: int,
    first: int,
) -> None:
    """One cycle of all PEs, from the last row up: each adds its product to the sum from the PE above."""
    rows, used = len(weights), partial.shape[1]
    length, starts = 2 * weights.shape[1], tile.starts
    is_systolic = tile.hops[-1] == len(tile.hops) - 1
    for r in range(rows - 1, first - 1, -1):
        count = starts[r + 1] - starts[r]
        at = np.uint64(length * starts[r] + head * count)
        if count == 1 and is_systolic:  # an ordinary lane, which needs no selects
            for c in range(used):
                partial[r + 1, c] = partial[r, c] + weights[r, c] * rings[at + np.uint64(c)]
        else:
            for c in range(used):
                partial[r + 1, c] = partial[r, c] + weights[r, c] * rings[at + np.uint64(taps[r, c])]


@njit(nogil=True, cache=True)
def _rewind(rings: NDArray[Any], leaving: NDArray[np.int32], starts: NDArray[np.int32], columns: int) -> None:
    """Moves the contents of each ring from its first half to its second."""
    leaving[columns:] = leaving[:columns].copy()
    for r in range(len(starts) - 1):
        count = (starts[r + 1] - starts[r]) * columns
        at = 2 * columns * starts[r]
        rings[at + count : at + 2 * count] = rings[at : at + count].copy()


@njit(nogil=True, cache=True)
def _log_cycle(
    log: NDArray[np.int64],
    cycle: int,
    tile: LoadedTile,
    edge: NDArray[np.int32],
    leaving: NDArray[np.int32],
) -> None:
    """Fills the columns of line `cycle` that `stream` has not set."""
    rows, columns = tile.used.shape
    for r in range(rows):
        if edge[r] != NOTHING:
            log[cycle, LANE_WORDS] += tile.starts[r + 1] - tile.starts[r]
        for c in range(columns):
            delay = r + tile.hops[c]  # cycles since the step now in this PE entered the array
            if tile.used[r, c] and cycle >= delay:
                log[cycle, MACS] += log[cycle - delay, STEPS_BEGUN]
    for c in range(len(tile.outputs)):
        log[cycle, SUMS_OUT] += leaving[tile.hops[c]] != NOTHING
