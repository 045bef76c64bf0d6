"""A campaign: every layer of a network arranged, side by side, until all are done or time or patience ends."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np

from tightc.machine import own_cores
from tightc.permutation.crew import Alone, Crew, Pace, Threads
from tightc.permutation.methods import column_combine, dense, first_fit, structured, tight
from tightc.permutation.options import PermuteOptions
from tightc.permutation.task import Lossy, Task
from tightc.report import Listener
from tightc.tiles.matrix import LayerMatrix
from tightc.tiles.measures import kept_matrix
from tightc.tiles.packing import Packing
from tightc.tiles.verify import fault

METHODS: dict[str, Callable[[LayerMatrix, Task], Packing]] = {
    "column-combine": column_combine.pack,
    "dense": dense.pack,
    "first-fit": first_fit.pack,
    "structured": structured.pack,
    "tight": tight.pack,
}
LOSSY = frozenset(("column-combine",))  # these alone may leave non-zeros without a slot


@dataclass(frozen=True)
class Job:
    """One layer to arrange: its `name`, its `matrix`, and its `weight` in the time that all layers share."""

    name: str
    matrix: LayerMatrix
    weight: int


def arrange(
    jobs: list[Job], options: PermuteOptions, seed: int, listener: Listener
) -> tuple[list[Packing], bool]:
    """(the packing of every job, whether an interrupt ended the search before its time).

    A first interrupt (Ctrl-C) ends the search with the best packings so far, a second one ends it without a result.
    """
    schedule = options.temp_schedule
    limit = options.time_limit or schedule.time_limit or math.inf
    stop = threading.Event()
    with _hands(options) as (crew, hands):
        pace = Pace(limit, sum(job.weight for job in jobs), hands)
        lossy = Lossy(options.alpha, options.gamma)
        children = np.random.SeedSequence(seed if schedule.seed is None else schedule.seed).spawn(len(jobs))
        tasks = [
            Task(
                options.array,
                options.fan_in,
                schedule,
                child,
                job.name,
                listener,
                stop,
                lossy,
                options.objective,
                crew,
                pace,
                job.weight,
            )
            for job, child in zip(jobs, children, strict=True)
        ]
        # one more leads than cool, so that the crew has work while the next layer is planned
        with ThreadPoolExecutor(hands + (hands > 1)) as leaders:
            futures: dict[int, Future[Packing]] = {}
            for i in sorted(range(len(jobs)), key=lambda i: -jobs[i].weight):
                futures[i] = leaders.submit(_arrange, jobs[i], tasks[i], options.method)
            interrupted = _wait(futures, stop)
            return [futures[i].result() for i in range(len(jobs))], interrupted


def _wait(futures: dict[int, Future[Packing]], stop: threading.Event) -> bool:
    """Waits for all; whether there was an interrupt."""
    try:
        for future in futures.values():
            future.result()
    except KeyboardInterrupt:
        stop.set()
        for future in futures.values():
            try:
                future.result()
            except CancelledError:
                raise KeyboardInterrupt from None  # a packer that has nothing to give before its end
        return True
    except BaseException:
        stop.set()
        for future in futures.values():
            future.cancel()
        raise
    return False


@contextmanager
def _hands(options: PermuteOptions) -> Iterator[tuple[Crew, int]]:
    """Who works, and how many they are."""
    if options.dask:
        from tightc.permutation.dask_crew import dask_crew

        with dask_crew(options.dask) as (crew, hands):
            yield crew, hands
        return
    hands = options.jobs or own_cores()
    with ExitStack() as stack:
        yield Threads(stack.enter_context(ThreadPoolExecutor(hands))) if hands > 1 else Alone(), hands


def _arrange(job: Job, task: Task, method: str) -> Packing:
    packing = METHODS[method](job.matrix, task)
    wrong = fault(packing, kept_matrix(packing, job.matrix) if method in LOSSY else job.matrix)
    if wrong:
        raise AssertionError(f"{method} gave a wrong packing of {job.name}: {wrong}")
    task.pace.finished(job.weight)
    task.listener(job.name, 1.0, {"passes": str(len(packing.tiles))})
    return packing
