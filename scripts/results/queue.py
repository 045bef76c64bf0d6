"""The queue: takes the first run without a record that no other queue works on, until none is left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from results.folder import ResultsFolder
from results.matrix import Run
from results.recipes import training_name
from results.running import missing_model, product, run_experiment
from tightc.errors import TightcError
from tightc.progress import Progress


def work_off(
    runs: Sequence[Run],
    work: Path,
    results: ResultsFolder,
    progress: Progress,
    after_each: Callable[[], None],
) -> int:
    """Trains `runs` in their order, and calls `after_each` record; returns how many failed.

    A run with a record is done. One that another queue in the folder `work` has taken is left to it.
    """
    work.mkdir(parents=True, exist_ok=True)
    failed: set[str] = set()
    while True:
        with _first_free(runs, work, results, failed) as run:
            if run is None:
                return len(failed)
            print(f"{run.run_id}: started", file=sys.stderr, flush=True)
            try:
                run_experiment(run, work, results, _named(run.run_id, progress))
            except TightcError as fault:
                print(f"{run.run_id}: error: {fault}", file=sys.stderr, flush=True)
                failed.add(run.run_id)
                continue
            print(f"{run.run_id}: recorded", file=sys.stderr, flush=True)
        with FileLock(work / "pages.lock"):
            after_each()


@contextmanager
def _first_free(
    runs: Sequence[Run], work: Path, results: ResultsFolder, failed: set[str]
) -> Iterator[Run | None]:
    """The first run to do, locked; None where none is left that is free."""
    for run in _in_order(runs, results):
        if run.run_id in failed:
            continue
        lock = FileLock(work / f"{training_name(run)}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        try:
            if _is_open(run, results) or not _product_exists(run):
                yield run
                return
        finally:
            lock.release()
    yield None


def _in_order(runs: Sequence[Run], results: ResultsFolder) -> Iterator[Run]:
    """The runs without a record; before one whose model is missing, the run that makes it."""
    for run in runs:
        if not _is_open(run, results):
            continue
        missing = missing_model(run)
        makers = [maker for maker in runs if missing is not None and product(maker) == missing]
        yield from makers or [run]


def _product_exists(run: Run) -> bool:
    made = product(run)
    return made is None or made.exists()


def _is_open(run: Run, results: ResultsFolder) -> bool:
    return not results.record(run.run_id).exists()


def _named(run_id: str, progress: Progress) -> Progress:
    """A progress that names the run before each task."""
    return lambda task, done, figures: progress(f"{run_id} {task}", done, figures)


def states(runs: Sequence[Run], work: Path, results: ResultsFolder) -> Iterator[tuple[Run, str]]:
    """Each run with its state: done, running or waiting."""
    work.mkdir(parents=True, exist_ok=True)
    for run in runs:
        if not _is_open(run, results):
            yield run, "done"
            continue
        lock = FileLock(work / f"{training_name(run)}.lock")
        try:
            with lock.acquire(blocking=False):
                yield run, "waiting"
        except Timeout:
            yield run, "running"
