"""Work side by side on all cores of the process, its results in order, the same for any number of cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tightc.machine import own_cores

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """What `work` gives for each of `items`, in their order; few results wait at a time, since they may be large."""
    hands = own_cores()
    if len(items) < 2 or hands == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(hands) as pool:
        for first in range(0, len(items), hands):
            yield from pool.map(work, items[first : first + hands])


def spans(length: int, step: int) -> list[tuple[int, int]]:
    """(begin, end) of pieces of `step`, the last one perhaps shorter."""
    return [(begin, min(begin + step, length)) for begin in range(0, length, step)]
