"""Closed forms of cycles: one pass, and all passes of a layer on one array or several, with buffer stalls.

A pass loads the stationary operand (R cycles), streams T steps and drains the array (R + C - 2 cycles), for R rows and
C columns. These are SCALE-Sim 3.0.0's weight- and input-stationary passes; an output-stationary pass loads nothing.
Where g columns share a lane register, an array drains in R - 1 + (C - 1) // g cycles.

Where draining overlaps, every PE has a second register. Row r of column c takes over the next weight r + c // g cycles
after the start of its tile, with the first step. The tile after it can begin to load once the lowest row has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tightc.accelerator.accelerator import Accelerator, BufferPort
from tightc.cost_model.passes import Counts, Passes

_ROUNDING = 1e-9  # so that 3 words at 0.3 words a cycle take 10 cycles, not 11


@dataclass(frozen=True)
class Cycles:
    """Cycles of a layer on the arrays: `compute` without stalls, and the stalls that each buffer adds.

    Stalls are attributed in this order: those that an unlimited activation buffer removes, then the weight buffer's,
    then the partial-sum buffer's. Before them come those that a buffer without banks removes.
    """

    compute: int = 0
    activation_stalls: int = 0
    weight_stalls: int = 0
    sum_stalls: int = 0
    bank_stalls: int = 0

    @property
    def total(self) -> int:
        """All cycles on the arrays."""
        stalls = self.activation_stalls + self.weight_stalls + self.sum_stalls + self.bank_stalls
        return self.compute + stalls


def layer_cycles(passes: Passes, accelerator: Accelerator, temporal_tiles: int = 1) -> Cycles:
    """Cycles of a layer on `accelerator` with its steps cut into `temporal_tiles`, each taking all `passes`.

    Temporal tiles differ in length by one step at most. The passes of one temporal tile after the other are dealt to
    the arrays in turn; the busiest array counts.
    """
    if accelerator.accumulator_bypass:
        passes = passes.bypassing()
    unlimited, banked = BufferPort(), accelerator
    accelerator = replace(accelerator, bank_network=None)
    limits = [
        accelerator,
        replace(accelerator, activations=unlimited),
        replace(accelerator, activations=unlimited, weights=unlimited),
        replace(accelerator, activations=unlimited, weights=unlimited, sums=unlimited),
    ]
    times = [_total_cycles(passes, limit, temporal_tiles) for limit in limits]
    found = Cycles(times[3], *(slower - faster for slower, faster in pairwise(times)))
    if banked.bank_network is None:
        return found
    return replace(found, bank_stalls=_total_cycles(passes, banked, temporal_tiles) - times[0])


def start_cycles(passes: Passes, accelerator: Accelerator, temporal_tiles: int = 1) -> Counts:
    """The cycle in which the first step of each pass enters its array, counted from the start of the layer.

    (temporal_tiles x passes,), in the order in which they are dealt to the arrays. `passes`, `accelerator` and
    `temporal_tiles`: as in `layer_cycles`.
    """
    found = np.zeros(temporal_tiles * len(passes), np.int64)
    if accelerator.accumulator_bypass:
        passes = passes.bypassing()
    busy = min(accelerator.arrays, len(found))
    if not busy:
        return found
    times = _PassTimes.of_layer(passes, accelerator, temporal_tiles, busy)
    # the words of a first step may take several cycles to come
    first = enter_cycles(passes, accelerator, 1, temporal_tiles, busy) - 1
    for array in range(busy):
        own = slice(array, None, accelerator.arrays)
        dealt = times.dealt(own)
        found[own] = dealt.load[0] + np.append(0, np.cumsum(dealt.intervals(accelerator)))
    return found + np.tile(first, temporal_tiles)


def _total_cycles(passes: Passes, accelerator: Accelerator, temporal_tiles: int) -> int:
    if not len(passes):
        return 0
    busy = min(accelerator.arrays, temporal_tiles * len(passes))
    if accelerator.arrays == 1 and not accelerator.prefetch:
        return sum(
            count * _PassTimes.of(passes, accelerator, steps, temporal_tiles, busy).total(accelerator)
            for steps, count in temporal_tile_lengths(passes.steps, temporal_tiles)
        )
    times = _PassTimes.of_layer(passes, accelerator, temporal_tiles, busy)
    return max(times.dealt(slice(i, None, accelerator.arrays)).total(accelerator) for i in range(busy))


@dataclass(frozen=True)
class _PassTimes:
    """Cycles of passes in their order; each (passes,) int64.

    `load`: to load it. `enter`: from the start of the pass until its last step has entered. `body`: until it has left.
    """

    load: Counts
    enter: Counts
    body: Counts

    @classmethod
    def of(
        cls, passes: Passes, accelerator: Accelerator, steps: int, temporal_tiles: int, sharing: int
    ) -> _PassTimes:
        """The passes of one temporal tile of `steps`; the other arguments are as in `load_cycles`.

        With os, a pass lasts at least as long as its finished sums take to leave, which overlaps the next pass.
        """
        load = load_cycles(passes, accelerator, temporal_tiles, sharing)
        enter = enter_cycles(passes, accelerator, steps, temporal_tiles, sharing)
        unload = _transfer_cycles(passes.unloaded_sums, accelerator.sums.words_per_cycle / sharing)
        return cls(load, enter, np.maximum(enter + accelerator.drain_cycles, unload))

    @classmethod
    def of_layer(
        cls, passes: Passes, accelerator: Accelerator, temporal_tiles: int, sharing: int
    ) -> _PassTimes:
        """The passes of all temporal tiles, one after the other."""
        lengths = temporal_tile_lengths(passes.steps, temporal_tiles)
        parts = [
            (cls.of(passes, accelerator, steps, temporal_tiles, sharing), count) for steps, count in lengths
        ]
        return cls(
            np.concatenate([np.tile(times.load, count) for times, count in parts]),
            np.concatenate([np.tile(times.enter, count) for times, count in parts]),
            np.concatenate([np.tile(times.body, count) for times, count in parts]),
        )

    def dealt(self, own: slice) -> _PassTimes:
        """The passes of one array."""
        return _PassTimes(self.load[own], self.enter[own], self.body[own])

    def intervals(self, accelerator: Accelerator) -> Counts:
        """Cycles from the start of each pass but the last to that of the next on the same array, (passes - 1,)."""
        load = self.load[1:]
        if accelerator.overlap_drain:
            return np.maximum(self.enter[:-1], accelerator.array.rows - 1 + load)
        if accelerator.prefetch:
            return np.maximum(self.body[:-1], load)
        return self.body[:-1] + load

    def total(self, accelerator: Accelerator) -> int:
        """Cycles of one array for all the passes."""
        return int(self.load[0] + self.intervals(accelerator).sum() + self.body[-1])


def temporal_tile_lengths(steps: int, temporal_tiles: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The two lengths of temporal tiles and how many have each, longer ones first."""
    longer, shorter = -(-steps // temporal_tiles), steps // temporal_tiles
    count = steps - shorter * temporal_tiles
    return (longer, count), (shorter, temporal_tiles - count)


def load_cycles(passes: Passes, accelerator: Accelerator, temporal_tiles: int, sharing: int) -> Counts:
    """Cycles to load the stationary operand of `passes`, (passes,): R, or more where its buffer is slower; 0 for os.

    `temporal_tiles`: number of them in the layer. `sharing`: arrays of `accelerator` that share the bandwidth of the
    buffers.
    """
    if passes.dataflow == "os":
        return np.zeros(len(passes), np.int64)
    index_words = passes.loaded_bits / (8 * accelerator.operand_bytes)
    words = replicas(passes, accelerator, temporal_tiles) * (passes.loaded_words + index_words)
    buffer = accelerator.weights if passes.dataflow == "ws" else accelerator.activations
    return np.maximum(accelerator.array.rows, _transfer_cycles(words, buffer.words_per_cycle / sharing))


def enter_cycles(
    passes: Passes, accelerator: Accelerator, steps: int, temporal_tiles: int, sharing: int
) -> Counts:
    """Cycles in which the steps of a pass enter, (passes,): T, or more where a buffer is slower.

    T is the `steps` of a temporal tile divided among the replicas of a pass. `passes`, `accelerator`, `temporal_tiles`
    and `sharing`: as in `load_cycles`.
    """
    replicated = replicas(passes, accelerator, temporal_tiles)
    stream = -(-steps // replicated)
    for words, buffer in (
        (passes.activation_words, accelerator.activations),
        (passes.weight_words, accelerator.weights),
        (passes.sums_read + passes.sums_written, accelerator.sums),
    ):
        moved = -(-steps // replicated) * replicated * words
        stream = np.maximum(stream, _transfer_cycles(moved, buffer.words_per_cycle / sharing))
    if accelerator.bank_network and passes.bank_cycles is not None:
        # arrays take the banks in turn, and so do replicas, since each needs another rotation
        taken: Counts = -(-steps // replicated) * replicated * passes.bank_cycles * sharing
        stream = np.maximum(stream, taken)
    return stream


def replicas(passes: Passes, accelerator: Accelerator, temporal_tiles: int) -> Counts:
    """Replicas of each of `passes` on an array, (passes,); 1 where `accelerator` does not replicate tiles.

    A replica has at least one step, in a layer of `temporal_tiles`.
    """
    if not accelerator.replicate_tiles:
        return np.ones(len(passes), np.int64)
    return passes.replicas(accelerator.array, temporal_tiles)


def _transfer_cycles(words: NDArray[np.int64] | NDArray[np.float64], words_per_cycle: float) -> Counts:
    if math.isinf(words_per_cycle):
        return np.zeros(len(words), np.int64)
    return np.ceil(words / words_per_cycle - _ROUNDING).astype(np.int64)
