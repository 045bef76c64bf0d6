"""Annealing a block: it gives a valid result, never worse than the start, the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import annealing_blocks
from helpers.annealing_blocks import cost, lanes_of, place_faults
from tightc import deadline
from tightc.deadline import Deadline
from tightc.permutation.annealing import anneal as annealing
from tightc.permutation.annealing.anneal import Annealed, AnnealProgress, AnnealSettings, anneal
from tightc.permutation.annealing.block import Block
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule

FAN_IN = 2
TILES = ([6, 6, 4], [[0, 0, 1, 2], [0, 1, 3, 4], [2, 3, 4, 5]])


def some_block(seed: int = 1) -> Block:
    """Three tiles whose bound no state meets."""
    return annealing_blocks.block(*TILES, inputs=12, seed=seed)


def quick(seed: int = 3, **schedule: Any) -> AnnealSettings:
    chosen = {"steps": 5, "moves_per_weight": 40, **schedule}
    return AnnealSettings(FAN_IN, TemperatureSchedule(**chosen), np.random.SeedSequence(seed))


def check(block: Block, found: Annealed, fan_in: int = FAN_IN) -> None:
    assert place_faults(block, found.lanes, found.columns) == []
    assert found.carried.tolist() == [len(lane) for lane in lanes_of(block, found.lanes)]
    assert found.cost(fan_in) == cost(block, found.lanes, fan_in) <= cost(block, block.lanes, fan_in)
    assert found.excess(fan_in).tolist() == [
        max(0, len(lane) - fan_in) for lane in lanes_of(block, found.lanes)
    ]


@dataclass
class Kernel:
    """Stands in for the kernel: does its work, keeps (temperature, moves, accepted) of every call."""

    calls: list[tuple[float, int, int]] = field(default_factory=list)
    lowest: int = 1 << 60
    after: Callable[[], None] = lambda: None

    def __call__(self, state: Any, best: Any, tally: Any, **rest: Any) -> Any:
        before = int(tally[2])
        rng = TRY_MOVES(state, best, tally, **rest)
        self.calls.append((rest["temperature"], rest["moves"], int(tally[2]) - before))
        self.lowest = min(self.lowest, int(tally[1]))
        self.after()
        return rng

    @property
    def temperatures(self) -> list[float]:
        return [temperature for temperature, _, _ in self.calls]

    @property
    def moves(self) -> int:
        return sum(moves for _, moves, _ in self.calls)


TRY_MOVES = annealing._try_moves


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(annealing, "_try_moves", kernel)
    return kernel


@pytest.fixture
def clock(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that every call of the kernel moves on by a second."""
    now = [100.0]

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return now[0]

    def tick() -> None:
        now[0] += 1

    kernel.after = tick
    for module in (annealing, deadline):
        monkeypatch.setattr(module, "time", Clock)
    monkeypatch.setattr(annealing, "_CHUNK", 100)
    return now


@pytest.mark.kernel
@pytest.mark.parametrize("start", [0.03, 0.5, 50.0])
def test_the_result_is_valid_and_the_same_for_the_same_seed(start: float) -> None:
    block = some_block()
    found = anneal(block, quick(t_start=start))
    check(block, found)
    assert found.cost(FAN_IN) < cost(block, block.lanes, FAN_IN)
    assert 0 < found.accepted < found.moves
    again = anneal(block, quick(t_start=start))
    assert again.lanes.tolist() == found.lanes.tolist() and again.columns.tolist() == found.columns.tolist()
    assert (again.moves, again.accepted) == (found.moves, found.accepted)


@pytest.mark.kernel
@settings(max_examples=15)
@given(annealing_blocks.blocks(), st.sampled_from([0.03, 0.3, 50.0]), st.integers(0, 2**20))
def test_any_block_may_be_annealed(block: Block, start: float, seed: int) -> None:
    check(block, anneal(block, quick(seed, t_start=start, moves_per_weight=10)))


@pytest.mark.kernel
def test_a_block_without_weights_may_be_annealed() -> None:
    whole = annealing_blocks.block([2, 1], [[0, 1], [0]])
    none = np.empty(0, np.int32)
    empty = replace(whole, filters=none, inputs=none, lanes=none, columns=none)
    found = anneal(empty, quick())
    assert len(found.lanes) == len(found.columns) == found.moves == 0
    assert found.carried.tolist() == [0, 0, 0]


def test_other_seeds_give_other_places() -> None:
    found = {tuple(anneal(some_block(), quick(seed)).lanes.tolist()) for seed in range(4)}
    assert len(found) > 1


@pytest.mark.parametrize("seed", range(4))
def test_the_result_is_the_best_that_the_kernel_saw(seed: int, kernel: Kernel) -> None:
    found = anneal(some_block(), quick(seed, t_start=50.0, t_end=50.0))
    assert found.cost(FAN_IN) == kernel.lowest


@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_all_moves_are_tried_however_many_steps_there_are(steps: int, kernel: Kernel) -> None:
    block = some_block()
    found = anneal(block, quick(steps=steps, moves_per_weight=10))
    assert found.moves == kernel.moves == 10 * block.weights
    check(block, found)


def test_looks_at_the_clock_change_no_number_of_moves(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annealing, "_CHUNK", 7)
    block = some_block()
    found = anneal(block, quick(steps=3, moves_per_weight=10))
    assert found.moves == kernel.moves == 10 * block.weights
    assert max(moves for _, moves, _ in kernel.calls) == 7


def test_a_block_at_its_start_has_tried_no_move() -> None:
    block = some_block()
    start = Annealed.at_start(block)
    check(block, start)
    assert (start.moves, start.accepted, start.cut_short) == (0, 0, False)


def test_the_kernel_gets_the_temperatures_of_the_schedule(kernel: Kernel) -> None:
    anneal(some_block(), quick(t_start=0.8, t_end=0.3, steps=6))
    assert kernel.temperatures == pytest.approx([0.8, 0.7, 0.6, 0.5, 0.4, 0.3])


def test_a_time_limit_ends_it_on_a_way_that_is_as_cold_at_the_end(kernel: Kernel, clock: list[float]) -> None:
    block = some_block()
    schedule = {"steps": 20, "moves_per_weight": 10**6, "t_start": 0.8, "t_end": 0.1}
    found = anneal(block, quick(**schedule), Deadline(400))
    check(block, found)
    assert found.cut_short
    assert 350 <= clock[0] - 100 <= 400 + 20  # a chunk may end a second after its time
    assert all(now <= before for before, now in pairwise(kernel.temperatures))
    assert kernel.temperatures[-1] == pytest.approx(0.1)
    assert len(set(kernel.temperatures)) >= 15


def test_no_time_at_all_leaves_the_start(clock: list[float], kernel: Kernel) -> None:
    block = some_block()
    found = anneal(block, quick(), Deadline(0.0))
    assert (found.lanes.tolist(), found.columns.tolist()) == (block.lanes.tolist(), block.columns.tolist())
    assert kernel.calls == [] and found.moves == 0


@pytest.mark.parametrize("calls", [0, 1, 7])
def test_an_interrupt_ends_it_with_the_best_so_far(calls: int, kernel: Kernel) -> None:
    block, limit = some_block(), Deadline()

    def interrupt() -> None:
        if len(kernel.calls) >= calls:
            limit.interrupt()

    kernel.after = interrupt
    interrupt()
    found = anneal(block, quick(steps=20), limit)
    check(block, found)
    assert len(kernel.calls) == calls
    assert found.cost(FAN_IN) == min(kernel.lowest, cost(block, block.lanes, FAN_IN))


def test_it_ends_where_every_lane_carries_as_little_as_it_can(kernel: Kernel) -> None:
    full = annealing_blocks.block([2], [[0, 1]], inputs=2, seed=4)
    found = anneal(full, quick(moves_per_weight=1000))
    assert found.cost(FAN_IN) == len(set(full.inputs.tolist()))
    assert len(kernel.calls) == 1


def test_progress_rises_to_the_end_and_is_of_the_best_state() -> None:
    reports: list[AnnealProgress] = []
    block = some_block()
    found = anneal(block, quick(), progress=reports.append)
    done = [progress.done for progress in reports]
    assert done == sorted(done) and done[-1] == pytest.approx(1.0)
    assert [progress.moves for progress in reports] == sorted(progress.moves for progress in reports)
    assert reports[-1].cost == found.cost(FAN_IN) / 4
    assert (reports[-1].moves, reports[-1].accepted) == (found.moves, found.accepted)


def test_progress_is_reported_at_most_every_tenth_of_a_second_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[float] = []
    now = 100.0
    monkeypatch.setattr(annealing.time, "monotonic", lambda: now)
    reporter = annealing._Reporter(lambda progress: seen.append(progress.done))
    for step in range(50):
        now = 100.0 + step / 32
        reporter.report(step / 50, 1.0)
    assert seen == [step / 50 for step in range(0, 50, 4)]
    reporter.report(1.0, 1.0)
    assert seen[-1] == 1.0


def test_progress_is_whole_where_nothing_can_be_better() -> None:
    seen: list[AnnealProgress] = []
    single = annealing_blocks.block([3], [[0]], inputs=3, few=1)
    anneal(single, quick(), progress=seen.append)
    assert seen[-1].done == 1
