"""Crews: who cools the blocks of a layer, threads of this process or a Dask cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from tightc.permutation.annealing.anneal import Cooled, Order, Watch, cool
from tightc.permutation.annealing.block import Block


class Crew(Protocol):
    """Cools blocks side by side; what comes out does not depend on how many hands there are."""

    def cool(
        self, blocks: Sequence[Block], orders: Sequence[Order], watches: Sequence[Watch]
    ) -> list[Cooled]:
        """One result for each block, in their order; blocks that are stopped come back as they are by then."""


@dataclass(frozen=True)
class Alone:
    """Cools block after block in the thread that asks."""

    def cool(
        self, blocks: Sequence[Block], orders: Sequence[Order], watches: Sequence[Watch]
    ) -> list[Cooled]:
        """See Crew."""
        return [cool(*work) for work in zip(blocks, orders, watches, strict=True)]


@dataclass(frozen=True)
class Threads:
    """Cools blocks on the threads of `pool`."""

    pool: Executor

    def cool(
        self, blocks: Sequence[Block], orders: Sequence[Order], watches: Sequence[Watch]
    ) -> list[Cooled]:
        """See Crew."""
        futures = [self.pool.submit(cool, *work) for work in zip(blocks, orders, watches, strict=True)]
        return [future.result() for future in futures]


@dataclass
class Pace:
    """Shares the time that a search may take among its layers, by their weights; thread-safe.

    `limit`: seconds from now, `weights`: of all layers, `hands`: threads or workers at work, `cut`: the layers whose
    search was ended before its time.
    """

    limit: float
    weights: int
    hands: int = 1
    cut: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._end = time.monotonic() + self.limit

    def left(self) -> float:
        """Seconds until the limit."""
        return self._end - time.monotonic()

    def share(self, weights: int) -> float:
        """Seconds of one hand that a layer of `weights` may use from now on."""
        if not weights:
            return 0.0
        with self._lock:
            return max(0.0, self.left()) * self.hands * weights / max(weights, self.weights)

    def finished(self, weights: int) -> None:
        """A layer of `weights` needs no more time."""
        with self._lock:
            self.weights -= weights


def untouched(block: Block) -> Cooled:
    """The block as it starts."""
    inputs = int(block.inputs.max(initial=0)) + 1
    carried = np.unique(block.lanes.astype(np.int64) * inputs + block.inputs) // inputs
    counts = np.bincount(carried, minlength=int(block.heights.sum()))
    return Cooled(block.lanes, block.columns, counts.astype(np.int32))
