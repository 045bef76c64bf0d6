"""Layer progress: the reports of all blocks of a layer, added up to one report for the progress display."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tightc.permutation.annealing.anneal import (
    Annealed,
    AnnealProgress,
    BlockProgress,
    no_block_progress,
)
from tightc.permutation.annealing.block import Block
from tightc.permutation.annealing.kernel import EXCESS_COST
from tightc.permutation.search_context import SearchContext
from tightc.progress import no_progress

ROUND = (
    0.8  # of the rest of a layer, the fraction that one round counts for: how many rounds come is not known
)
_MOST = 0.99  # only a packed layer reports more
_MINUTE = 60
_UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


@dataclass
class _BlockReport:
    """The best `cost` of a block so far, and the progress of its present annealing."""

    weights: int
    cost: float
    now: AnnealProgress = field(default_factory=AnnealProgress)
    earlier_moves: int = 0  # of annealings before


class LayerProgress:
    """Adds up the progress of a layer's blocks; thread-safe.

    `fan_in`: of the lanes. `bound`: lower bound on the passes; `passes`: of the best packing so far.
    """

    def __init__(self, context: SearchContext, fan_in: int, bound: int, passes: int) -> None:
        self._context = context
        self._fan_in = fan_in
        self._bound = bound
        self._passes = self._planned = passes
        self._lock = threading.Lock()
        self._past = self._shown = 0.0
        self._began = time.monotonic()
        self._blocks: list[_BlockReport] = []
        self._temperature: dict[str, str] = {}

    @property
    def _silent(self) -> bool:
        return self._context.progress is no_progress

    def begin(self, blocks: Sequence[Block]) -> None:
        """A round begins, in which these blocks of a plan are annealed."""
        if self._silent:
            return
        self._blocks = [
            _BlockReport(block.weights, Annealed.at_start(block).cost(self._fan_in) / EXCESS_COST)
            for block in blocks
        ]
        self._planned = sum(len(block.heights) for block in blocks)
        self._began = time.monotonic()

    def end(self, passes: int) -> None:
        """The round has ended; the best packing so far has `passes`."""
        self._past += ROUND * (1 - self._past)
        self._passes = passes

    def of_block(self, number: int) -> BlockProgress:
        """The callback for block `number` of the round, for its first annealing or a further one."""
        if self._silent:
            return no_block_progress
        block = self._blocks[number]
        block.earlier_moves += block.now.moves
        block.now = AnnealProgress()
        return lambda progress: self._report(block, progress)

    def _report(self, block: _BlockReport, progress: AnnealProgress) -> None:
        with self._lock:
            moves, accepted = progress.moves - block.now.moves, progress.accepted - block.now.accepted
            block.now, block.cost = progress, min(block.cost, progress.cost)
            if moves > 0 or not self._temperature:  # the last report of a block may bring none
                self._temperature = {
                    "temperature": f"{progress.temperature:.3g}",
                    "accepted": f"{accepted / max(1, moves):.1%}",
                }
            weights = sum(one.weights for one in self._blocks)
            done = sum(one.now.done * one.weights for one in self._blocks) / weights
            self._shown = max(self._shown, min(_MOST, self._past + ROUND * done * (1 - self._past)))
            shown, figures = self._shown, self._figures(done)
        self._context.report(shown, figures)

    def _figures(self, done: float) -> dict[str, str]:
        elapsed = max(time.monotonic() - self._began, 1e-6)
        moves = sum(one.earlier_moves + one.now.moves for one in self._blocks)
        left = min(elapsed * (1 - done) / max(done, 1e-6), self._context.time.deadline.remaining())
        return {
            "left": duration(max(0.0, left)),
            "bound": f"{self._bound} passes",
            "gap": f"{self._passes - self._bound}, trying {self._planned - self._bound}",
            "cost": f"{sum(one.cost for one in self._blocks):.2f}",
            **self._temperature,
            "moves/s": _count(moves / elapsed),
        }


def duration(seconds: float) -> str:
    """A length of time in one or two units, such as 7s, 2m05s or 3h20m."""
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _MINUTE**2:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02}s"
    return f"{whole // _MINUTE**2}h{whole % _MINUTE**2 // _MINUTE:02}m"


def _count(number: float) -> str:
    """A number of two or three digits and its unit, such as 950k or 18M."""
    unit = next((unit for unit in ("", "k", "M") if number < 1000 * _UNITS[unit]), "G")
    return f"{number / _UNITS[unit]:.0f}{unit}"
