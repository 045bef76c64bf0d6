"""A Dask cluster as the crew: blocks are cooled by its workers, wherever they run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from tightc.errors import OptionError
from tightc.permutation.anneal import EXCESS_COST
from tightc.permutation.block import Block
from tightc.permutation.cooling import Cooled, Order, Progress, Watch, cool
from tightc.permutation.crew import untouched

_LOOK = 0.02  # seconds between two looks at what is done and whether to stop
_CONNECT = 10  # seconds


class DaskCrew:
    """Sends each block to the cluster; a block whose worker dies is cooled again by another, to the same result."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def cool(
        self, blocks: Sequence[Block], orders: Sequence[Order], watches: Sequence[Watch]
    ) -> list[Cooled]:
        """See Crew."""
        futures = [
            self._client.submit(cool, block, order, pure=False)
            for block, order in zip(blocks, orders, strict=True)
        ]
        waiting = set(range(len(futures)))
        while waiting and not any(watch.stopped() for watch in watches):
            time.sleep(_LOOK)
            for i in [i for i in waiting if futures[i].done()]:
                waiting.remove(i)
                found = futures[i].result()
                cost, schedule = found.cost(orders[i].fan_in) / EXCESS_COST, orders[i].schedule
                watches[i].tell(Progress(1.0, cost, schedule.t_end, found.moves, found.accepted))
        self._client.cancel([futures[i] for i in waiting])
        return [untouched(block) if i in waiting else futures[i].result() for i, block in enumerate(blocks)]


@contextmanager
def dask_crew(address: str) -> Iterator[tuple[DaskCrew, int]]:
    """(the crew at `address`, such as tcp://host:8786, and its number of threads); OptionError where there is none."""
    try:
        distributed: Any = import_module("distributed")
    except ImportError:
        raise OptionError(
            f"--dask {address}: dask.distributed is not installed", "install tightc[dask]"
        ) from None
    try:
        client = distributed.Client(address, timeout=_CONNECT, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as reason:
        raise OptionError(
            f"--dask {address}: no scheduler answers ({str(reason).splitlines()[0]})",
            "start one with `dask scheduler` and give its address, such as tcp://host:8786",
        ) from None
    with client:
        hands = sum(client.nthreads().values())
        if not hands:
            raise OptionError(
                f"--dask {address}: the scheduler has no workers", f"start some with `dask worker {address}`"
            )
        yield DaskCrew(client), hands
