"""Closed forms of cycles: one pass, the passes of a layer on one array or several, with what the buffers deliver.

A pass loads what stays (R cycles), streams T steps and empties the array (R + C - 2 cycles), R rows and C columns:
SCALE-Sim 3.0.0's weight- and input-stationary passes; an output-stationary one loads nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tightc.simulation.accelerator.accelerator import Accelerator, BufferPort
from tightc.simulation.cost_model.passes import Counts, Passes

_NOTHING = 1e-9  # so that 3 words at 0.3 words a cycle take 10 cycles, not 11


@dataclass(frozen=True)
class Cycles:
    """Cycles of a layer on the arrays: `computing` if buffers kept up, and what waiting for each buffer adds.

    Waiting counts in this order: what is gone if the activation buffer kept up, then the weight buffer, then the sums.
    """

    computing: int = 0
    activation_stalls: int = 0
    weight_stalls: int = 0
    sum_stalls: int = 0

    @property
    def total(self) -> int:
        """All cycles on the arrays."""
        return self.computing + self.activation_stalls + self.weight_stalls + self.sum_stalls


def layer_cycles(passes: Passes, accelerator: Accelerator, pieces: int = 1) -> Cycles:
    """Cycles of a layer whose steps are cut into `pieces` as equal as can be, each taking all passes.

    Passes of one piece after the other are dealt to the arrays in turn; the array that is busy longest counts.
    """
    free = BufferPort()
    limits = [
        accelerator,
        replace(accelerator, activations=free),
        replace(accelerator, activations=free, weights=free),
        replace(accelerator, activations=free, weights=free, sums=free),
    ]
    times = [_time(passes, limit, pieces) for limit in limits]
    return Cycles(times[3], *(slower - faster for slower, faster in pairwise(times)))


def _time(passes: Passes, accelerator: Accelerator, pieces: int) -> int:
    if not len(passes):
        return 0
    at_once = min(accelerator.arrays, pieces * len(passes))
    load = load_cycles(passes, accelerator, pieces, at_once)
    longer, shorter = -(-passes.steps // pieces), passes.steps // pieces
    count = passes.steps - shorter * pieces  # pieces that are longer by a step, which come first
    body = {steps: body_cycles(passes, accelerator, (steps, pieces), at_once) for steps in {longer, shorter}}
    if accelerator.arrays == 1 and not accelerator.prefetch:
        return int(pieces * load.sum() + count * body[longer].sum() + (pieces - count) * body[shorter].sum())
    bodies = np.concatenate([np.tile(body[longer], count), np.tile(body[shorter], pieces - count)])
    loads = np.tile(load, pieces)
    return max(
        _in_turn(loads[i :: accelerator.arrays], bodies[i :: accelerator.arrays], accelerator.prefetch)
        for i in range(at_once)
    )


def _in_turn(load: Counts, body: Counts, prefetch: bool) -> int:
    """Cycles of one array; with `prefetch` each load but the first hides behind the body of the pass before."""
    if not prefetch:
        return int(load.sum() + body.sum())
    return int(load[0] + np.maximum(body, np.append(load[1:], 0)).sum())


def load_cycles(passes: Passes, accelerator: Accelerator, pieces: int, sharing: int) -> Counts:
    """Cycles until what stays is in place, (passes,): R, or more where its buffer is slower; 0 where sums stay.

    `sharing`: arrays among which buffers divide what they deliver.
    """
    if passes.dataflow == "os":
        return np.zeros(len(passes), np.int64)
    words = copies(passes, accelerator, pieces) * (
        passes.loaded_words + passes.loaded_bits / (8 * accelerator.operand_bytes)
    )
    store = accelerator.weights if passes.dataflow == "ws" else accelerator.activations
    return np.maximum(accelerator.array.rows, _cycles(words, store.words / sharing))


def body_cycles(passes: Passes, accelerator: Accelerator, part: tuple[int, int], sharing: int) -> Counts:
    """Cycles from the first step until the array is empty, (passes,): T + R + C - 2, or more where a buffer is slower.

    `part`: the steps of a piece, and the number of pieces. T is the steps divided among the copies of a pass. A pass
    takes at least as long as the sums that stayed in it take to leave, which they do while the next one runs.
    """
    steps, pieces = part
    replicas = copies(passes, accelerator, pieces)
    stream = -(-steps // replicas)
    for words, store in (
        (passes.activation_words, accelerator.activations),
        (passes.weight_words, accelerator.weights),
        (passes.sums_read + passes.sums_written, accelerator.sums),
    ):
        needed = _cycles(-(-steps // replicas) * replicas * words, store.words / sharing)
        stream = np.maximum(stream, needed)
    return np.maximum(
        stream + accelerator.fill, _cycles(passes.unloaded_sums, accelerator.sums.words / sharing)
    )


def copies(passes: Passes, accelerator: Accelerator, pieces: int) -> Counts:
    """How often each pass stands on the array at a time, (passes,); 1 where the chip puts none side by side."""
    return (
        passes.copies(accelerator.array, pieces)
        if accelerator.replicate_tiles
        else np.ones(len(passes), np.int64)
    )


def _cycles(words: NDArray[np.int64] | NDArray[np.float64], words_per_cycle: float) -> Counts:
    if math.isinf(words_per_cycle):
        return np.zeros(len(words), np.int64)
    return np.ceil(words / words_per_cycle - _NOTHING).astype(np.int64)
