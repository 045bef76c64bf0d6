"""Layer scheduler: all layers of a network are packed in parallel, until done, deadline or Ctrl-C."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from tightc.deadline import Deadline, TimeShare
from tightc.errors import OptionError
from tightc.parallel import available_cores
from tightc.permutation.annealing.curve import AnnealingCurve
from tightc.permutation.executors.executor import Executor, SerialExecutor, ThreadExecutor
from tightc.permutation.executors.threads import closed, results_of
from tightc.permutation.options import PermuteOptions
from tightc.permutation.packing_costs import PackingCosts
from tightc.permutation.problem import LossySettings, PackingProblem
from tightc.permutation.registry import BUILT_IN, Method, find_method
from tightc.permutation.search_context import SearchContext, SearchSettings
from tightc.progress import Progress
from tightc.tile.fan_in_bound import passes_lower_bound_at_fan_in
from tightc.tile.matrix import LayerMatrix
from tightc.tile.measures import kept_matrix
from tightc.tile.packing import Packing
from tightc.tile.validity import packing_error

_MOST_BYTES = 2**28  # of the matrices of the layers that are packed at the same time


@dataclass(frozen=True)
class LayerJob:
    """One layer to pack: its `name`, its matrix, which `load` reads, and its `weight` in the division of the time.

    `costs`: what a packing costs there, None where it is not known. `size`: bytes of the matrix. `kept`: weights that
    a method with a budget keeps before it packs; None for all.
    """

    name: str
    load: Callable[[], LayerMatrix]
    weight: int
    costs: PackingCosts | None = None
    size: int = 0
    kept: int | None = None


@dataclass(frozen=True)
class PackedLayers:
    """The packing of every job, whether there was an interrupt, and the jobs whose search was cut short.

    `curves`: how the plan of each job was annealed, None where its packing is not from annealing.
    """

    packings: list[Packing]
    interrupted: bool
    cut_short: tuple[str, ...]
    curves: tuple[AnnealingCurve | None, ...] = ()


class TimeBudget:
    """Divides the worker time until a deadline among layers by their weights; thread-safe."""

    def __init__(self, deadline: Deadline, workers: int, weights: int) -> None:
        self._deadline = deadline
        self._workers = workers
        self._weights = weights  # of the layers that are not packed yet
        self._lock = threading.Lock()

    def share(self, weight: int) -> TimeShare:
        """The share of a layer of `weight`, from now on."""
        if not weight:
            return TimeShare(self._deadline, 0.0)
        with self._lock:
            seconds = self._deadline.remaining() * self._workers * weight / max(weight, self._weights)
            return TimeShare(self._deadline, seconds)

    def finished(self, weight: int) -> None:
        """A layer of `weight` needs no more time."""
        with self._lock:
            self._weights -= weight


def pack_layers(
    jobs: Sequence[LayerJob], options: PermuteOptions, seed: int, progress: Progress
) -> PackedLayers:
    """The packing of every job.

    A first interrupt (Ctrl-C) ends the search with the best packings so far, a second one ends it without a result.
    """
    work = Deadline()
    with search_executor(options, work) as executor:
        seeds = layer_seeds(len(jobs), options, seed)
        return pack_on(executor, jobs, options, seeds, progress=progress, work=work)


def layer_seeds(count: int, options: PermuteOptions, seed: int) -> list[np.random.SeedSequence]:
    """The seeds of so many layers, in order: children of `seed`, or of that of the schedule."""
    own = options.temp_schedule.seed
    return np.random.SeedSequence(seed if own is None else own).spawn(count)


def pack_on(
    executor: Executor,
    jobs: Sequence[LayerJob],
    options: PermuteOptions,
    seeds: Sequence[np.random.SeedSequence],
    *,
    progress: Progress,
    work: Deadline,
) -> PackedLayers:
    """As `pack_layers`, on an `executor` that is there already, with the seed of each job; `work` ends it."""
    # the time counts from here: a cluster may take a while to answer
    deadline = work.within(options.time_limit or options.temp_schedule.time_limit or math.inf)
    budget = TimeBudget(deadline, executor.workers, sum(job.weight for job in jobs))
    runs = [
        _LayerRun(
            job=job,
            method=find_method(options.method),
            problem=packing_problem(options, job.costs, job.kept),
            settings=SearchSettings(options.temp_schedule, seed),
            context=SearchContext(executor, TimeShare(deadline), progress, job.name),
            budget=budget,
        )
        for job, seed in zip(jobs, seeds, strict=True)
    ]
    planners = ThreadPoolExecutor(layers_at_once(executor.workers, jobs))
    with closed(planners, deadline):
        largest_first = sorted(range(len(jobs)), key=lambda i: -jobs[i].weight)
        found, interrupted = results_of(planners, [runs[i].pack for i in largest_first], deadline)
        packings = dict(zip(largest_first, found, strict=True))
        cut_short = tuple(run.job.name for run in runs if run.context.cut_short)
        curves = tuple(run.context.curve for run in runs)
        return PackedLayers([packings[i] for i in range(len(jobs))], interrupted, cut_short, curves)


def layers_at_once(workers: int, jobs: Sequence[LayerJob]) -> int:
    """One layer more than workers, so that these have work while the next is planned; fewer where layers are large."""
    largest = max((job.size for job in jobs), default=0)
    return max(1, min(workers + (workers > 1), _MOST_BYTES // max(1, largest)))


def packing_problem(
    options: PermuteOptions, costs: PackingCosts | None, kept: int | None = None
) -> PackingProblem:
    """The problem that a layer of such `costs` is by `options`, with so many `kept` weights; None for all."""
    assert options.fan_in != "auto"
    lossy = LossySettings(options.alpha, options.gamma, options.pattern, kept)
    return PackingProblem(options.array, options.fan_in, options.objective, lossy, costs)


@dataclass(frozen=True)
class _LayerRun:
    """All that the packing of one layer takes."""

    job: LayerJob
    method: Method
    problem: PackingProblem
    settings: SearchSettings
    context: SearchContext
    budget: TimeBudget

    def pack(self) -> Packing:
        """The packing, checked to be one, with its lanes placed for the banks of the hardware.

        OptionError if the method of another package gave a wrong one.
        """
        job, context, lossy = self.job, self.context, self.method.lossy
        matrix = job.load()
        context.time = self.budget.share(job.weight)
        given = {"settings": self.settings, "context": context}
        needed = {name: given[name] for name in self.method.needs}
        packing = self.method.load()(matrix, self.problem, **needed)
        wrong = packing_error(packing, kept_matrix(packing, matrix) if lossy else matrix)
        if wrong:
            sentence = f"method {self.method.name} gave a wrong packing of {job.name}: {wrong}"
            if self.method.name in BUILT_IN:
                raise AssertionError(sentence)
            raise OptionError(sentence, "report this to the package that adds the method")
        costs = self.problem.costs
        if costs is not None:
            replicates = self.problem.objective == "replicated-cycles"
            packing = (costs.replicating() if replicates else costs).place_lanes(packing, context.ended)
        self.budget.finished(job.weight)
        figures = {"passes": str(len(packing.tiles))}
        if not lossy:
            fan_in = self.problem.fan_in if "fan_in" in self.method.options else packing.fan_in
            passes = len(packing.tiles)
            bound = passes_lower_bound_at_fan_in(
                matrix.slots(), matrix.groups, self.problem.array, fan_in, passes
            )
            figures["gap"] = str(passes - bound)
        context.report(1.0, figures)
        return packing


@contextmanager
def search_executor(options: PermuteOptions, deadline: Deadline) -> Iterator[Executor]:
    """The executor that the options ask for; `deadline` ends its work where an error ends the context."""
    if options.dask:
        from tightc.permutation.executors.dask_cluster import dask_executor

        with dask_executor(options.dask) as cluster:
            yield cluster
        return
    workers = options.jobs or available_cores()
    if workers == 1:
        yield SerialExecutor()
        return
    pool = ThreadPoolExecutor(workers)
    with closed(pool, deadline):
        yield ThreadExecutor(pool, workers)
