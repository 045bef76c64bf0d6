"""Anneals one block by a temperature schedule, and returns the best places of its weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tightc.deadline import Deadline
from tightc.permutation.annealing.block import Block, starting_state
from tightc.permutation.annealing.kernel import EXCESS_COST, _cost, _count, _rises, _try_moves
from tightc.permutation.annealing.rng import _draw, _next, seed_state
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.tile.matrix import Ids

_CHUNK = 50_000  # moves between two checks of the deadline
_REPORT_INTERVAL = 0.1  # seconds
_SAMPLE = 2000  # moves that t_start: auto is estimated from
_WORSE_ACCEPTED = 0.2
_UNIT = float(1 << 53)


@dataclass(frozen=True)
class AnnealSettings:
    """How to anneal a block: the fan-in of its lanes, the temperature schedule, and the seed of this block."""

    fan_in: int
    schedule: TemperatureSchedule
    seed: np.random.SeedSequence


@dataclass(frozen=True)
class AnnealProgress:
    """The progress of one block: the fraction `done`, and the `cost` of its best state in cost units.

    `temperature` is the present one; `moves` and `accepted` count all runs and replicas.
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
    """

    lanes: Ids
    columns: Ids
    carried: Ids
    moves: int = 0
    accepted: int = 0
    cut_short: bool = False

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
    deadline = deadline or Deadline()
    runs = settings.schedule.restarts + 1
    best, reporter = None, _Reporter(progress)
    for run, seed in enumerate(settings.seed.spawn(runs)):
        reporter.begin(run / runs, 1 / runs)
        own = deadline.within(deadline.remaining() / (runs - run))
        chain = _Chain(block, settings.fan_in, seed, own, reporter)
        if settings.schedule.kind == "tempering":
            found = _parallel_tempering(chain, settings)
        else:
            found = _single_chain(chain, settings.schedule)
        if best is None or found.cost(settings.fan_in) < best.cost(settings.fan_in):
            best = found
        if chain.at_bound() or deadline.passed():
            break
    assert best is not None
    reporter.begin(0.0, 1.0)
    reporter.report(1.0, settings.schedule.t_end)
    planned = runs * block.weights * settings.schedule.moves_per_weight
    cut_short = reporter.moves < planned and best.cost(settings.fan_in) > chain.bound
    return replace(best, moves=reporter.moves, accepted=reporter.accepted, cut_short=cut_short)


class _Reporter:
    """Adds up the moves of all runs and replicas of a block, and reports them at most every tenth of a second."""

    def __init__(self, progress: BlockProgress) -> None:
        self._progress = progress
        self._first, self._share = 0.0, 1.0
        self._due = -math.inf
        self.moves = 0
        self.accepted = 0
        self.cost = math.inf

    def begin(self, first: float, share: float) -> None:
        """A run begins after the fraction `first` of all work, and is the fraction `share` of it."""
        self._first, self._share = first, share

    def add(self, moves: int, accepted: int, cost: float) -> None:
        """Counts further moves, and the best cost that they led to."""
        self.moves += moves
        self.accepted += accepted
        self.cost = min(self.cost, float(cost))

    def report(self, done: float, temperature: float) -> None:
        """Reports if a report is due, and always at the end; `done` is a fraction of the run."""
        total = self._first + self._share * done
        if total >= 1 or time.monotonic() >= self._due:
            self._due = time.monotonic() + _REPORT_INTERVAL
            self._progress(AnnealProgress(total, self.cost, temperature, self.moves, self.accepted))


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

    def at_bound(self) -> bool:
        """Whether no state can be better than the best one."""
        return bool(self.tally[1] <= self.bound)

    def ended(self) -> bool:
        """Whether to end: at the bound or at the deadline."""
        return self.at_bound() or self.deadline.passed()

    def step(self, temperature: float, moves: int, done: float) -> float | None:
        """Tries `moves` moves, fewer if time is short; returns the fraction accepted, None if none were tried.

        `done`: the fraction of the chain that is done after this step; the time of the chain is divided accordingly.
        """
        before, tried = int(self.tally[2]), 0
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
        return (int(self.tally[2]) - before) / tried if tried else None

    def back_to_best(self) -> None:
        """Makes the best state the present one."""
        self.state.lane_of[:], self.state.column_of[:] = self.best
        self.state.slots[:, :] = -1
        self.state.slots[self.best[0], self.best[1]] = np.arange(self.best.shape[1])
        _count(self.state)
        self.tally[0] = self.tally[1]

    def warm_temperature(self) -> float:
        """The temperature at which one worsening move of this state in five is accepted."""
        rise, rng = _rises(self.state, self.fan_in, _SAMPLE, self.rng)
        self.rng = np.uint64(rng)
        return max(float(rise), 1.0) / EXCESS_COST / math.log(1 / _WORSE_ACCEPTED)

    def result(self) -> Annealed:
        """The best state."""
        self.back_to_best()
        return Annealed(self.best[0].copy(), self.best[1].copy(), self.state.carried.copy())


def _single_chain(chain: _Chain, schedule: TemperatureSchedule) -> Annealed:
    """One chain whose temperature falls, once or, with reheats, several times."""
    start = chain.warm_temperature() if schedule.t_start == "auto" else schedule.t_start
    falls = schedule.reheats + 1
    moves = chain.block.weights * schedule.moves_per_weight
    steps = max(1, min(schedule.steps, moves) // falls)
    for fall in range(falls):
        hot = max(start * schedule.reheat**fall, min(start, schedule.t_end))
        temperatures = schedule.temperatures(hot, steps)
        temperature = float(temperatures[0])
        for step in range(steps):
            if schedule.kind != "adaptive":
                temperature = float(temperatures[step])
            number, parts = fall * steps + step, falls * steps
            accepted = chain.step(temperature, _part(moves, number, parts), (number + 1) / parts)
            if accepted is not None:
                temperature = schedule.adapted(temperature, accepted, step / steps)
            if chain.ended():
                return chain.result()
        if fall + 1 < falls:
            chain.back_to_best()
    return chain.result()


def _part(moves: int, number: int, parts: int) -> int:
    """The size of part `number` when `moves` are divided into `parts` that are as equal as possible."""
    return moves * (number + 1) // parts - moves * number // parts


def _parallel_tempering(first: _Chain, settings: AnnealSettings) -> Annealed:
    """Parallel tempering (Swendsen and Wang 1986): chains at neighboring temperatures exchange their states with
    probability min(1, exp((1/T1 - 1/T2) (E1 - E2)))."""
    schedule = settings.schedule
    chains = [first]
    for seed in first.seed.spawn(schedule.replicas - 1):
        chains.append(_Chain(first.block, settings.fan_in, seed, first.deadline, first.reporter))
    start = first.warm_temperature() if schedule.t_start == "auto" else schedule.t_start
    ladder = np.geomspace(start, min(schedule.t_end, start), len(chains))
    moves = first.block.weights * schedule.moves_per_weight
    steps = max(1, min(schedule.steps, moves // len(chains)))
    parts = steps * len(chains)
    rng = seed_state(first.seed.spawn(1)[0])
    for step in range(steps):
        for i, (chain, temperature) in enumerate(zip(chains, ladder, strict=True)):
            # each replica has its own part of the time, or the first would use up that of a whole step
            number = step * len(chains) + i
            chain.step(float(temperature), _part(moves, number, parts), (number + 1) / parts)
        for i in range(len(chains) - 1):
            energies = [int(chain.tally[0]) / EXCESS_COST for chain in chains[i : i + 2]]
            chance = math.exp(min(0.0, (1 / ladder[i] - 1 / ladder[i + 1]) * (energies[0] - energies[1])))
            rng = np.uint64(_next(rng))
            if float(_draw(rng) >> np.uint64(11)) / _UNIT < chance:
                chains[i], chains[i + 1] = chains[i + 1], chains[i]
        if any(chain.ended() for chain in chains):
            break
    found = [chain.result() for chain in chains]
    return min(found, key=lambda annealed: annealed.cost(settings.fan_in))
