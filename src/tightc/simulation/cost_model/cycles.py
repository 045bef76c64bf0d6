"""Closed forms of cycles: one pass, and all passes of a layer on one array or several, with buffer stalls.

A pass loads the stationary operand (R cycles), streams T steps and drains the array (R + C - 2 cycles), for R rows and
C columns. These are SCALE-Sim 3.0.0's weight- and input-stationary passes; an output-stationary pass loads nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tightc.simulation.accelerator.accelerator import Accelerator, BufferPort
from tightc.simulation.cost_model.passes import Counts, Passes

_ROUNDING = 1e-9  # so that 3 words at 0.3 words a cycle take 10 cycles, not 11


@dataclass(frozen=True)
class Cycles:
    """Cycles of a layer on the arrays: `compute` without stalls, and the stalls that each buffer adds.

    Stalls are attributed in this order: those that an unlimited activation buffer removes, then the weight buffer's,
    then the partial-sum buffer's.
    """

    compute: int = 0
    activation_stalls: int = 0
    weight_stalls: int = 0
    sum_stalls: int = 0

    @property
    def total(self) -> int:
        """All cycles on the arrays."""
        return self.compute + self.activation_stalls + self.weight_stalls + self.sum_stalls


def layer_cycles(passes: Passes, accelerator: Accelerator, temporal_tiles: int = 1) -> Cycles:
    """Cycles of a layer on `accelerator` with its steps cut into `temporal_tiles`, each taking all `passes`.

    Temporal tiles differ in length by one step at most. The passes of one temporal tile after the other are dealt to
    the arrays in turn; the busiest array counts.
    """
    unlimited = BufferPort()
    limits = [
        accelerator,
        replace(accelerator, activations=unlimited),
        replace(accelerator, activations=unlimited, weights=unlimited),
        replace(accelerator, activations=unlimited, weights=unlimited, sums=unlimited),
    ]
    times = [_total_cycles(passes, limit, temporal_tiles) for limit in limits]
    return Cycles(times[3], *(slower - faster for slower, faster in pairwise(times)))


def _total_cycles(passes: Passes, accelerator: Accelerator, temporal_tiles: int) -> int:
    if not len(passes):
        return 0
    busy = min(accelerator.arrays, temporal_tiles * len(passes))
    load = load_cycles(passes, accelerator, temporal_tiles, busy)
    longer, shorter = -(-passes.steps // temporal_tiles), passes.steps // temporal_tiles
    count = passes.steps - shorter * temporal_tiles  # temporal tiles with a step more, which come first
    body = {
        steps: body_cycles(passes, accelerator, steps, temporal_tiles, busy) for steps in {longer, shorter}
    }
    if accelerator.arrays == 1 and not accelerator.prefetch:
        streaming = count * body[longer].sum() + (temporal_tiles - count) * body[shorter].sum()
        return int(temporal_tiles * load.sum() + streaming)
    bodies = np.concatenate([np.tile(body[longer], count), np.tile(body[shorter], temporal_tiles - count)])
    loads = np.tile(load, temporal_tiles)
    return max(
        _array_cycles(loads[i :: accelerator.arrays], bodies[i :: accelerator.arrays], accelerator.prefetch)
        for i in range(busy)
    )


def _array_cycles(load: Counts, body: Counts, prefetch: bool) -> int:
    """Cycles of one array; with `prefetch`, each load but the first overlaps the body of the pass before."""
    if not prefetch:
        return int(load.sum() + body.sum())
    return int(load[0] + np.maximum(body, np.append(load[1:], 0)).sum())


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


def body_cycles(
    passes: Passes, accelerator: Accelerator, steps: int, temporal_tiles: int, sharing: int
) -> Counts:
    """Cycles from the first step until the array is empty, (passes,): T + R + C - 2, or more where a buffer is slower.

    T is the `steps` of a temporal tile divided among the replicas of a pass. With os, a pass lasts at least as long as
    its finished sums take to leave, which overlaps the next pass. `passes`, `accelerator`, `temporal_tiles` and
    `sharing`: as in `load_cycles`.
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
    unload = _transfer_cycles(passes.unloaded_sums, accelerator.sums.words_per_cycle / sharing)
    return np.maximum(stream + accelerator.drain_cycles, unload)


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
