"""An ordered map over the cores of this process, with the same results for any number of cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """Number of cores that this process may run on; in a container it can be less than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ordered_map(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Apply `function` to each of `items` on all cores and yield the results in order.

    At most one result a core is held at a time, since results may be large.
    """
    workers = available_cores()
    if len(items) < 2 or workers == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        for first in range(0, len(items), workers):
            yield from pool.map(function, items[first : first + workers])


def ranges(length: int, step: int) -> list[tuple[int, int]]:
    """(begin, end) of the ranges of `step` items that cover `length` items; the last one may be shorter."""
    return [(begin, min(begin + step, length)) for begin in range(0, length, step)]
