"""A Dask cluster as the executor: its workers anneal the blocks, wherever they run."""

from __future__ import annotations

import logging
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import astuple, replace
from importlib import import_module
from importlib.metadata import version
from typing import Any, NamedTuple

from tightc.deadline import Deadline
from tightc.errors import OptionError
from tightc.permutation.annealing.anneal import (
    Annealed,
    AnnealProgress,
    AnnealSettings,
    BlockProgress,
    anneal,
)
from tightc.permutation.annealing.block import Block
from tightc.permutation.annealing.kernel import EXCESS_COST
from tightc.permutation.executors.executor import BlockJob

# seconds
_POLL = 0.02  # between two checks of results and deadline
_CHECK = 1.0  # between two checks of the cluster
_REPORT_INTERVAL = 0.5  # between two reports of a block
_CONNECT = 10  # to connect
_GRACE = 5.0  # for workers to return what they have after the deadline
_NO_WORKERS = 30.0  # without a worker, before the search gives up

_TOPIC = "tightc"  # of all searches, since a scheduler keeps its topics; it forgets the oldest reports

# on a worker: the searches that must end, and the deadlines of the blocks being annealed, by search
_ended: set[str] = set()
_running: dict[str, set[Deadline]] = {}
_running_lock = threading.Lock()


class _Name(NamedTuple):
    """By what a block reports: its search, and its number in it."""

    search: str
    number: int


class DaskExecutor:
    """Sends each block to the cluster; if its worker dies, another anneals it again, with the same result.

    At the deadline all workers end, and return their best so far.
    """

    def __init__(self, client: Any, address: str) -> None:
        self._client = client
        self._address = address
        self.workers = sum(client.nthreads().values())
        self._search = (
            f"tightc-{uuid.uuid4().hex}"  # the name of this search on the workers; not in the result
        )
        self._progress: dict[int, BlockProgress] = {}
        self._numbers = 0
        self._lock = threading.Lock()
        self._checked = self._last_worker = time.monotonic()
        self._end_sent = False
        client.subscribe_topic(_TOPIC, self._receive)

    def anneal(self, jobs: Sequence[BlockJob]) -> list[Annealed]:
        """See Executor. OptionError if the cluster does not return a result."""
        numbers = self._subscribe(jobs)
        try:
            futures = [
                self._client.submit(
                    _anneal,
                    job.block,
                    job.settings,
                    job.time.seconds,
                    _Name(self._search, number),
                    pure=False,
                )
                for job, number in zip(jobs, numbers, strict=True)
            ]
            found = self._collect(futures, jobs)
        except (OSError, CancelledError):
            raise self._removed() from None
        finally:
            for number in numbers:
                self._progress.pop(number, None)
        return [
            found[i] if i in found else replace(Annealed.at_start(job.block), cut_short=True)
            for i, job in enumerate(jobs)
        ]

    def _collect(self, futures: list[Any], jobs: Sequence[BlockJob]) -> dict[int, Annealed]:
        """The results by number; after the deadline, those that come within a few seconds."""
        found: dict[int, Annealed] = {}
        last = None
        while len(found) < len(futures) and (last is None or time.monotonic() < last):
            time.sleep(_POLL)
            self._check()
            for i in [i for i in range(len(futures)) if i not in found and futures[i].done()]:
                found[i] = self._result(futures[i])
                _report_end(jobs[i], found[i])
            if last is None and any(job.time.deadline.passed() for job in jobs):
                last = time.monotonic() + _GRACE
                self._end_all()
        self._client.cancel([future for i, future in enumerate(futures) if i not in found])
        return found

    def _result(self, future: Any) -> Annealed:
        try:
            found: Annealed = future.result()
        except (OSError, CancelledError):
            raise
        except Exception as reason:
            sentence = str(reason).partition(". ")[0]
            raise OptionError(
                f"--dask {self._address}: workers failed ({type(reason).__name__}: {sentence})",
                "see their logs, or search on this machine without --dask",
            ) from reason
        return found

    def _subscribe(self, jobs: Sequence[BlockJob]) -> range:
        """Numbers under which these jobs alone report their progress."""
        with self._lock:
            numbers = range(self._numbers, self._numbers + len(jobs))
            self._numbers = numbers.stop
        self._progress.update(zip(numbers, (job.progress for job in jobs), strict=True))
        return numbers

    def _receive(self, event: Sequence[Any]) -> None:
        """A report of a block, after its time; it may come late."""
        search, number, *progress = event[1]
        report = self._progress.get(number)
        if search == self._search and report:
            report(AnnealProgress(*progress))

    def _check(self) -> None:
        """OptionError if the scheduler is gone, or if there has been no worker for a while."""
        if not self._lock.acquire(blocking=False):
            return  # another thread checks
        try:
            now = time.monotonic()
            if now < self._checked + _CHECK:
                return
            self._checked = now
            if self._client.status != "running":
                raise self._removed()
            if self._threads():
                self._last_worker = now
            elif now > self._last_worker + _NO_WORKERS:
                raise OptionError(
                    f"--dask {self._address}: no worker is left",
                    f"start some with dask worker {self._address}, or search on this machine without --dask",
                )
        finally:
            self._lock.release()

    def _threads(self) -> int:
        """Threads of all workers; 0 if the scheduler does not answer."""
        try:
            threads: dict[str, int] = self._client.sync(
                self._client.scheduler.ncores, callback_timeout=_CHECK
            )
        except OSError:
            return 0
        return sum(threads.values())

    def _end_all(self) -> None:
        """Tells all workers to end this search, once."""
        with self._lock:
            sent, self._end_sent = self._end_sent, True
        if not sent:
            with suppress(OSError):
                self._client.run(_end, self._search, on_error="ignore", callback_timeout=_CHECK)

    def _removed(self) -> OptionError:
        return OptionError(
            f"--dask {self._address}: the scheduler went away in the middle of the search",
            "start it again, or search on this machine without --dask",
        )


def _report_end(job: BlockJob, found: Annealed) -> None:
    """Reports a block as done, since its last report may not have come."""
    cost = found.cost(job.settings.fan_in) / EXCESS_COST
    job.progress(AnnealProgress(1.0, cost, job.settings.schedule.t_end, found.moves, found.accepted))


def _anneal(block: Block, settings: AnnealSettings, seconds: float, name: _Name) -> Annealed:
    """On a worker: anneals a block for at most `seconds`, and reports now and then by `name`, search and number."""
    worker = import_module("distributed").get_worker()
    reported = time.monotonic()

    def report(progress: AnnealProgress) -> None:
        nonlocal reported
        if time.monotonic() >= reported + _REPORT_INTERVAL:
            reported = time.monotonic()
            worker.log_event(_TOPIC, (*name, *astuple(progress)))

    with _deadline(name.search, seconds) as deadline:
        return anneal(block, settings, deadline, report)


@contextmanager
def _deadline(search: str, seconds: float) -> Iterator[Deadline]:
    """On a worker: a deadline that `_end` interrupts, also if it was called before."""
    deadline = Deadline(seconds)
    with _running_lock:
        _running.setdefault(search, set()).add(deadline)
        if search in _ended:
            deadline.interrupt()
    try:
        yield deadline
    finally:
        with _running_lock:
            _running[search].discard(deadline)
            if not _running[search]:
                del _running[search]


def _end(search: str) -> None:
    """On a worker: ends the blocks of `search`, those to come too."""
    with _running_lock:
        _ended.add(search)
        for deadline in _running.get(search, ()):
            deadline.interrupt()


@contextmanager
def dask_executor(address: str) -> Iterator[DaskExecutor]:
    """The cluster whose scheduler is at `address`, such as tcp://host:8786; OptionError if there is none."""
    try:
        distributed: Any = import_module("distributed")
    except ImportError:
        raise OptionError(
            f"--dask {address}: dask.distributed is not installed", "pip install 'tightc[dask]'"
        ) from None
    with _silent_logs(), _connected(distributed, address) as client:
        executor = DaskExecutor(client, address)
        if not executor.workers:
            raise OptionError(
                f"--dask {address}: the scheduler has no workers", f"start some with dask worker {address}"
            )
        _refuse_other_versions(client, address)
        yield executor


@contextmanager
def _connected(distributed: Any, address: str) -> Iterator[Any]:
    try:
        _try_port(address)
        client = distributed.Client(address, timeout=_CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError) as reason:
        raise OptionError(
            f"--dask {address}: no scheduler answers ({str(reason).partition(chr(10))[0]})",
            "start one with dask scheduler and give its address, such as tcp://host:8786",
        ) from None
    try:
        yield client
    finally:
        with suppress(OSError):
            client.close(timeout=_CHECK)


def _try_port(address: str) -> None:
    """OSError at once if nothing listens there; distributed would keep trying for long."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), _CONNECT).close()


def _refuse_other_versions(client: Any, address: str) -> None:
    """OptionError if a worker has another version of tightc, or none: its results could differ."""
    ours = version("tightc")
    for worker, theirs in client.run(version, "tightc", on_error="return").items():
        if theirs != ours:
            has = "no tightc" if isinstance(theirs, Exception) else f"tightc {theirs}"
            raise OptionError(
                f"--dask {address}: the worker {worker} has {has}, not {ours}",
                f"install tightc {ours} where the workers run",
            )


@contextmanager
def _silent_logs() -> Iterator[None]:
    """Keeps the logs of distributed off stderr: what matters of them comes as an error."""
    names = [
        name
        for name in logging.root.manager.loggerDict
        if name.partition(".")[0] in ("distributed", "tornado")
    ]
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
