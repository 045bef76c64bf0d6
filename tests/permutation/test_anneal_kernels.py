"""The annealing kernels against plain recounts; tiny, because they also run without JIT."""

from __future__ import annotations

import numpy as np
import pytest

import oracle
from tightc.permutation.anneal import EMPTY, _anneal, _cost, _count_inputs, _lane_change

pytestmark = pytest.mark.kernel
HUGE = np.array([1e9])


def random_slots(seed: int, lanes: int = 4, columns: int = 5, inputs: int = 7) -> np.ndarray:
    """A tile with empty slots; each column holds an input at most once, as the inputs of one filter do."""
    rng = np.random.default_rng(seed)
    slots = np.full((lanes, columns), EMPTY, np.int32)
    for column in range(columns):
        count = rng.integers(0, min(lanes, inputs) + 1)
        slots[rng.choice(lanes, count, replace=False), column] = rng.choice(inputs, count, replace=False)
    slots[0, 0] = inputs - 1 if inputs - 1 not in slots[1:, 0] else slots[0, 0]
    return slots


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("fan_in", [1, 2, 9])
def test_cost_is_a_plain_recount(seed: int, fan_in: int) -> None:
    slots = random_slots(seed)
    carried = [len(set(lane) - {EMPTY}) for lane in slots.tolist()]
    excess = sum(max(0, count - fan_in) for count in carried)
    assert _cost(slots, fan_in) == (oracle.anneal_cost(slots.tolist(), fan_in), excess)


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_a_plain_recount(seed: int) -> None:
    slots = random_slots(seed)
    counts = _count_inputs(slots, 7)
    assert counts.tolist() == [[lane.count(k) for k in range(7)] for lane in slots.tolist()]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fan_in", [1, 2, 3])
def test_the_change_of_a_lane_is_the_difference_of_two_recounts(seed: int, fan_in: int) -> None:
    slots = random_slots(seed, lanes=3, columns=4, inputs=5)
    counts = _count_inputs(slots, 5)
    for lane, row in enumerate(slots.tolist()):
        carried = len(set(row) - {EMPTY})
        for column, leaving in enumerate(row):
            for coming in (EMPTY, 0, 1, 2, 3, 4):
                if coming == leaving:
                    continue
                after = [*row[:column], coming, *row[column + 1 :]]
                change = len(set(after) - {EMPTY}) - carried
                rise = oracle.anneal_cost([after], fan_in) - oracle.anneal_cost([row], fan_in)
                assert _lane_change(counts[lane], leaving, coming, carried, fan_in) == (change, rise)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("temperatures", [HUGE, np.array([0.3, 0.1, 0.03]), np.array([1e-9])])
def test_the_result_is_the_best_state_seen_and_its_cost_a_full_recount(
    seed: int, temperatures: np.ndarray
) -> None:
    slots = random_slots(seed)
    start = slots.copy()
    best = slots.copy()
    cost, _ = _anneal(slots, best, 2, temperatures, 60, np.uint64(seed + 1))
    assert cost == oracle.anneal_cost(best.tolist(), 2) <= oracle.anneal_cost(start.tolist(), 2)
    assert cost <= oracle.anneal_cost(slots.tolist(), 2)
    for column in range(slots.shape[1]):  # every weight stays in its column
        assert sorted(best[:, column]) == sorted(start[:, column]) == sorted(slots[:, column])


def test_the_best_state_is_not_the_last_one_when_it_is_hot() -> None:
    last_is_worse = 0
    for seed in range(20):
        slots = random_slots(seed)
        best = slots.copy()
        cost, _ = _anneal(slots, best, 2, HUGE, 100, np.uint64(seed + 1))
        last_is_worse += oracle.anneal_cost(slots.tolist(), 2) > cost
    assert last_is_worse >= 15


def test_the_best_state_survives_several_calls() -> None:
    slots = random_slots(3)
    best = slots.copy()
    state = np.uint64(7)
    costs = []
    for _ in range(6):
        cost, state = _anneal(slots, best, 1, HUGE, 30, np.uint64(state))
        costs.append(int(cost))
        assert cost == oracle.anneal_cost(best.tolist(), 1)
    assert costs == sorted(costs, reverse=True)


def test_two_calls_go_on_where_one_would_have() -> None:
    temperatures = np.array([0.5, 0.3, 0.2, 0.1])
    whole, halves = random_slots(1), random_slots(1)
    best_whole, best_halves = whole.copy(), halves.copy()
    cost, state = _anneal(whole, best_whole, 2, temperatures, 40, np.uint64(5))
    _, half = _anneal(halves, best_halves, 2, temperatures[:2], 40, np.uint64(5))
    cost_halves, state_halves = _anneal(halves, best_halves, 2, temperatures[2:], 40, np.uint64(half))
    assert (cost, int(state)) == (cost_halves, int(state_halves))
    assert whole.tolist() == halves.tolist()
    assert best_whole.tolist() == best_halves.tolist()


def test_cold_moves_reach_the_optimum_of_a_tile_that_only_needs_sorting() -> None:
    lanes, columns = 4, 6
    rng = np.random.default_rng(0)
    slots = np.array([rng.permutation(lanes) for _ in range(columns)], np.int32).T.copy()
    best = slots.copy()
    cost, _ = _anneal(slots, best, 1, np.array([0.3, 0.1, 0.03]), 1500, np.uint64(11))
    assert cost == lanes  # one input on each lane, none beyond the fan-in


def test_nothing_moves_in_a_tile_of_one_lane() -> None:
    slots = np.array([[0, 1, 2]], np.int32)
    best = slots.copy()
    cost, _ = _anneal(slots, best, 1, HUGE, 50, np.uint64(1))
    assert best.tolist() == [[0, 1, 2]]
    assert cost == 4 * 2 + 3
