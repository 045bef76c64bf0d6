"""An array in which a tile starts while the sums of the one before still leave. Kernels.

Every PE has a second register for its weight. The next tile moves up through these while a tile runs. Its start passes
the array as a wave, with the first step: PE by PE, the second register is taken over. Values move as in `stationary`;
loading, too, reaches a column as many cycles later as a lane's inputs do.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.simulation.engine.stationary import (
    LANE_WORDS,
    MACS,
    NOTHING,
    ROUNDING,
    ROWS_LOADED,
    STEPS_BEGUN,
    SUMS_OUT,
)


class OverlappedPass(NamedTuple):
    """A tile and its steps, as a pass takes them; no rows and no steps stand for no pass.

    R rows and C columns of the array, T steps, n inputs on all lanes together, V float32 or int32.
    `weights`: (R, C) V, 0 in an empty slot. `taps`: (R, C) int64, which of the n inputs a slot multiplies.
    `used`: (R, C) bool, slots that hold a weight.
    `inputs`: (n,) int32, columns of `steps`: (T, inputs) V. `lane_words`: (R,) int64, inputs of each lane.
    `busy`: (R,) bool, lanes that take part in the last step; in the others all do.
    `targets`: (T, C) int64, where each column adds its sum of a step, NOTHING where it has none.
    `row_words`, `demands`: as in LoadedTile.
    """

    weights: NDArray[Any]
    taps: NDArray[np.int64]
    used: NDArray[np.bool_]
    inputs: NDArray[np.int32]
    steps: NDArray[Any]
    lane_words: NDArray[np.int64]
    busy: NDArray[np.bool_]
    targets: NDArray[np.int64]
    row_words: NDArray[np.float64]
    demands: NDArray[np.float64]


class ArrayState(NamedTuple):
    """The registers of an array; kernels change them in place.

    Index 0 of `weights` (2, R, C), `taps` and `used` is what PEs multiply by, 1 are the second registers.
    `partial`: (R + 1, C) V, sums on their way down. `sums`: flat, to which columns add.
    What enters in a cycle reaches a PE by its row and its hops later: it is in slot cycle % S of S = R + last hop.
    `inputs`: (S, n) V; `targets`: (S, C); `lane_words`: (S, R), 0 for idle lanes: those of the step that entered.
    `new_weights`: (S, C) V, `new_taps`, `new_used`: the row that entered the second registers.
    `entered`, `started`, `loaded`: (S,) bool, whether a step, the first of a tile, or a row did.
    `hops`: (C,) as in LoadedTile. `clock`: (2,) int64, the cycle, and how many steps are in the array.
    """

    weights: NDArray[Any]
    taps: NDArray[np.int64]
    used: NDArray[np.bool_]
    partial: NDArray[Any]
    sums: NDArray[Any]
    inputs: NDArray[Any]
    targets: NDArray[np.int64]
    lane_words: NDArray[np.int64]
    new_weights: NDArray[Any]
    new_taps: NDArray[np.int64]
    new_used: NDArray[np.bool_]
    entered: NDArray[np.bool_]
    started: NDArray[np.bool_]
    loaded: NDArray[np.bool_]
    hops: NDArray[np.int64]
    clock: NDArray[np.int64]


def new_state(rows: int, hops: NDArray[np.int64], inputs: int, sums: NDArray[Any]) -> ArrayState:
    """An empty array of `rows` that adds to `sums` (steps, outputs) in place; `inputs`: most of any tile."""
    columns, slots = len(hops), rows + int(hops[-1])
    return ArrayState(
        weights=np.zeros((2, rows, columns), sums.dtype),
        taps=np.zeros((2, rows, columns), np.int64),
        used=np.zeros((2, rows, columns), bool),
        partial=np.zeros((rows + 1, columns), sums.dtype),
        sums=sums.reshape(-1),
        inputs=np.zeros((slots, inputs), sums.dtype),
        targets=np.full((slots, columns), NOTHING, np.int64),
        lane_words=np.zeros((slots, rows), np.int64),
        new_weights=np.zeros((slots, columns), sums.dtype),
        new_taps=np.zeros((slots, columns), np.int64),
        new_used=np.zeros((slots, columns), bool),
        entered=np.zeros(slots, bool),
        started=np.zeros(slots, bool),
        loaded=np.zeros(slots, bool),
        hops=hops,
        clock=np.zeros(2, np.int64),
    )


@njit(nogil=True, cache=True)
def run_overlapped(
    state: ArrayState,
    current: OverlappedPass,
    following: OverlappedPass,
    bandwidths: NDArray[np.float64],
    log: NDArray[np.int64],
) -> int:
    """Runs the array from the start of `current` until `following` can start, or all sums have left; the cycles.

    `following` loads from the cycle on in which the lowest row takes over its weights of `current`. `bandwidths` and
    `log`: as in `stationary.stream`.
    """
    rows, words, load_words = len(state.partial) - 1, np.zeros(len(bandwidths)), 0.0
    can_load = len(current.row_words) == 0
    is_last = len(following.row_words) == 0
    begun, loaded, cycles = 0, 0, 0
    while begun < len(current.steps) or loaded < len(following.row_words) or (is_last and state.clock[1] > 0):
        slot = state.clock[0] % len(state.entered)
        state.started[slot] = cycles == 0 and len(current.row_words) > 0
        state.entered[slot] = begun < len(current.steps)
        for i in range(len(bandwidths)):
            words[i] += bandwidths[i]
            state.entered[slot] &= words[i] + ROUNDING >= current.demands[i]
        if state.entered[slot]:
            for i in range(len(bandwidths)):
                words[i] -= current.demands[i]
            _enter(state, current, begun, slot)
            begun += 1
        state.loaded[slot] = False
        can_load |= state.started[(slot - (rows - 1)) % len(state.started)]  # the lowest row takes over
        if can_load and loaded < len(following.row_words):
            load_words += bandwidths[1]
            if load_words + ROUNDING >= following.row_words[loaded]:
                load_words -= following.row_words[loaded]
                state.loaded[slot] = True
                state.new_weights[slot] = following.weights[loaded]
                state.new_taps[slot] = following.taps[loaded]
                state.new_used[slot] = following.used[loaded]
                loaded += 1
        _take_over(state)
        _move_up(state)
        _multiply(state)
        _leave(state)
        if cycles < len(log):
            _log_cycle(log[cycles], state)
        state.clock[0] += 1
        cycles += 1
    return cycles


@njit(nogil=True, cache=True)
def _enter(state: ArrayState, current: OverlappedPass, step: int, slot: int) -> None:
    """Puts what a step of `current` brings to all lanes and columns into a slot."""
    for i in range(len(current.inputs)):
        state.inputs[slot, i] = current.steps[step, current.inputs[i]]
    for c in range(len(state.hops)):
        state.targets[slot, c] = current.targets[step, c]
    is_last = step == len(current.steps) - 1
    for r in range(len(current.lane_words)):
        state.lane_words[slot, r] = 0 if is_last and not current.busy[r] else current.lane_words[r]
    state.clock[1] += 1


@njit(nogil=True, cache=True)
def _take_over(state: ArrayState) -> None:
    """The PEs that the start of a tile reaches in this cycle take over their second registers."""
    slots, rows = len(state.started), len(state.partial) - 1
    if not state.started.any():
        return
    for r in range(rows):
        for c in range(len(state.hops)):
            if state.started[(state.clock[0] - r - state.hops[c]) % slots]:
                state.weights[0, r, c] = state.weights[1, r, c]
                state.taps[0, r, c] = state.taps[1, r, c]
                state.used[0, r, c] = state.used[1, r, c]


@njit(nogil=True, cache=True)
def _move_up(state: ArrayState) -> None:
    """The second registers of the columns that a row reaches in this cycle move up, and the row enters below."""
    slots, rows = len(state.loaded), len(state.partial) - 1
    for c in range(len(state.hops)):
        slot = (state.clock[0] - state.hops[c]) % slots
        if state.loaded[slot]:
            for r in range(rows - 1):
                state.weights[1, r, c] = state.weights[1, r + 1, c]
                state.taps[1, r, c] = state.taps[1, r + 1, c]
                state.used[1, r, c] = state.used[1, r + 1, c]
            state.weights[1, rows - 1, c] = state.new_weights[slot, c]
            state.taps[1, rows - 1, c] = state.new_taps[slot, c]
            state.used[1, rows - 1, c] = state.new_used[slot, c]


@njit(nogil=True, cache=True)
def _multiply(state: ArrayState) -> None:
    """One cycle of all PEs, from the last row up: each adds its product to the sum from the PE above."""
    slots, rows = len(state.entered), len(state.partial) - 1
    for r in range(rows - 1, -1, -1):
        own = (state.clock[0] - r) % slots  # of the first column
        for c in range(len(state.hops)):
            slot = own - state.hops[c] + (slots if own < state.hops[c] else 0)
            total = state.partial[r, c]
            if state.entered[slot]:
                total += state.weights[0, r, c] * state.inputs[slot, state.taps[0, r, c]]
            state.partial[r + 1, c] = total


@njit(nogil=True, cache=True)
def _leave(state: ArrayState) -> None:
    """The sums that leave the last row in this cycle are added where they belong."""
    slots, rows, columns = len(state.entered), len(state.partial) - 1, len(state.hops)
    for c in range(columns):
        slot = (state.clock[0] - (rows - 1) - state.hops[c]) % slots
        if state.entered[slot]:
            target = state.targets[slot, c]
            if target != NOTHING:
                state.sums[target] += state.partial[rows, c]
            if c == columns - 1:
                state.clock[1] -= 1


@njit(nogil=True, cache=True)
def _log_cycle(line: NDArray[np.int64], state: ArrayState) -> None:
    """Fills a line of a log with what happened in this cycle, of whatever tile."""
    now, slots, rows = state.clock[0], len(state.entered), len(state.partial) - 1
    line[ROWS_LOADED] = state.loaded[now % slots]
    line[STEPS_BEGUN] = state.entered[now % slots]
    for r in range(rows):
        if state.entered[(now - r) % slots]:
            line[LANE_WORDS] += state.lane_words[(now - r) % slots, r]
        for c in range(len(state.hops)):
            slot = (now - r - state.hops[c]) % slots
            if state.used[0, r, c] and state.entered[slot] and state.lane_words[slot, r] > 0:
                line[MACS] += 1
    for c in range(len(state.hops)):
        slot = (now - (rows - 1) - state.hops[c]) % slots
        line[SUMS_OUT] += state.entered[slot] and state.targets[slot, c] != NOTHING
