"""Column combining within a budget: how many weights each layer keeps before its inputs are combined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from math import floor
from typing import NamedTuple

import numpy as np

from tightc.deadline import Deadline, TimeShare
from tightc.errors import OptionError
from tightc.parallel import available_cores
from tightc.permutation.executors.threads import closed, results_of
from tightc.permutation.layer_scheduler import LayerJob, layers_at_once, packing_problem
from tightc.permutation.methods.column_combine import pack
from tightc.permutation.options import PermuteOptions
from tightc.permutation.search_context import SearchContext
from tightc.progress import Progress
from tightc.selection.aligned import ROUNDING
from tightc.selection.balance import layer_balanced
from tightc.selection.budget import NOUNS, Budget, Kind
from tightc.selection.multiple_choice import Curve, best_choices, with_rest_spent
from tightc.tile.matrix import LayerMatrix
from tightc.tile.measures import dropped_weights, packed_bits
from tightc.tile.packing import Packing

# of a number of weights that is tried, over the next larger one: first of all, then near the best of those
_RATIOS = (0.6, 0.9, 0.98)


def with_kept_weights(
    jobs: Sequence[LayerJob], options: PermuteOptions, progress: Progress
) -> list[LayerJob]:
    """`jobs` with the number of weights that each keeps, so that their packings together meet the budget of `options`.

    Each layer is combined from falling numbers of its largest weights. Of the packings the network takes those that
    keep the most balanced saliency for the budget, by what they cost on the accelerator. So the gain is reached, not
    estimated. Then it chooses again, with more numbers near the best. OptionError where even the least of each layer
    costs more.
    """
    budget = options.budget
    assert budget is not None, "the caller checked"
    work = Deadline()
    contexts = [SearchContext(time=TimeShare(work), progress=progress, layer=job.name) for job in jobs]
    layers = [_Layer(job, options, budget.kind, own) for job, own in zip(jobs, contexts, strict=True)]
    pool = ThreadPoolExecutor(layers_at_once(options.jobs or available_cores(), jobs))
    with closed(pool, work):
        found = _all_of(pool, [layer.trials for layer in layers], work)
        allowed = sum(layer.dense for layer in layers) / budget.factor * (1 + ROUNDING)
        least = sum(min(trial.cost for trial in trials) for trials in found)
        if least > allowed:
            raise _unreachable(budget, budget.factor * allowed / least)
        for finer in range(1, len(_RATIOS)):
            places = _best(found, allowed)
            runs = [
                partial(layer.finer, own, place, finer)
                for layer, own, place in zip(layers, found, places, strict=True)
            ]
            found = _all_of(pool, runs, work)
    return [
        replace(job, kept=trials[place].weights)
        for job, trials, place in zip(jobs, found, _best(found, allowed), strict=True)
    ]


def _all_of(
    pool: ThreadPoolExecutor, runs: Sequence[Callable[[], list[_Trial]]], work: Deadline
) -> list[list[_Trial]]:
    """What each of `runs` returns; KeyboardInterrupt after an interrupt, also where all had ended."""
    found, interrupted = results_of(pool, runs, work)
    if interrupted:
        raise KeyboardInterrupt
    return found


class _Trial(NamedTuple):
    """A layer combined from so many `weights`: the `cost` of its packing, and the `saliency` of those left in it."""

    weights: int
    cost: float
    saliency: float


def _best(layers: Sequence[Sequence[_Trial]], allowed: float) -> list[int]:
    """The place of the trial that each layer takes, where all together may cost so much."""
    curves = [
        [Curve(np.array([trial.cost for trial in trials]), np.array([trial.saliency for trial in trials]))]
        for trials in layers
    ]
    choices = with_rest_spent(curves, best_choices(curves, allowed), allowed)
    return [choice.place for choice in choices]


@dataclass(frozen=True)
class _Layer:
    """A layer that is combined from several numbers of weights; `kind`: of the cost that a budget counts."""

    job: LayerJob
    options: PermuteOptions
    kind: Kind
    context: SearchContext

    def trials(self) -> list[_Trial]:
        """Those of numbers that fall from all weights to one; an empty layer has that of none."""
        whole = int(np.count_nonzero(self._matrix.values))
        return self._tried([whole, *_between(whole, 0, _RATIOS[0])], 0)

    def finer(self, trials: list[_Trial], place: int, level: int) -> list[_Trial]:
        """`trials` and some between the one at `place` and its neighbours, in the ratio of the `level`."""
        near = [trial.weights for trial in trials[max(0, place - 1) : place + 2]]
        counts = [count for more, fewer in pairwise(near) for count in _between(more, fewer, _RATIOS[level])]
        return sorted([*trials, *self._tried(counts, level)], reverse=True)

    @property
    def dense(self) -> float:
        """What a budget counts of the layer with all weights."""
        if self.kind in ("compression", "bits"):
            matrix = self._matrix
            return float(matrix.values.size * (matrix.bits if self.kind == "bits" else 1))
        assert self.job.costs is not None, "the caller asked for them"
        cost = self.job.costs.of_dense()
        return cost.cycles if self.kind == "speedup" else cost.energy_pj

    @property
    def _matrix(self) -> LayerMatrix:
        return self.job.load()

    def _tried(self, counts: list[int], level: int) -> list[_Trial]:
        """The layer combined from each of `counts`; what the accelerator cannot run costs infinitely much."""
        matrix = self._matrix
        saliency = layer_balanced(np.square(matrix.dequantized, dtype=np.float64))
        found, quiet = [], SearchContext(time=self.context.time)
        for number, count in enumerate(counts):
            packing = pack(matrix, packing_problem(self.options, self.job.costs, count), context=quiet)
            kept = float(saliency[~dropped_weights(packing, matrix)].sum())
            found.append(_Trial(count, self._cost(packing, matrix), kept))
            self.context.report((level + number / len(counts)) / len(_RATIOS), {"weights": f"{count:,}"})
        return found

    def _cost(self, packing: Packing, matrix: LayerMatrix) -> float:
        if self.kind == "compression":
            return float(sum(tile.area for tile in packing.tiles))
        if self.kind == "bits":
            return float(packed_bits(packing, matrix.bits))
        assert self.job.costs is not None, "the caller asked for them"
        cost = self.job.costs.of(packing)
        return cost.cycles if self.kind == "speedup" else cost.energy_pj


def _between(more: int, fewer: int, ratio: float) -> list[int]:
    """Numbers below `more` and above `fewer`, each about `ratio` times the one before."""
    found, count = [], floor(ratio * more)
    while count > fewer:
        found.append(count)
        count = floor(ratio * count)
    return found


def _unreachable(budget: Budget, highest: float) -> OptionError:
    """The error for a budget above the `highest` factor, with a weight in each layer."""
    most = floor(100 * highest) / 100
    return OptionError(
        f"--budget: expected {NOUNS[budget.kind]} of at most {most:g}, where each layer keeps one weight, got {budget}",
        f"give at most {budget.kind}={most}" if most > 1 else "leave it out, or give a smaller array",
    )
