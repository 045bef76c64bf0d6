"""Telling: what the blocks of a layer report, added up for whoever listens to the search."""

from __future__ import annotations

import threading
import time

from tightc.permutation.cooling import Progress, Watch
from tightc.permutation.task import Task

_ROUND = 0.8  # of what is left of a layer, the share that a round of cooling is taken for: how many come is not known


class Telling:
    """Adds up the progress of a layer's blocks; may be told from any thread."""

    def __init__(self, task: Task, bound: int) -> None:
        self._task = task
        self._bound = bound
        self._lock = threading.Lock()
        self._done = 0.0
        self._began = time.monotonic()
        self._blocks: list[Progress | None] = []
        self._weights: list[int] = []
        self._passes: int | None = None

    def begin(self, weights: list[int]) -> None:
        """A round of blocks of so many weights begins."""
        self._blocks, self._weights = [None] * len(weights), weights
        self._began = time.monotonic()

    def end(self, passes: int) -> None:
        """A round has ended; the best packing so far has `passes`."""
        self._done += _ROUND * (1 - self._done)
        self._passes = passes

    def watch(self, number: int) -> Watch:
        """The watch of block `number` of the round."""
        return Watch(self._task.stop.is_set, lambda progress: self._tell(number, progress))

    def _tell(self, number: int, progress: Progress) -> None:
        with self._lock:
            self._blocks[number] = progress
            known = [(block, w) for block, w in zip(self._blocks, self._weights, strict=True) if block]
            done = sum(block.done * w for block, w in known) / sum(self._weights)
            moves, accepted = sum(b.moves for b, _ in known), sum(b.accepted for b, _ in known)
            elapsed = time.monotonic() - self._began
            figures = {
                "cost": f"{sum(block.cost for block, _ in known):.2f}",
                "temperature": f"{progress.temperature:.3f}",
                "accepted": f"{accepted / max(1, moves):.1%}",
                "moves/s": f"{moves / (elapsed + 1e-9) / 1e6:.0f}M",
                "left": f"{min(elapsed * (1 - done) / max(done, 1e-9), self._task.pace.left()):.0f}s",
            }
            if self._passes is not None:
                figures["gap"] = f"{self._passes - self._bound} passes"
            share = self._done + _ROUND * done * (1 - self._done)
        self._task.listener(self._task.layer, min(share, 0.99), figures)
