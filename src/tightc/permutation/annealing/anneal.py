"""Anneals one block by a temperature schedule, and returns the best places of its weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tightc.deadline import Deadline
from tightc.permutation.annealing.block import Block, starting_state
from tightc.permutation.annealing.kernel import EXCESS_COST, _cost, _count, _try_moves
from tightc.permutation.annealing.rng import seed_state
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.tile.matrix import Ids

_CHUNK = 50_000  # moves between two checks of the deadline
_REPORT_INTERVAL = 0.1  # seconds
_TRACED = 100  # temperatures of which the cost is recorded, at most


@dataclass(frozen=True)
class AnnealSettings:
    """How to anneal a block: the fan-in of its lanes, the temperature schedule, and the seed of this block."""

    fan_in: int
    schedule: TemperatureSchedule
    seed: np.random.SeedSequence


@dataclass(frozen=True)
class AnnealProgress:
    """The progress of one block: the fraction `done`, and the `cost` of its best state in cost units.

    `temperature` is the present one; `moves` tried and `accepted` so far.
    """

    done: float = 0.0
    cost: float = 0.0
    temperature: float = 0.0
    moves: int = 0
    accepted: int = 0


BlockProgress = Callable[[AnnealProgress], None]


def no_block_progress(_progress: AnnealProgress) -> None:
    """Reports nothing."""


@dataclass(frozen=True)
class Annealed:
    """The best state of a block.

    `lanes`, `columns`: (weights,) int32, the place of each weight; `carried`: (lanes,) int32, inputs on each lane.
    `moves` tried and `accepted`. `cut_short`: whether the annealing ended before all its moves were tried.
    `trace`: (points, 3) int64, moves tried, cost in quarters and inputs beyond the fan-in, at the start and after
    temperatures; empty where nothing was annealed.
    """

    lanes: Ids
    columns: Ids
    carried: Ids
    moves: int = 0
    accepted: int = 0
    cut_short: bool = False
    trace: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 3), np.int64))

    @classmethod
    def at_start(cls, block: Block) -> Annealed:
        """The block as it is before any move."""
        inputs = int(block.inputs.max(initial=0)) + 1
        carried = np.unique(block.lanes.astype(np.int64) * inputs + block.inputs) // inputs
        counts = np.bincount(carried, minlength=int(block.heights.sum()))
        return cls(block.lanes, block.columns, counts.astype(np.int32))

    def excess(self, fan_in: int) -> NDArray[np.int64]:
        """Inputs beyond the fan-in on each lane: (lanes,) int64."""
        return np.maximum(self.carried.astype(np.int64) - fan_in, 0)

    def cost(self, fan_in: int) -> int:
        """The cost in quarters, as the kernel counts it."""
        return int(_cost(self.carried, fan_in)[0])


def anneal(
    block: Block,
    settings: AnnealSettings,
    deadline: Deadline | None = None,
    progress: BlockProgress = no_block_progress,
) -> Annealed:
    """The best places that the schedule finds for the weights of `block`, never worse than where they start.

    It ends early when `deadline` passes, or when no state can be better. `progress` is called now and then.
    """
    reporter = _Reporter(progress)
    chain = _Chain(block, settings.fan_in, settings.seed.spawn(1)[0], deadline or Deadline(), reporter)
    best = _fall_once(chain, settings.schedule)
    reporter.report(1.0, settings.schedule.t_end)
    planned = block.weights * settings.schedule.moves_per_weight
    cut_short = reporter.moves < planned and best.cost(settings.fan_in) > chain.bound
    return replace(best, moves=reporter.moves, accepted=reporter.accepted, cut_short=cut_short)


class _Reporter:
    """Adds up the moves of a block, and reports them at most every tenth of a second."""

    def __init__(self, progress: BlockProgress) -> None:
        self._progress = progress
        self._due = -math.inf
        self.moves = 0
        self.accepted = 0
        self.cost = math.inf

    def add(self, moves: int, accepted: int, cost: float) -> None:
        """Counts further moves, and the best cost that they led to."""
        self.moves += moves
        self.accepted += accepted
        self.cost = min(self.cost, float(cost))

    def report(self, done: float, temperature: float) -> None:
        """Reports if a report is due, and always at the end; `done` is a fraction of all work."""
        if done >= 1 or time.monotonic() >= self._due:
            self._due = time.monotonic() + _REPORT_INTERVAL
            self._progress(AnnealProgress(done, self.cost, temperature, self.moves, self.accepted))


@dataclass
class _Chain:
    """One Markov chain: a state of the block, the random numbers that move it, and the best state seen."""

    block: Block
    fan_in: int
    seed: np.random.SeedSequence
    deadline: Deadline
    reporter: _Reporter

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self.seconds = self.deadline.remaining()
        self.done = 0.0
        self.state = starting_state(self.block)
        self.rng = seed_state(self.seed)
        self.tally = np.zeros(3, np.int64)
        self.tally[:2] = _cost(self.state.carried, self.fan_in)[0]
        self.reporter.add(0, 0, self.tally[1] / EXCESS_COST)
        self.best = np.array([self.state.lane_of, self.state.column_of])
        # every input sits on one lane at least, and on more if a lane has too few slots for its users
        users = np.diff(self.state.user_starts)
        self.bound = int(np.sum(-(-users // self.state.slots.shape[1])))
        self.trace: list[tuple[int, int, int]] = []
        self.record()

    def record(self) -> None:
        """Notes the moves tried, and the cost and excess of the present state."""
        cost, excess = _cost(self.state.carried, self.fan_in)
        self.trace.append((self.reporter.moves, int(cost), int(excess)))

    def at_bound(self) -> bool:
        """Whether no state can be better than the best one."""
        return bool(self.tally[1] <= self.bound)

    def ended(self) -> bool:
        """Whether to end: at the bound or at the deadline."""
        return self.at_bound() or self.deadline.passed()

    def step(self, temperature: float, moves: int, done: float) -> None:
        """Tries `moves` moves, fewer if time is short.

        `done`: the fraction of the chain that is done after this step; the time of the chain is divided accordingly.
        """
        tried = 0
        due = self.began + done * self.seconds
        while tried < moves and not self.ended() and time.monotonic() <= due:
            chunk, accepted = min(_CHUNK, moves - tried), int(self.tally[2])
            self.rng = np.uint64(
                _try_moves(
                    self.state,
                    self.best,
                    self.tally,
                    fan_in=self.fan_in,
                    temperature=temperature,
                    moves=chunk,
                    rng=self.rng,
                )
            )
            tried += chunk
            self.reporter.add(chunk, int(self.tally[2]) - accepted, self.tally[1] / EXCESS_COST)
            self.reporter.report(self.done + (done - self.done) * tried / moves, temperature)
        self.done = done

    def result(self) -> Annealed:
        """The best state."""
        self.state.lane_of[:] = self.best[0]
        _count(self.state)
        trace = np.array(self.trace, np.int64)
        return Annealed(self.best[0].copy(), self.best[1].copy(), self.state.carried.copy(), trace=trace)


def _fall_once(chain: _Chain, schedule: TemperatureSchedule) -> Annealed:
    """The best state seen while the temperature falls."""
    moves = chain.block.weights * schedule.moves_per_weight
    steps = max(1, min(schedule.steps, moves))
    for step, temperature in enumerate(schedule.temperatures(steps)):
        chain.step(float(temperature), _part(moves, step, steps), (step + 1) / steps)
        if chain.ended() or _part(_TRACED, step, steps):
            chain.record()
        if chain.ended():
            break
    return chain.result()


def _part(moves: int, number: int, parts: int) -> int:
    """The size of part `number` when `moves` are divided into `parts` that are as equal as possible."""
    return moves * (number + 1) // parts - moves * number // parts
