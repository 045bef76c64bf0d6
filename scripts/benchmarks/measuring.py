"""Packings with what they cost: seconds, moves, peak memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from benchmarks.page import SEED
from tightc.permutation.annealing.anneal import Annealed, anneal
from tightc.permutation.executors import executor
from tightc.permutation.layer_scheduler import LayerJob, pack_layers
from tightc.permutation.options import PermuteOptions
from tightc.progress import no_progress
from tightc.tile.array import ArrayShape
from tightc.tile.bounds import fan_in_lower_bound, passes_lower_bound
from tightc.tile.matrix import LayerMatrix
from tightc.tile.measures import Measures, measure

ARRAY = ArrayShape(32, 32)
PEAK = "Peak memory is that of the process, with what it held before."
MANY = 50_000  # non-zeros
_STEPS = (16, 12, 10, *range(9, 0, -1))

Matrices = Mapping[str, LayerMatrix]


@dataclass(frozen=True)
class Permuted:
    """The measures of each layer by name, and of all; `moves` tried, `peak` MiB of the process."""

    layers: dict[str, Measures]
    seconds: float
    moves: int
    peak: float | None

    @property
    def total(self) -> Measures:
        """All layers together."""
        return sum(self.layers.values(), Measures())

    @property
    def speed(self) -> float | None:
        """Million moves a second of the whole search; None for a method that makes none."""
        return self.moves / self.seconds / 1e6 if self.moves else None


def _given(matrix: LayerMatrix) -> LayerMatrix:
    return matrix


def permuted(matrices: Matrices, seed: int = SEED, **options: Any) -> Permuted:
    """`matrices` packed in parallel as permute does it, and checked, with measures and costs."""
    chosen = PermuteOptions(**{"array": ARRAY, **options})
    warm(chosen.method)
    jobs = [
        LayerJob(name, partial(_given, matrix), int(np.count_nonzero(matrix.values)))
        for name, matrix in matrices.items()
    ]
    reset_peak()
    with counted_moves() as moves:
        began = time.perf_counter()
        found = pack_layers(jobs, chosen, seed, no_progress)
        seconds = time.perf_counter() - began
    if found.interrupted:
        raise KeyboardInterrupt
    top = peak()
    layers = {
        job.name: measure(packing, job.load()) for job, packing in zip(jobs, found.packings, strict=True)
    }
    return Permuted(layers, seconds, sum(moves), top)


@cache
def warm(method: str) -> None:
    """Compiles or loads the kernels of `method`."""
    values = np.random.default_rng(SEED).normal(size=(64, 128)) * (
        np.random.default_rng(1).random((64, 128)) < 0.2
    )
    for fan_in in (16, 4):
        options = PermuteOptions(method=method, array=ArrayShape(8, 8), fan_in=fan_in, alpha=fan_in)
        pack_layers([LayerJob("warm", partial(LayerMatrix, values), 1)], options, SEED, no_progress)


@contextmanager
def counted_moves() -> Iterator[list[int]]:
    """Meanwhile the moves of every block that is annealed in this process come into the list."""
    moves: list[int] = []

    def counted(*arguments: Any) -> Annealed:
        found = anneal(*arguments)
        moves.append(found.moves)
        return found

    with patch.object(executor, "anneal", counted):
        yield moves


def reset_peak() -> None:
    """Makes what the process holds now its peak, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> float | None:
    """MiB that the process held at most since `reset_peak`; None where the system does not say."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return None


class Times(NamedTuple):
    """Wall-clock seconds of several runs."""

    best: float
    median: float

    @property
    def ms(self) -> tuple[float, float]:
        """Both in milliseconds."""
        return 1e3 * self.best, 1e3 * self.median


def times(action: Callable[[], object], repeats: int) -> Times:
    """Seconds of `action` over `repeats`, after one to warm up."""
    action()
    found = [seconds(action) for _ in range(repeats)]
    return Times(min(found), median(found))


def seconds(action: Callable[[], object]) -> float:
    """Wall-clock seconds of `action`."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def best_seconds(action: Callable[[], object], repeats: int) -> float:
    """Wall-clock seconds of `action`: the best of `repeats`."""
    return min(seconds(action) for _ in range(repeats))


def lower_bounds(matrix: LayerMatrix, array: ArrayShape = ARRAY) -> tuple[int, int]:
    """(fewest passes, smallest fan-in that so many passes can do with) of any lossless packing."""
    passes = passes_lower_bound(matrix.filter_sizes(), array)
    users = np.bincount(matrix.nonzeros()[1]).astype(np.int64)
    return passes, fan_in_lower_bound(users, array, passes)


def smallest_fan_in(matrix: LayerMatrix, known: Mapping[int, int]) -> int | None:
    """The smallest fan-in tried at which tight packing reaches the pass bound; None where 16 does not.

    `known`: passes at fan-ins that have been tried. Tried are 16, 12, 10, 9, 8, ... down to the first that fails, then
    those between it and the last that did not, from below. Of layers with more than MANY weights only 16, 12, 10 and
    8 are tried, since each takes long.
    """
    bound, least = lower_bounds(matrix)
    many = np.count_nonzero(matrix.values) > MANY

    def reached(fan_in: int) -> bool:
        passes = known.get(fan_in) or permuted({"layer": matrix}, fan_in=fan_in).total.passes
        return passes == bound

    best = None
    for fan_in in (16, 12, 10, 8) if many else _STEPS:
        if fan_in >= least and reached(fan_in):
            best = fan_in
        elif best is None:
            return None
        elif many:
            break
        else:
            between = range(max(fan_in + 1, least), best)
            return next((one for one in between if reached(one)), best)
    return best
