"""Annealing a block: every schedule gives a valid result, never worse than the start, the same for the same seed."""

from __future__ import annotations

import math
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

KINDS = ("geometric", "linear", "lundy-mees", "adaptive", "tempering")
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
@pytest.mark.parametrize("start", [0.5, "auto"])
@pytest.mark.parametrize(
    "more", [{}, {"reheats": 2, "reheat": 0.7}, {"restarts": 2}, {"reheats": 1, "restarts": 1}]
)
@pytest.mark.parametrize("kind", KINDS)
def test_every_schedule_gives_a_valid_result_and_the_same_for_the_same_seed(
    kind: str, more: dict[str, Any], start: Any
) -> None:
    block = some_block()
    asked = quick(kind=kind, t_start=start, **more)
    found = anneal(block, asked)
    check(block, found)
    assert found.cost(FAN_IN) < cost(block, block.lanes, FAN_IN)
    assert 0 < found.accepted < found.moves
    again = anneal(block, quick(kind=kind, t_start=start, **more))
    assert again.lanes.tolist() == found.lanes.tolist() and again.columns.tolist() == found.columns.tolist()
    assert (again.moves, again.accepted) == (found.moves, found.accepted)


@pytest.mark.kernel
@settings(max_examples=15)
@given(
    annealing_blocks.blocks(), st.sampled_from(KINDS), st.sampled_from([0.3, "auto"]), st.integers(0, 2**20)
)
def test_any_block_may_be_annealed(block: Block, kind: str, start: Any, seed: int) -> None:
    check(block, anneal(block, quick(seed, kind=kind, t_start=start, moves_per_weight=10, reheats=1)))


@pytest.mark.kernel
@pytest.mark.parametrize("kind", KINDS)
def test_a_block_without_weights_may_be_annealed(kind: str) -> None:
    whole = annealing_blocks.block([2, 1], [[0, 1], [0]])
    none = np.empty(0, np.int32)
    empty = replace(whole, filters=none, inputs=none, lanes=none, columns=none)
    found = anneal(empty, quick(kind=kind, t_start="auto"))
    assert len(found.lanes) == len(found.columns) == found.moves == 0
    assert found.carried.tolist() == [0, 0, 0]


def test_other_seeds_give_other_places() -> None:
    found = {tuple(anneal(some_block(), quick(seed)).lanes.tolist()) for seed in range(4)}
    assert len(found) > 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [{}, {"reheats": 2}, {"restarts": 2}])
def test_the_result_is_the_best_that_the_kernel_saw(kind: str, more: dict[str, Any], kernel: Kernel) -> None:
    assert anneal(some_block(), quick(kind=kind, t_start=5.0, **more)).cost(FAN_IN) == kernel.lowest


@pytest.mark.parametrize("steps", [1, 7, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_all_moves_are_tried_however_many_steps_there_are(kind: str, steps: int, kernel: Kernel) -> None:
    block = some_block()
    found = anneal(block, quick(kind=kind, steps=steps, moves_per_weight=10))
    assert found.moves == kernel.moves == 10 * block.weights
    check(block, found)


@pytest.mark.parametrize("kind", KINDS)
def test_looks_at_the_clock_change_no_number_of_moves(
    kind: str, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annealing, "_CHUNK", 7)
    block = some_block()
    found = anneal(block, quick(kind=kind, steps=3, moves_per_weight=10))
    assert found.moves == kernel.moves == 10 * block.weights
    assert max(moves for _, moves, _ in kernel.calls) == 7


def test_a_block_at_its_start_has_tried_no_move() -> None:
    block = some_block()
    start = Annealed.at_start(block)
    check(block, start)
    assert (start.moves, start.accepted, start.cut_short) == (0, 0, False)


def test_restarts_each_try_all_moves(kernel: Kernel) -> None:
    block = some_block()
    found = anneal(block, quick(restarts=2, moves_per_weight=10))
    assert found.moves == kernel.moves == 3 * 10 * block.weights


@pytest.mark.parametrize("kind", ["geometric", "linear", "lundy-mees"])
def test_the_kernel_gets_the_temperatures_of_the_schedule(kind: str, kernel: Kernel) -> None:
    anneal(some_block(), quick(kind=kind, t_start=0.8, t_end=0.1, steps=6))
    expected = TemperatureSchedule(kind=kind, t_end=0.1).temperatures(0.8, 6)
    assert kernel.temperatures == pytest.approx(expected.tolist())


def test_reheats_begin_lower_each_time(kernel: Kernel) -> None:
    anneal(some_block(), quick(t_start=0.8, t_end=0.1, steps=6, reheats=2, reheat=0.5))
    assert kernel.temperatures == pytest.approx([0.8, 0.1, 0.4, 0.1, 0.2, 0.1])


def test_a_reheat_goes_on_from_the_best_state(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    back = annealing._Chain.back_to_best

    def watched(chain: Any) -> None:
        back(chain)
        seen.append((int(chain.tally[0]), int(chain.tally[1])))
        assert annealing_blocks.state_faults(chain.state, chain.block) == []

    monkeypatch.setattr(annealing._Chain, "back_to_best", watched)
    anneal(some_block(), quick(t_start=50.0, t_end=50.0, reheats=2, steps=3))
    assert len(seen) == 3  # two heatings and the result
    assert all(now == best for now, best in seen)


def test_reheats_to_nothing_end_at_the_last_temperature(kernel: Kernel) -> None:
    check(some_block(), anneal(some_block(), quick(t_start=0.8, t_end=0.1, reheats=400, reheat=1e-3)))
    assert kernel.temperatures[0] == pytest.approx(0.8)
    assert kernel.temperatures[1:] == pytest.approx([0.1] * 400)


def test_an_automatic_start_accepts_one_worsening_move_in_five(kernel: Kernel) -> None:
    from tightc.permutation.annealing.block import starting_state
    from tightc.permutation.annealing.kernel import _rises

    block = some_block()
    anneal(block, quick(t_start="auto"))
    rise, _ = _rises(starting_state(block), FAN_IN, 20_000, np.uint64(1))
    assert math.exp(-rise / 4 / kernel.temperatures[0]) == pytest.approx(0.2, abs=0.02)


def test_adaptive_follows_the_acceptance_that_is_wanted(kernel: Kernel) -> None:
    schedule = {"steps": 40, "moves_per_weight": 4000, "t_start": 5.0, "t_end": 1e-6}
    anneal(some_block(), quick(kind="adaptive", accept_start=0.2, accept_end=0.04, **schedule))
    wanted = [0.2 * (0.04 / 0.2) ** (step / 40) for step in range(40)]
    ratios = [done / moves / share for (_, moves, done), share in zip(kernel.calls, wanted, strict=True)]
    assert ratios[0] > 1.5  # it starts too hot
    assert max(ratios[12:]) < 1.6 and min(ratios[12:]) > 1 / 1.6
    assert np.exp(np.mean(np.log(ratios[12:]))) == pytest.approx(1, abs=0.1)


def test_replicas_keep_temperatures_that_fall_geometrically(kernel: Kernel) -> None:
    anneal(some_block(), quick(kind="tempering", t_start=0.8, t_end=0.1, replicas=4, steps=3))
    assert kernel.temperatures == pytest.approx([0.8, 0.4, 0.2, 0.1] * 3)


def test_replicas_exchange_their_states(monkeypatch: pytest.MonkeyPatch) -> None:
    at: dict[int, set[float]] = {}
    step = annealing._Chain.step

    def watched(chain: Any, temperature: float, *rest: Any) -> float:
        at.setdefault(id(chain), set()).add(temperature)
        return step(chain, temperature, *rest)

    monkeypatch.setattr(annealing._Chain, "step", watched)
    anneal(some_block(), quick(kind="tempering", t_start=0.8, t_end=0.1, replicas=3, steps=30))
    assert len(at) == 3
    assert all(len(temperatures) > 1 for temperatures in at.values())


def test_the_colder_replica_gets_the_better_state(monkeypatch: pytest.MonkeyPatch) -> None:
    energies: dict[float, list[int]] = {}
    step = annealing._Chain.step

    def watched(chain: Any, temperature: float, *rest: Any) -> Any:
        energies.setdefault(temperature, []).append(int(chain.tally[0]))
        return step(chain, temperature, *rest)

    monkeypatch.setattr(annealing._Chain, "step", watched)
    anneal(some_block(), quick(kind="tempering", t_start=0.8, t_end=0.2, replicas=2, steps=60))
    hot, cold = (energies[temperature][1:] for temperature in (0.8, 0.2))
    assert sum(c <= h for c, h in zip(cold, hot, strict=True)) > 0.8 * len(hot)


def test_replicas_exchange_by_the_rule_of_metropolis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two states that stay as they are: the higher one is the cold one in exp(-(1/T2 - 1/T1) dE) : 1 of the steps."""
    energies: dict[int, int] = {}
    cold: list[int] = []

    def still(chain: Any, temperature: float, *_: Any) -> None:
        chain.tally[0] = energies.setdefault(id(chain), 1000 + 4 * len(energies))  # quarters: 1 apart
        if temperature == 1.0:
            cold.append(int(chain.tally[0]))

    monkeypatch.setattr(annealing._Chain, "step", still)
    anneal(
        some_block(),
        quick(kind="tempering", t_start=2.0, t_end=1.0, replicas=2, steps=4000, moves_per_weight=1000),
    )
    assert len(cold) == 4000
    ratio = math.exp(-(1 / 1.0 - 1 / 2.0))
    assert cold.count(1004) / len(cold) == pytest.approx(ratio / (1 + ratio), abs=0.03)


@pytest.mark.parametrize("restarts", [0, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_time_limit_ends_it_on_a_way_that_is_as_cold_at_the_end(
    kind: str, restarts: int, kernel: Kernel, clock: list[float]
) -> None:
    block = some_block()
    schedule = {"steps": 20, "moves_per_weight": 10**6, "t_start": 0.8, "t_end": 0.1, "restarts": restarts}
    found = anneal(block, quick(kind=kind, **schedule), Deadline(400))
    check(block, found)
    runs = restarts + 1
    assert 350 <= clock[0] - 100 <= 400 + 20 * runs  # a chunk may end a second after its time
    if kind in ("geometric", "linear", "lundy-mees"):
        assert sum(now > before for before, now in pairwise(kernel.temperatures)) == restarts
        assert kernel.temperatures[-1] == pytest.approx(0.1)
        assert len(set(kernel.temperatures)) >= 15
    if kind == "tempering":
        tried = [kernel.temperatures.count(t) for t in sorted(set(kernel.temperatures))]
        assert len(tried) == 4 and min(tried) > 0.5 * max(tried)


def test_no_time_at_all_leaves_the_start(clock: list[float], kernel: Kernel) -> None:
    block = some_block()
    found = anneal(block, quick(), Deadline(0.0))
    assert (found.lanes.tolist(), found.columns.tolist()) == (block.lanes.tolist(), block.columns.tolist())
    assert kernel.calls == [] and found.moves == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("calls", [0, 1, 7])
def test_an_interrupt_ends_it_with_the_best_so_far(kind: str, calls: int, kernel: Kernel) -> None:
    block, limit = some_block(), Deadline()

    def interrupt() -> None:
        if len(kernel.calls) >= calls:
            limit.interrupt()

    kernel.after = interrupt
    interrupt()
    found = anneal(block, quick(kind=kind, steps=20, restarts=1), limit)
    check(block, found)
    assert len(kernel.calls) == calls
    assert found.cost(FAN_IN) == min(kernel.lowest, cost(block, block.lanes, FAN_IN))


def test_it_ends_where_every_lane_carries_as_little_as_it_can(kernel: Kernel) -> None:
    full = annealing_blocks.block([2], [[0, 1]], inputs=2, seed=4)
    found = anneal(full, quick(moves_per_weight=1000, restarts=3))
    assert found.cost(FAN_IN) == len(set(full.inputs.tolist()))
    assert len(kernel.calls) == 1


def test_progress_rises_to_the_end_and_is_of_the_best_state() -> None:
    reports: list[AnnealProgress] = []
    block = some_block()
    found = anneal(block, quick(restarts=1, reheats=1), progress=reports.append)
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
    reporter.begin(0.5, 0.25)
    for step in range(50):
        now = 100.0 + step / 32
        reporter.report(step / 50, 1.0)
    assert seen == [0.5 + 0.25 * step / 50 for step in range(0, 50, 4)]
    reporter.begin(0.0, 1.0)
    reporter.report(1.0, 1.0)
    assert seen[-1] == 1.0


@pytest.mark.parametrize("restarts", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_progress_rises_to_the_whole(kind: str, restarts: int) -> None:
    seen: list[AnnealProgress] = []
    found = anneal(some_block(), quick(kind=kind, restarts=restarts), progress=seen.append)
    done = [progress.done for progress in seen]
    assert done == sorted(done)
    assert done[0] >= 0 and done[-1] == 1
    assert 4 * seen[-1].cost == found.cost(FAN_IN)  # in quarters


@pytest.mark.parametrize("kind", KINDS)
def test_progress_is_whole_where_nothing_can_be_better(kind: str) -> None:
    seen: list[AnnealProgress] = []
    single = annealing_blocks.block([3], [[0]], inputs=3, few=1)
    anneal(single, quick(kind=kind, restarts=2), progress=seen.append)
    assert seen[-1].done == 1
