"""Executors: who anneals the blocks of a layer. Here this thread or a thread pool, in dask_cluster a Dask cluster."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from tightc.deadline import TimeShare
from tightc.permutation.annealing.anneal import (
    Annealed,
    AnnealSettings,
    BlockProgress,
    anneal,
    no_block_progress,
)
from tightc.permutation.annealing.block import Block


@dataclass(frozen=True)
class BlockJob:
    """One block to anneal: its settings, the time that it may take, and the callback for its progress."""

    block: Block
    settings: AnnealSettings
    time: TimeShare
    progress: BlockProgress = no_block_progress

    def run(self) -> Annealed:
        """Anneals the block in this thread."""
        return anneal(self.block, self.settings, self.time.start(), self.progress)


class Executor(Protocol):
    """Anneals blocks in parallel; the results do not depend on the number of workers."""

    @property
    def workers(self) -> int:
        """How many blocks are annealed at a time."""

    def anneal(self, jobs: Sequence[BlockJob]) -> list[Annealed]:
        """One result for each job, in order; jobs that a deadline ends give the best that they have by then."""


@dataclass(frozen=True)
class SerialExecutor:
    """Anneals one block after the other in the calling thread."""

    workers: int = 1

    def anneal(self, jobs: Sequence[BlockJob]) -> list[Annealed]:
        """See Executor."""
        return [job.run() for job in jobs]


@dataclass(frozen=True)
class ThreadExecutor:
    """Anneals blocks on the `workers` threads of `pool`."""

    pool: ThreadPoolExecutor
    workers: int

    def anneal(self, jobs: Sequence[BlockJob]) -> list[Annealed]:
        """See Executor."""
        futures = [self.pool.submit(job.run) for job in jobs]
        return [future.result() for future in futures]
