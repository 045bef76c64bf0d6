"""A campaign: every layer of a network arranged, side by side, until all are done or time or patience ends."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

from tightc.parallel import available_cores
from tightc.permutation.executors.executor import Alone, Crew, Pace, Threads
from tightc.permutation.methods import column_combine, dense, first_fit, structured
from tightc.permutation.methods.nm import pack as nm
from tightc.permutation.methods.tight import pack as tight
from tightc.permutation.options import PermuteOptions
from tightc.permutation.problem import Lossy, Task
from tightc.progress import Progress
from tightc.tile.bounds import passes_lower_bound
from tightc.tile.matrix import LayerMatrix
from tightc.tile.measures import kept_matrix
from tightc.tile.packing import Packing
from tightc.tile.validity import packing_error

METHODS: dict[str, Callable[[LayerMatrix, Task], Packing]] = {
    "column-combine": column_combine.pack,
    "dense": dense.pack,
    "first-fit": first_fit.pack,
    "nm": nm.pack,
    "structured": structured.pack,
    "tight": tight.pack,
}
LOSSY = frozenset(("column-combine", "nm"))  # these alone may leave non-zeros without a slot


@dataclass(frozen=True)
class Job:
    """One layer to arrange: its `name`, its `matrix`, and its `weight` in the time that all layers share.

    `vectors` stream through it, 1 where the objective does not ask.
    """

    name: str
    matrix: LayerMatrix
    weight: int
    vectors: int = 1


@dataclass(frozen=True)
class Arranged:
    """The packing of every job; whether there was an interrupt; the jobs whose search ended before its time."""

    packings: list[Packing]
    interrupted: bool
    cut: tuple[str, ...]


def arrange(jobs: list[Job], options: PermuteOptions, seed: int, progress: Progress) -> Arranged:
    """The packing of every job.

    A first interrupt (Ctrl-C) ends the search with the best packings so far, a second one ends it without a result.
    """
    schedule = options.temp_schedule
    limit = options.time_limit or schedule.time_limit or math.inf
    stop = threading.Event()
    with _hands(options, stop) as (crew, hands):
        pace = Pace(limit, sum(job.weight for job in jobs), hands)
        lossy = Lossy(options.alpha, options.gamma, options.pattern)
        children = np.random.SeedSequence(seed if schedule.seed is None else schedule.seed).spawn(len(jobs))
        tasks = [
            Task(
                options.array,
                options.fan_in,
                schedule,
                child,
                job.name,
                progress,
                stop,
                lossy,
                options.objective,
                crew,
                pace,
                job.weight,
                job.vectors,
            )
            for job, child in zip(jobs, children, strict=True)
        ]
        # one more leads than cool, so that the crew has work while the next layer is planned
        leaders = ThreadPoolExecutor(hands + (hands > 1))
        with _ends(leaders, stop):
            largest_first = sorted(range(len(jobs)), key=lambda i: -jobs[i].weight)
            works = [partial(_arrange, jobs[i], tasks[i], options.method) for i in largest_first]
            found, interrupted = _results(leaders, works, stop)
            packings = dict(zip(largest_first, found, strict=True))
            cut = tuple(job.name for job in jobs if job.name in pace.cut)
            return Arranged([packings[i] for i in range(len(jobs))], interrupted, cut)


def _results(
    pool: ThreadPoolExecutor, works: Sequence[Callable[[], Packing]], stop: threading.Event
) -> tuple[list[Packing], bool]:
    """(what each of `works` gives, whether there was an interrupt); the first failure is raised at once."""
    futures: list[Future[Packing]] = []
    try:
        futures.extend(map(pool.submit, works))
        wait(futures, return_when=FIRST_EXCEPTION)
    except KeyboardInterrupt:
        stop.set()
        futures.extend(map(pool.submit, works[len(futures) :]))
        try:
            return [future.result() for future in futures], True
        except CancelledError:
            raise KeyboardInterrupt from None  # a packer that has nothing to give before its end
    for future in futures:
        if future.done():
            future.result()
    return [future.result() for future in futures], False


@contextmanager
def _ends(pool: ThreadPoolExecutor, stop: threading.Event) -> Iterator[None]:
    """Ends the work on `pool` with the context: at once on an interrupt, for those who cannot wait are here."""
    try:
        yield
    except KeyboardInterrupt:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    except BaseException:
        stop.set()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


@contextmanager
def _hands(options: PermuteOptions, stop: threading.Event) -> Iterator[tuple[Crew, int]]:
    """Who works, and how many they are."""
    if options.dask:
        from tightc.permutation.executors.dask_cluster import dask_crew

        with dask_crew(options.dask) as (crew, hands):
            yield crew, hands
        return
    hands = options.jobs or available_cores()
    if hands == 1:
        yield Alone(), hands
        return
    pool = ThreadPoolExecutor(hands)
    with _ends(pool, stop):
        yield Threads(pool), hands


def _arrange(job: Job, task: Task, method: str) -> Packing:
    packing = METHODS[method](job.matrix, task)
    wrong = packing_error(packing, kept_matrix(packing, job.matrix) if method in LOSSY else job.matrix)
    if wrong:
        raise AssertionError(f"{method} gave a wrong packing of {job.name}: {wrong}")
    task.pace.finished(job.weight)
    figures = {"passes": str(len(packing.tiles))}
    if method not in LOSSY:
        figures["gap"] = str(len(packing.tiles) - passes_lower_bound(job.matrix.filter_sizes(), task.array))
    task.progress(job.name, 1.0, figures)
    return packing
