"""An array in which one operand stays: it is loaded, the other streams through, sums come out. Kernels.

Lanes lie at the lower rows, sums leave below. What stays enters below too and moves up, a row in each cycle. A step
enters row r a cycle after row r - 1 and moves right, a sum moves down, both one PE in each cycle.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

NOTHING = -1
# columns of a log: how much of what happened in a cycle
ROWS_LOADED, STEPS_BEGUN, LANE_WORDS, MACS, SUMS_OUT = range(5)
LOG_COLUMNS = ("rows_loaded", "steps_begun", "lane_words", "macs", "sums_out")
_SLACK = 1e-9  # so that a third of a word for three cycles is a word


class Plane(NamedTuple):
    """What stays in the array during one pass, and what its lanes and columns are for.

    R rows, C columns of the array, h lanes and c columns used; V is float32 or int32.
    `weights`: (R, C) V, 0 in an empty slot. `taps`: (R, C) uint32, c * (inputs of the lane) + which of them a slot
    multiplies. `used`: (R, C) bool. `starts`: (R + 1,) int32, where each row's list begins in `inputs`: (lane inputs,)
    int32. `outputs`: (c,) int32, where each column adds its sums. `row_words`: (R,) float64, words that each row takes
    to load. `demands`: (3,) float64, words that a step takes from the buffers of streams, of what stays, and of sums.
    """

    weights: NDArray[Any]
    taps: NDArray[np.uint32]
    used: NDArray[np.bool_]
    starts: NDArray[np.int32]
    inputs: NDArray[np.int32]
    outputs: NDArray[np.int32]
    row_words: NDArray[np.float64]
    demands: NDArray[np.float64]


class Loader(NamedTuple):
    """The registers that the next plane moves through on its way up, and how far it is.

    `weights`, `taps`: as in Plane. `rows`: (1,) int64, rows that have entered. `words`: (1,) float64, words that the
    buffer has delivered and no row has taken.
    """

    weights: NDArray[Any]
    taps: NDArray[np.uint32]
    rows: NDArray[np.int64]
    words: NDArray[np.float64]


def new_loader(rows: int, columns: int, dtype: np.dtype[Any]) -> Loader:
    """A loader with nothing in it."""
    shape = (rows, columns)
    return Loader(np.zeros(shape, dtype), np.zeros(shape, np.uint32), np.zeros(1, np.int64), np.zeros(1))


@njit(nogil=True, cache=True)
def load(loader: Loader, plane: Plane, port: float, log: NDArray[np.int64]) -> int:
    """Moves `plane` in, and nothing else; gives the cycles that takes.

    `port`: words that its buffer delivers in a cycle. `log`: (cycles at least, columns of a log) int64, or no rows.
    """
    cycles = 0
    while loader.rows[0] < len(plane.row_words):
        moved = _load_cycle(loader, plane, port)
        if cycles < len(log):
            log[cycles, ROWS_LOADED] = moved
        cycles += 1
    return cycles


@njit(nogil=True, cache=True)
def _load_cycle(loader: Loader, plane: Plane, port: float) -> int:
    """One cycle of loading: the next row enters below and all above it move up, if its words are there."""
    row = loader.rows[0]
    rows, columns = loader.weights.shape
    if row == rows:
        return 0
    loader.words[0] += port
    if loader.words[0] + _SLACK < plane.row_words[row]:
        return 0
    loader.words[0] -= plane.row_words[row]
    for r in range(rows - 1):
        for c in range(columns):
            loader.weights[r, c] = loader.weights[r + 1, c]
            loader.taps[r, c] = loader.taps[r + 1, c]
    for c in range(columns):
        loader.weights[rows - 1, c] = plane.weights[row, c]
        loader.taps[rows - 1, c] = plane.taps[row, c]
    loader.rows[0] += 1
    return 1


@njit(nogil=True, cache=True)
def stream(
    loader: Loader,
    plane: Plane,
    following: Plane,
    steps: NDArray[Any],
    sums: NDArray[Any],
    ports: NDArray[np.float64],
    log: NDArray[np.int64],
) -> int:
    """Streams `steps` through what `loader` holds, until the array is empty; gives the cycles that takes.

    `steps`: (T, inputs) V. `sums`: (T, outputs) V, added to in place. `following`: the plane that moves in meanwhile;
    one without rows if none does. `ports`: (3,) float64, words that the buffers of streams, of what stays and of sums
    deliver in a cycle. `log`: as in `load`.
    """
    weights, taps = loader.weights.copy(), loader.taps.copy()
    loader.rows[0], loader.words[0] = 0, 0.0
    rows, columns = weights.shape
    used, first = len(plane.outputs), 0
    while first < rows - 1 and plane.starts[first + 1] == 0:
        first += 1
    # a row's registers are a ring: its head moves left instead of all that it holds moving right
    length = 2 * columns
    rings = np.zeros(length * plane.starts[rows], steps.dtype)
    leaving = np.full(length, NOTHING, np.int32)
    edge = np.full(rows, NOTHING, np.int32)
    partial = np.zeros((rows + 1, used), sums.dtype)  # above the first row nothing enters
    words = np.zeros(3)
    head, begun, left, cycles = columns, 0, 0, 0
    while left < len(steps) or loader.rows[0] < len(following.row_words):
        loaded = _load_cycle(loader, following, ports[1]) if len(following.row_words) else 0
        if head == 0:
            _rewind(rings, leaving, plane.starts, columns)
            head = columns
        head -= 1
        for r in range(rows - 1, 0, -1):
            edge[r] = edge[r - 1]
        edge[0] = NOTHING
        ready = begun < len(steps)
        for i in range(3):
            words[i] += ports[i]
            ready &= words[i] + _SLACK >= plane.demands[i]
        if ready:
            for i in range(3):
                words[i] -= plane.demands[i]
            edge[0] = begun
            begun += 1
        _feed(rings, steps, edge, plane.starts, plane.inputs, head)
        leaving[head] = edge[rows - 1]
        _multiply(weights, taps, rings, partial, plane.starts, head, first)
        for c in range(used):
            if leaving[head + c] != NOTHING:
                sums[leaving[head + c], plane.outputs[c]] += partial[rows, c]
        left += leaving[head + columns - 1] != NOTHING
        if cycles < len(log):
            log[cycles, ROWS_LOADED] = loaded
            log[cycles, STEPS_BEGUN] = edge[0] != NOTHING
            _write(log, cycles, plane, edge, leaving[head : head + used])
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
    """Puts what each row's step has for its lane at the head of the row's registers."""
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
    starts: NDArray[np.int32],
    head: int,
    first: int,
) -> None:
    """One cycle of all PEs, from the last row up: each adds its product to the sum that the PE above has made."""
    rows, used = len(weights), partial.shape[1]
    length = 2 * weights.shape[1]
    for r in range(rows - 1, first - 1, -1):
        count = starts[r + 1] - starts[r]
        at = np.uint64(length * starts[r] + head * count)
        if count == 1:  # an ordinary lane, which needs no selects
            for c in range(used):
                partial[r + 1, c] = partial[r, c] + weights[r, c] * rings[at + np.uint64(c)]
        else:
            for c in range(used):
                partial[r + 1, c] = partial[r, c] + weights[r, c] * rings[at + np.uint64(taps[r, c])]


@njit(nogil=True, cache=True)
def _rewind(rings: NDArray[Any], leaving: NDArray[np.int32], starts: NDArray[np.int32], columns: int) -> None:
    """Moves what the registers hold, in the first half of each ring, to its second half."""
    leaving[columns:] = leaving[:columns].copy()
    for r in range(len(starts) - 1):
        count = (starts[r + 1] - starts[r]) * columns
        at = 2 * columns * starts[r]
        rings[at + count : at + 2 * count] = rings[at : at + count].copy()


@njit(nogil=True, cache=True)
def _write(
    log: NDArray[np.int64],
    cycle: int,
    plane: Plane,
    edge: NDArray[np.int32],
    leaving: NDArray[np.int32],
) -> None:
    """Fills line `cycle` of the log but for what is known already."""
    rows, columns = plane.used.shape
    for r in range(rows):
        if edge[r] != NOTHING:
            log[cycle, LANE_WORDS] += plane.starts[r + 1] - plane.starts[r]
        for c in range(columns):
            # the step that is now in this PE began as many cycles ago as it has come PEs down and right
            if plane.used[r, c] and cycle >= r + c:
                log[cycle, MACS] += log[cycle - r - c, STEPS_BEGUN]
    log[cycle, SUMS_OUT] = np.count_nonzero(leaving != NOTHING)
