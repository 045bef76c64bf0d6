"""Runs of a search in threads, which an interrupt ends with what each has by then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from tightc.deadline import Deadline

Result = TypeVar("Result")


def results_of(
    pool: ThreadPoolExecutor, runs: Sequence[Callable[[], Result]], deadline: Deadline
) -> tuple[list[Result], bool]:
    """(what each of `runs` returns, whether there was an interrupt); the first failure is raised at once."""
    futures: list[Future[Result]] = []
    try:
        futures.extend(map(pool.submit, runs))
        wait(futures, return_when=FIRST_EXCEPTION)
    except KeyboardInterrupt:
        deadline.interrupt()
        futures.extend(map(pool.submit, runs[len(futures) :]))
        try:
            return [future.result() for future in futures], True
        except CancelledError:
            raise KeyboardInterrupt from None  # a method without a partial result
    for future in futures:
        if future.done():
            future.result()
    return [future.result() for future in futures], False


@contextmanager
def closed(pool: ThreadPoolExecutor, deadline: Deadline) -> Iterator[None]:
    """Closes `pool` with the context: without waiting after an interrupt, which is a second one."""
    try:
        yield
    except KeyboardInterrupt:
        deadline.interrupt()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    except BaseException:
        deadline.interrupt()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()
