"""Telling: what the blocks of a layer report, added up for whoever listens to the search."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tightc.permutation.annealing.anneal import AnnealProgress, Watch
from tightc.permutation.annealing.block import Block
from tightc.permutation.annealing.kernel import EXCESS_COST
from tightc.permutation.executors.executor import untouched
from tightc.permutation.problem import Task
from tightc.progress import no_progress

_ROUND = 0.8  # of what is left of a layer, the share that a round of cooling is taken for: how many come is not known
_WHOLE = 0.99  # more is told only of a layer that is done
_MINUTE = 60
_UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


@dataclass
class _Turn:
    """What is known of a block: its best `cost` so far, and how far it is the time that it is being cooled now."""

    weights: int
    cost: float
    now: AnnealProgress = field(default_factory=lambda: AnnealProgress(0.0, 0.0, 0.0, 0, 0))
    earlier: int = 0  # moves of the times before


class Telling:
    """Adds up the progress of a layer's blocks; may be told from any thread.

    `bound`: the fewest passes that a packing can have, `passes`: those of the best packing so far.
    """

    def __init__(self, task: Task, bound: int, passes: int) -> None:
        self._task = task
        self._bound = bound
        self._passes = self._planned = passes
        self._lock = threading.Lock()
        self._past = self._shown = 0.0
        self._began = time.monotonic()
        self._turns: list[_Turn] = []
        self._heat: dict[str, str] = {}

    def begin(self, blocks: Sequence[Block]) -> None:
        """A round begins: the blocks of a plan are going to be cooled."""
        if self._task.progress is no_progress:
            return
        fan_in = self._task.fan_in
        self._turns = [_Turn(block.weights, untouched(block).cost(fan_in) / EXCESS_COST) for block in blocks]
        self._planned = sum(len(block.heights) for block in blocks)
        self._began = time.monotonic()

    def end(self, passes: int) -> None:
        """The round has ended; the best packing so far has `passes`."""
        self._past += _ROUND * (1 - self._past)
        self._passes = passes

    def watch(self, number: int) -> Watch:
        """The watch of block `number` of the round, for the first time or once more."""
        if self._task.progress is no_progress:
            return Watch(self._over)
        turn = self._turns[number]
        turn.earlier += turn.now.moves
        turn.now = AnnealProgress(0.0, 0.0, 0.0, 0, 0)
        return Watch(self._over, lambda progress: self._tell(turn, progress))

    def _over(self) -> bool:
        return self._task.stop.is_set() or self._task.pace.left() <= 0

    def _tell(self, turn: _Turn, progress: AnnealProgress) -> None:
        with self._lock:
            moves, accepted = progress.moves - turn.now.moves, progress.accepted - turn.now.accepted
            turn.now, turn.cost = progress, min(turn.cost, progress.cost)
            if moves > 0 or not self._heat:  # the last report of a block may bring none
                self._heat = {
                    "temperature": f"{progress.temperature:.3g}",
                    "accepted": f"{accepted / max(1, moves):.1%}",
                }
            weights = sum(one.weights for one in self._turns)
            done = sum(one.now.done * one.weights for one in self._turns) / weights
            self._shown = max(self._shown, min(_WHOLE, self._past + _ROUND * done * (1 - self._past)))
            shown, figures = self._shown, self._figures(done)
        self._task.progress(self._task.layer, shown, figures)

    def _figures(self, done: float) -> dict[str, str]:
        elapsed = max(time.monotonic() - self._began, 1e-6)
        moves = sum(one.earlier + one.now.moves for one in self._turns)
        left = min(elapsed * (1 - done) / max(done, 1e-6), self._task.pace.left())
        return {
            "left": _span(max(0.0, left)),
            "bound": f"{self._bound} passes",
            "gap": f"{self._passes - self._bound}, trying {self._planned - self._bound}",
            "cost": f"{sum(one.cost for one in self._turns):.2f}",
            **self._heat,
            "moves/s": _count(moves / elapsed),
        }


def _span(seconds: float) -> str:
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
