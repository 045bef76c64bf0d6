"""Cooling: takes a block through a temperature schedule, alone, and gives back where its weights are best placed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tightc.permutation.annealing.block import Block, board_of
from tightc.permutation.annealing.kernel import EXCESS_COST, _anneal, _cost, _count, _draw, _next, _rises
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.tile.matrix import Ids

_BITE = 50_000  # moves between two looks at the clock and at whether to stop
_TELL = 0.1  # seconds between two reports
_SAMPLE = 2000  # moves that t_start: auto is taken from
_WORSE_ACCEPTED = 0.2
_UNIT = float(1 << 53)


@dataclass(frozen=True)
class Order:
    """What to do with a block: `seconds` is how long it may take, `seed` its own."""

    fan_in: int
    schedule: TemperatureSchedule
    seed: np.random.SeedSequence
    seconds: float = math.inf


@dataclass(frozen=True)
class AnnealProgress:
    """How far a block is: share `done`, `cost` of its best state, and over all its runs and replicas the moves."""

    done: float
    cost: float
    temperature: float
    moves: int
    accepted: int


@dataclass(frozen=True)
class Cooled:
    """`lanes`, `columns`: (weights,) int32, the best place of each weight; `carried`: (lanes,) int32 inputs of each
    lane then; `moves` tried and `accepted`; `cut`: whether the search was ended before its moves were tried."""

    lanes: Ids
    columns: Ids
    carried: Ids
    moves: int = 0
    accepted: int = 0
    cut: bool = False

    def excess(self, fan_in: int) -> NDArray[np.int64]:
        """Inputs beyond the fan-in on each lane: (lanes,) int64."""
        return np.maximum(self.carried.astype(np.int64) - fan_in, 0)

    def cost(self, fan_in: int) -> int:
        """In quarters, as the kernel counts it."""
        return int(_cost(self.carried, fan_in)[0])


def never() -> bool:
    """The answer of one who does not stop the work."""
    return False


def unheard(_progress: AnnealProgress) -> None:
    """For those who do not listen."""


@dataclass(frozen=True)
class Watch:
    """How a block's work is followed from outside: `stopped` is asked, `tell` is told, between bites of moves."""

    stopped: Callable[[], bool] = never
    tell: Callable[[AnnealProgress], None] = unheard


def cool(block: Block, order: Order, watch: Watch = Watch()) -> Cooled:
    """The best places for the weights of `block` that the schedule finds, never worse than where they start."""
    runs = order.schedule.restarts + 1
    deadline = time.monotonic() + order.seconds
    best, log = None, _Log(watch)
    for run, seed in enumerate(order.seed.spawn(runs)):
        left = deadline - time.monotonic()
        log.share = (run / runs, 1 / runs)
        walk = _Walk(block, order.fan_in, seed, time.monotonic() + left / (runs - run), log)
        if order.schedule.kind == "tempering":
            found = _temper(walk, block, order)
        else:
            found = _fall(walk, block, order.schedule)
        if best is None or found.cost(order.fan_in) < best.cost(order.fan_in):
            best = found
        if walk.met() or watch.stopped() or time.monotonic() >= deadline:
            break
    assert best is not None
    log.share = (0.0, 1.0)
    log.tell(1.0, order.schedule.t_end)
    planned = runs * block.weights * order.schedule.moves_per_weight
    cut = log.moves < planned and best.cost(order.fan_in) > walk.least
    return replace(best, moves=log.moves, accepted=log.accepted, cut=cut)


@dataclass
class _Log:
    """What is told of a block on its way: `share` is where its run begins and how much of the whole it is."""

    watch: Watch
    share: tuple[float, float] = (0.0, 1.0)
    moves: int = 0
    accepted: int = 0
    cost: float = math.inf
    due: float = -math.inf

    def add(self, moves: int, accepted: int, cost: float) -> None:
        """Moves made since, and what they led to."""
        self.moves += moves
        self.accepted += accepted
        self.cost = min(self.cost, float(cost))

    def tell(self, done: float, temperature: float) -> None:
        """Reports if it is time to, and always at the end; `done` is a share of the run."""
        share = self.share[0] + self.share[1] * done
        if share >= 1 or time.monotonic() >= self.due:
            self.due = time.monotonic() + _TELL
            self.watch.tell(AnnealProgress(share, self.cost, temperature, self.moves, self.accepted))


@dataclass
class _Walk:
    """One state of a block on its way, with its best."""

    block: Block
    fan_in: int
    seed: np.random.SeedSequence
    deadline: float
    log: _Log

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self.done = 0.0
        self.board = board_of(self.block)
        self.state = np.uint64(self.seed.generate_state(1, np.uint64)[0] | np.uint64(1))
        self.tally = np.zeros(3, np.int64)
        self.tally[:2] = _cost(self.board.carried, self.fan_in)[0]
        self.log.add(0, 0, self.tally[1] / EXCESS_COST)
        self.best = np.array([self.board.lane_of, self.board.column_of])
        # every input that is read sits on a lane at least, and on more if a lane has not the slots for its users
        users = np.diff(self.board.user_starts)
        self.least = int(np.sum(-(-users // self.board.slots.shape[1])))

    def met(self) -> bool:
        """Whether the best state can be no better."""
        return bool(self.tally[1] <= self.least)

    def over(self) -> bool:
        """Whether to end: the bound is met, or somebody or the clock says so."""
        return self.met() or self.log.watch.stopped() or time.monotonic() >= self.deadline

    def step(self, temperature: float, moves: int, done: float) -> float | None:
        """Tries `moves` moves, fewer where time is short; gives the share accepted, None where there was no time for
        any. `done` is where that leads to."""
        before, tried = int(self.tally[2]), 0
        due = self.began + done * (self.deadline - self.began)
        while tried < moves and not self.over() and time.monotonic() <= due:
            bite, accepted = min(_BITE, moves - tried), int(self.tally[2])
            self.state = np.uint64(
                _anneal(self.board, self.best, self.tally, self.fan_in, temperature, bite, self.state)
            )
            tried += bite
            self.log.add(bite, int(self.tally[2]) - accepted, self.tally[1] / EXCESS_COST)
            self.log.tell(self.done + (done - self.done) * tried / moves, temperature)
        self.done = done
        return (int(self.tally[2]) - before) / tried if tried else None

    def back_to_best(self) -> None:
        """Goes on from the best state."""
        self.board.lane_of[:], self.board.column_of[:] = self.best
        self.board.slots[:, :] = -1
        self.board.slots[self.best[0], self.best[1]] = np.arange(self.best.shape[1])
        _count(self.board)
        self.tally[0] = self.tally[1]

    def warm(self) -> float:
        """A temperature at which one worsening move of this state in five is accepted."""
        rise, state = _rises(self.board, self.fan_in, _SAMPLE, self.state)
        self.state = np.uint64(state)
        return max(float(rise), 1.0) / EXCESS_COST / math.log(1 / _WORSE_ACCEPTED)

    def result(self) -> Cooled:
        """The best state."""
        self.back_to_best()
        return Cooled(self.best[0].copy(), self.best[1].copy(), self.board.carried.copy())


def _fall(walk: _Walk, block: Block, schedule: TemperatureSchedule) -> Cooled:
    start = walk.warm() if schedule.t_start == "auto" else schedule.t_start
    coolings = schedule.reheats + 1
    moves = block.weights * schedule.moves_per_weight
    steps = max(1, min(schedule.steps, moves) // coolings)
    for turn in range(coolings):
        hot = max(start * schedule.reheat**turn, min(start, schedule.t_end))
        temperatures = schedule.temperatures(hot, steps)
        temperature = float(temperatures[0])
        for step in range(steps):
            if schedule.kind != "adaptive":
                temperature = float(temperatures[step])
            number, parts = turn * steps + step, coolings * steps
            accepted = walk.step(temperature, _part(moves, number, parts), (number + 1) / parts)
            if accepted is not None:
                temperature = schedule.adapted(temperature, accepted, step / steps)
            if walk.over():
                return walk.result()
        if turn + 1 < coolings:
            walk.back_to_best()
    return walk.result()


def _part(moves: int, number: int, parts: int) -> int:
    """How many of `moves` belong to one of `parts`, which are as equal as can be and together all."""
    return moves * (number + 1) // parts - moves * number // parts


def _temper(first: _Walk, block: Block, order: Order) -> Cooled:
    """Parallel tempering (Swendsen and Wang 1986): neighbors in temperature exchange states with the chance
    min(1, exp((1/T1 - 1/T2) (E1 - E2)))."""
    schedule = order.schedule
    walks = [first]
    for seed in first.seed.spawn(schedule.replicas - 1):
        walks.append(_Walk(block, order.fan_in, seed, first.deadline, first.log))
    start = first.warm() if schedule.t_start == "auto" else schedule.t_start
    ladder = np.geomspace(start, min(schedule.t_end, start), len(walks))
    moves = block.weights * schedule.moves_per_weight
    steps = max(1, min(schedule.steps, moves // len(walks)))
    parts = steps * len(walks)
    state = np.uint64(first.seed.spawn(1)[0].generate_state(1, np.uint64)[0] | np.uint64(1))
    for step in range(steps):
        for i, (walk, temperature) in enumerate(zip(walks, ladder, strict=True)):
            # each replica has its part of the time, or the first would use up that of a whole step
            number = step * len(walks) + i
            walk.step(float(temperature), _part(moves, number, parts), (number + 1) / parts)
        for i in range(len(walks) - 1):
            energies = [int(walk.tally[0]) / EXCESS_COST for walk in walks[i : i + 2]]
            chance = math.exp(min(0.0, (1 / ladder[i] - 1 / ladder[i + 1]) * (energies[0] - energies[1])))
            state = np.uint64(_next(state))
            if float(_draw(state) >> np.uint64(11)) / _UNIT < chance:
                walks[i], walks[i + 1] = walks[i + 1], walks[i]
        if any(walk.over() for walk in walks):
            break
    found = [walk.result() for walk in walks]
    return min(found, key=lambda cooled: cooled.cost(order.fan_in))
