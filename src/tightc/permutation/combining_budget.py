"""Column combining within a budget: how many weights each layer keeps before its inputs are combined."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from math import floor

import numpy as np

from tightc.deadline import Deadline, TimeShare
from tightc.errors import OptionError
from tightc.parallel import available_cores
from tightc.permutation.executors.threads import closed, results_of
from tightc.permutation.layer_scheduler import LayerJob, packing_problem
from tightc.permutation.methods.column_combine import pack
from tightc.permutation.options import PermuteOptions
from tightc.permutation.search_context import SearchContext
from tightc.progress import Progress
from tightc.selection.balance import layer_balanced
from tightc.selection.budget import NOUNS, Budget
from tightc.selection.multiple_choice import Curve, best_choices
from tightc.tile.matrix import LayerMatrix
from tightc.tile.measures import dropped_weights, packed_bits
from tightc.tile.packing import Packing

_RATIO = 0.92  # of a number of weights that is tried, over the next larger one
_ROUNDING = (
    1e-12  # relative: 1 / 49 of a cost is a little too small, and must buy as much as the exact number
)


def with_kept_weights(
    jobs: Sequence[LayerJob], options: PermuteOptions, progress: Progress
) -> list[LayerJob]:
    """`jobs` with the number of weights that each keeps, so that their packings together meet the budget of `options`.

    Each layer is combined for falling numbers of its largest weights. Of the packings the network takes those that
    keep the most balanced saliency for the budget, by what they cost on the accelerator. So the gain is reached, not
    estimated. OptionError where even the least of each layer costs more.
    """
    budget = options.budget
    assert budget is not None, "the caller checked"
    work = Deadline()
    contexts = [SearchContext(time=TimeShare(work), progress=progress, layer=job.name) for job in jobs]
    runs = [partial(_trials, job, options, own) for job, own in zip(jobs, contexts, strict=True)]
    pool = ThreadPoolExecutor(options.jobs or available_cores())
    with closed(pool, work):
        found, _ = results_of(pool, runs, work)
    dense = sum(own.dense for own in found)
    least = sum(float(own.curve.costs.min()) for own in found)
    if least > dense / budget.factor * (1 + _ROUNDING):
        raise _unreachable(budget, dense / least)
    chosen = best_choices([[own.curve] for own in found], dense / budget.factor * (1 + _ROUNDING))
    return [
        replace(job, kept=own.counts[choice.place])
        for job, own, choice in zip(jobs, found, chosen, strict=True)
    ]


@dataclass(frozen=True)
class _Trials:
    """A layer combined from each of several numbers of weights, `counts`: the cost and saliency of its packing.

    `dense`: what it costs with all weights and no packing.
    """

    counts: list[int]
    curve: Curve
    dense: float


def _trials(job: LayerJob, options: PermuteOptions, context: SearchContext) -> _Trials:
    matrix = job.load()
    saliency = layer_balanced(np.square(matrix.dequantized, dtype=np.float64))
    counts = _counts(int(np.count_nonzero(saliency)))
    costs, kept = [], []
    quiet = SearchContext(time=context.time)
    for number, count in enumerate(counts):
        packing = pack(matrix, packing_problem(options, job.costs, count), context=quiet)
        costs.append(_cost(packing, matrix, job, options.budget))
        kept.append(float(saliency[~dropped_weights(packing, matrix)].sum()))
        context.report((number + 1) / (len(counts) + 1), {"weights": f"{count:,}"})
    runs = np.isfinite(costs) | ~np.isfinite(costs).any()  # some may have more partial sums than their buffer
    curve = Curve(np.array(costs)[runs], np.array(kept)[runs])
    counts = [count for count, fits in zip(counts, runs, strict=True) if fits]
    return _Trials(counts, curve, _dense(matrix, job, options.budget))


def _counts(nonzeros: int) -> list[int]:
    """The numbers of weights that are tried for a layer with so many, falling to one; none for a layer without."""
    counts = [nonzeros]
    while counts[-1] > 1:
        counts.append(floor(_RATIO * counts[-1]))
    return counts


def _cost(packing: Packing, matrix: LayerMatrix, job: LayerJob, budget: Budget | None) -> float:
    """What the budget counts of a packing."""
    kind = budget.kind if budget else "compression"
    if kind == "compression":
        return float(sum(tile.area for tile in packing.tiles))
    if kind == "bits":
        return float(packed_bits(packing, matrix.bits))
    assert job.costs is not None, "the caller asked for them"
    cost = job.costs.of(packing)
    return cost.cycles if kind == "speedup" else cost.energy_pj


def _dense(matrix: LayerMatrix, job: LayerJob, budget: Budget | None) -> float:
    """What the budget counts of a layer with all weights."""
    kind = budget.kind if budget else "compression"
    if kind in ("compression", "bits"):
        return float(matrix.values.size * (matrix.bits if kind == "bits" else 1))
    assert job.costs is not None, "the caller asked for them"
    cost = job.costs.of_dense()
    return cost.cycles if kind == "speedup" else cost.energy_pj


def _unreachable(budget: Budget, highest: float) -> OptionError:
    """The error for a budget above the `highest` factor, with a weight in each layer."""
    most = floor(100 * highest) / 100
    return OptionError(
        f"--budget: expected {NOUNS[budget.kind]} of at most {most:g}, where each layer keeps one weight, got {budget}",
        f"give at most {budget.kind}={most}" if most > 1 else "leave it out, or give a smaller array",
    )
