"""A Dask cluster as the crew: blocks are cooled by its workers, wherever they run."""

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
from typing import Any

from tightc.errors import OptionError
from tightc.permutation.annealing.anneal import AnnealProgress, Cooled, Order, Watch, cool
from tightc.permutation.annealing.block import Block
from tightc.permutation.annealing.kernel import EXCESS_COST
from tightc.permutation.executors.executor import untouched

_LOOK = 0.02  # seconds between two looks at what is done and whether to stop
_CHECK = 1.0  # seconds between two looks at whether the cluster is still there
_TELL = 0.5  # seconds between two reports of a block on its way
_CONNECT = 10  # seconds
_GRACE = 5.0  # seconds in which workers hand in what they have once the search is to end
_ALONE = 30.0  # seconds without a worker after which none is expected to come back

_TOPIC = "tightc"  # of all searches, since a scheduler keeps its topics; it forgets the oldest reports

_ended: set[str] = set()  # on a worker: the searches that were told to end


class DaskCrew:
    """Sends each block to the cluster; a block whose worker dies is cooled again by another, to the same result.

    Once the search is to end, workers are told so and hand in the best that they have by then.
    """

    def __init__(self, client: Any, address: str) -> None:
        self._client = client
        self._address = address
        self._search = (
            f"tightc-{uuid.uuid4().hex}"  # what its blocks are known by to workers; not in the result
        )
        self._watches: dict[int, Watch] = {}
        self._numbers = 0
        self._lock = threading.Lock()
        self._checked = self._manned = time.monotonic()
        self._told_to_end = False
        client.subscribe_topic(_TOPIC, self._hear)

    def cool(
        self, blocks: Sequence[Block], orders: Sequence[Order], watches: Sequence[Watch]
    ) -> list[Cooled]:
        """See Crew. OptionError where the cluster does not come back with a result."""
        numbers = self._enlist(watches)
        try:
            futures = [
                self._client.submit(_cool, block, order, self._search, number, pure=False)
                for block, order, number in zip(blocks, orders, numbers, strict=True)
            ]
            found = self._collect(futures, orders, watches)
        except (OSError, CancelledError):
            raise self._gone() from None
        finally:
            for number in numbers:
                self._watches.pop(number, None)
        return [
            found[i] if i in found else replace(untouched(block), cut=True) for i, block in enumerate(blocks)
        ]

    def _collect(
        self, futures: list[Any], orders: Sequence[Order], watches: Sequence[Watch]
    ) -> dict[int, Cooled]:
        """The results by number; where the search is to end, those that come soon."""
        found: dict[int, Cooled] = {}
        last = None
        while len(found) < len(futures) and (last is None or time.monotonic() < last):
            time.sleep(_LOOK)
            self._check()
            for i in [i for i in range(len(futures)) if i not in found and futures[i].done()]:
                found[i] = self._result(futures[i])
                cost = found[i].cost(orders[i].fan_in) / EXCESS_COST
                watches[i].tell(
                    AnnealProgress(1.0, cost, orders[i].schedule.t_end, found[i].moves, found[i].accepted)
                )
            if last is None and any(watch.stopped() for watch in watches):
                last = time.monotonic() + _GRACE
                self._tell_to_end()
        self._client.cancel([future for i, future in enumerate(futures) if i not in found])
        return found

    def _result(self, future: Any) -> Cooled:
        try:
            found: Cooled = future.result()
        except (OSError, CancelledError):
            raise
        except Exception as reason:
            sentence = str(reason).partition(". ")[0]
            raise OptionError(
                f"--dask {self._address}: workers failed ({type(reason).__name__}: {sentence})",
                "see their logs, or search on this machine without --dask",
            ) from reason
        return found

    def _enlist(self, watches: Sequence[Watch]) -> range:
        """Numbers that these watches alone have."""
        with self._lock:
            numbers = range(self._numbers, self._numbers + len(watches))
            self._numbers = numbers.stop
        self._watches.update(zip(numbers, watches, strict=True))
        return numbers

    def _hear(self, event: tuple[float, Sequence[Any]]) -> None:
        """What a block on its way reports; it may come late."""
        search, number, *progress = event[1]
        watch = self._watches.get(number)
        if search == self._search and watch:
            watch.tell(AnnealProgress(*progress))

    def _check(self) -> None:
        """OptionError where the scheduler is gone, or all workers are and stay so."""
        if not self._lock.acquire(blocking=False):
            return  # somebody else looks
        try:
            now = time.monotonic()
            if now < self._checked + _CHECK:
                return
            self._checked = now
            if self._client.status != "running":
                raise self._gone()
            if self._threads():
                self._manned = now
            elif now > self._manned + _ALONE:
                raise OptionError(
                    f"--dask {self._address}: no worker is left",
                    f"start some with dask worker {self._address}, or search on this machine without --dask",
                )
        finally:
            self._lock.release()

    def _threads(self) -> int:
        """Threads of all workers; 0 where the scheduler does not say."""
        try:
            threads: dict[str, int] = self._client.sync(
                self._client.scheduler.ncores, callback_timeout=_CHECK
            )
        except OSError:
            return 0
        return sum(threads.values())

    def _tell_to_end(self) -> None:
        with self._lock:
            told, self._told_to_end = self._told_to_end, True
        if not told:
            with suppress(OSError):
                self._client.run(_end, self._search, on_error="ignore", callback_timeout=_CHECK)

    def _gone(self) -> OptionError:
        return OptionError(
            f"--dask {self._address}: the scheduler went away in the middle of the search",
            "start it again, or search on this machine without --dask",
        )


def _cool(block: Block, order: Order, search: str, number: int) -> Cooled:
    """On a worker: cools a block, reports now and then, and comes to an end when told to."""
    worker = import_module("distributed").get_worker()
    told = time.monotonic()

    def tell(progress: AnnealProgress) -> None:
        nonlocal told
        if time.monotonic() >= told + _TELL:
            told = time.monotonic()
            worker.log_event(_TOPIC, (search, number, *astuple(progress)))

    return cool(block, order, Watch(lambda: search in _ended, tell))


def _end(search: str) -> None:
    """On a worker: ends the blocks of `search`, those to come too."""
    _ended.add(search)


@contextmanager
def dask_crew(address: str) -> Iterator[tuple[DaskCrew, int]]:
    """(the crew at `address`, such as tcp://host:8786, and its number of threads); OptionError where there is none."""
    try:
        distributed: Any = import_module("distributed")
    except ImportError:
        raise OptionError(
            f"--dask {address}: dask.distributed is not installed", "pip install 'tightc[dask]'"
        ) from None
    with _quiet(), _connected(distributed, address) as client:
        hands = sum(client.nthreads().values())
        if not hands:
            raise OptionError(
                f"--dask {address}: the scheduler has no workers", f"start some with dask worker {address}"
            )
        _refuse_other_versions(client, address)
        yield DaskCrew(client, address), hands


@contextmanager
def _connected(distributed: Any, address: str) -> Iterator[Any]:
    try:
        _knock(address)
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


def _knock(address: str) -> None:
    """OSError at once where nobody listens, before distributed tries for long and complains at the end."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), _CONNECT).close()


def _refuse_other_versions(client: Any, address: str) -> None:
    """OptionError where a worker has another tightc than this one, or none: its results could differ."""
    ours = version("tightc")
    for worker, theirs in client.run(version, "tightc", on_error="return").items():
        if theirs != ours:
            has = "no tightc" if isinstance(theirs, Exception) else f"tightc {theirs}"
            raise OptionError(
                f"--dask {address}: the worker {worker} has {has}, not {ours}",
                f"install tightc {ours} where the workers run",
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what distributed logs off stderr: what matters of it comes as an error."""
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
