"""The selection kernels, against loops over lists that try everything."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import oracle
from tightc.selection import top_k
from tightc.selection.aligned import (
    best_segments,
    keep_segments,
    ordered_saliency,
    segment_saliency,
    units_within_budget,
)
from tightc.selection.ties import even_order, marked_places, spread_ranks, tie_shares
from tightc.selection.top_k import SaliencyBlocks, choose_largest, largest, largest_with_minimums

SALIENCIES = st.integers(0, 4)  # few values, so that many are equal


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray:
    """A saliency of up to 4 filters and 9 inputs."""
    filters, inputs = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    numbers = draw(st.lists(SALIENCIES, min_size=filters * inputs, max_size=filters * inputs))
    return np.array(numbers, np.float64).reshape(filters, inputs)


@st.composite
def layers(draw: st.DrawFn) -> tuple[list[np.ndarray], list[int]]:
    """Saliencies of one to four layers, and a minimum number of weights for each."""
    saliencies = draw(st.lists(matrices(), min_size=1, max_size=4))
    return saliencies, [draw(st.sampled_from([0, 0, 1, one.size])) for one in saliencies]


class Knapsack(NamedTuple):
    """Saliency of each layer's units, the cost of one unit of each layer, a budget, and minimum numbers of units."""

    units: list[list[float]]
    costs: list[float]
    budget: float
    minimums: list[int]


@st.composite
def knapsacks(draw: st.DrawFn, same_cost: bool = False) -> Knapsack:
    """One to four layers; three at most with the same cost."""
    units = [
        sorted(draw(st.lists(st.integers(0, 9).map(float), min_size=1, max_size=4)), reverse=True)
        for _ in range(draw(st.integers(1, 3 if same_cost else 4)))
    ]
    costs = [float(draw(st.integers(1, 9))) for _ in units]
    costs = costs[:1] * len(units) if same_cost else costs
    minimums = [min(draw(st.sampled_from([0, 0, 0, 1, 4])), len(saliencies)) for saliencies in units]
    minimum_cost = sum(cost * minimum for cost, minimum in zip(costs, minimums, strict=True))
    return Knapsack(units, costs, minimum_cost + draw(st.integers(0, 60)) / 2, minimums)


@settings(max_examples=300)
@given(layers(), st.integers(-2, 80))
def test_the_largest_of_all_layers_are_kept_and_ties_are_spread(
    given_layers: tuple[list[np.ndarray], list[int]], count: int
) -> None:
    saliencies, minimums = given_layers
    lists = [one.tolist() for one in saliencies]
    kept = [one.tolist() for one in largest(saliencies, count)]
    assert oracle.largest_faults(lists, kept, max(0, count), [0] * len(lists)) == []
    kept = [one.tolist() for one in largest_with_minimums(saliencies, count, minimums)]
    assert oracle.largest_faults(lists, kept, count, minimums) == []


@settings(max_examples=300)
@given(layers(), st.integers(-2, 80), st.sampled_from([0, 4]), st.booleans())
def test_the_same_are_kept_when_layers_come_in_blocks(
    given_layers: tuple[list[np.ndarray], list[int]], count: int, few: int, continuous: bool
) -> None:
    """With blocks of a filter, a histogram for every 16 bits, and the values that are left sorted."""
    saliencies, minimums = given_layers
    if continuous:
        rng = np.random.default_rng(0)
        saliencies = [one * rng.choice([1.0, 1.0, 1 + 2**-20, 1e-300], one.shape) for one in saliencies]
    expected = largest_with_minimums(saliencies, count, minimums)
    assert (
        oracle.largest_faults(
            [one.tolist() for one in saliencies], [one.tolist() for one in expected], count, minimums
        )
        == []
    )
    blocks = [
        SaliencyBlocks(one.shape, lambda one=one: lambda first, last: one[first:last]) for one in saliencies
    ]
    for own, one in zip(blocks, saliencies, strict=True):
        np.testing.assert_array_equal(np.asarray(own), one)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("_BLOCK", 5), ("_COLLECTED", 3), ("_FEW", few)):
            patch.setattr(top_k, name, value)
        chosen = choose_largest(blocks, count, minimums)
        for kept, mask in zip(chosen, expected, strict=True):
            np.testing.assert_array_equal(kept.mask(), mask)


def test_shares_of_very_many_ties_are_exact() -> None:
    """10^10 equal weights, of which 10^9 are kept: their product is beyond 64 bits."""
    taken, _ = tie_shares(np.full(10_000, 10**6), 10**9)
    assert taken.tolist() == [10**5] * 10_000


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=5), st.data())
def test_of_equal_weights_every_layer_filter_and_input_keeps_its_share(
    shapes: list[tuple[int, int]], data: st.DataObject
) -> None:
    total = sum(filters * inputs for filters, inputs in shapes)
    count = data.draw(st.integers(0, total))
    kept = largest([np.ones(shape) for shape in shapes], count)
    for mask in kept:
        assert abs(mask.sum() - count / total * mask.size) < 1
        assert (abs(mask.sum(axis=1) - count / total * mask.shape[1]) < 1).all()


def test_equal_weights_leave_no_input_without_a_reader() -> None:
    (kept,) = largest([np.ones((64, 64))], 64 * 64 // 8)
    assert kept.any(axis=0).all() and kept.sum(axis=0).max() <= 16
    aligned = keep_segments(np.ones((64, 64)), 8, np.ones(64, np.int64))
    assert aligned.any(axis=0).all() and aligned.sum(axis=0).max() <= 16


@given(st.integers(1, 200))
def test_spread_ranks_are_a_permutation_whose_first_ranks_lie_everywhere(count: int) -> None:
    ranks = spread_ranks(count)
    assert sorted(ranks.tolist()) == list(range(count))
    for first in (count // 2, count // 3, count // 8):
        places = np.flatnonzero(ranks < first)
        if first > 1:
            assert np.diff(places).max() <= 3 * count / first + 1


def test_subwords_of_a_weight_stay_together() -> None:
    ties = np.full(20, 16)
    taken, starts = tie_shares(ties, 130)
    marked = marked_places(np.ones((20, 16), bool), ties, taken, starts).reshape(20, 8, 2)
    assert marked.sum() == 130
    assert (marked[..., 0] != marked[..., 1]).sum(axis=1).max() <= 2, "cut at the ends of a run only"


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.data())
def test_equal_values_of_all_layers_alternate(sizes: list[int], data: st.DataObject) -> None:
    order = even_order([np.zeros(size) for size in sizes], [spread_ranks(size) for size in sizes])
    assert sorted(order.tolist()) == list(range(sum(sizes)))
    count = data.draw(st.integers(0, sum(sizes)))
    layer = np.repeat(np.arange(len(sizes)), sizes)[order[:count]]
    for number, size in enumerate(sizes):
        assert abs((layer == number).sum() - count * size / sum(sizes)) <= 1 + len(sizes) / 2


@given(matrices(), st.integers(1, 10))
def test_segment_saliency_is_the_sum_of_its_weights_and_falls_along_a_filter(
    saliency: np.ndarray, rows: int
) -> None:
    found = segment_saliency(saliency, rows).tolist()
    wanted = [[sum(f[i] for i in part) for part in oracle.segments(f, rows)] for f in saliency.tolist()]
    assert found == wanted
    assert all(one == sorted(one, reverse=True) for one in found)


def test_segment_saliency_falls_even_if_sums_are_rounded() -> None:
    saliency = np.square(np.random.default_rng(0).normal(size=(50, 96)).astype(np.float32)).astype(np.float64)
    for rows in (3, 7, 32):
        saliencies = segment_saliency(saliency, rows)
        assert (np.diff(saliencies[:, : 96 // rows], axis=1) <= 0).all()


@given(matrices(), st.integers(1, 10), st.data())
def test_a_filter_keeps_its_most_salient_segments(
    saliency: np.ndarray, rows: int, data: st.DataObject
) -> None:
    most = -(-saliency.shape[1] // rows)
    counts = [data.draw(st.integers(0, most)) for _ in saliency]
    kept = keep_segments(saliency, rows, np.array(counts))
    for saliencies, count, row in zip(saliency.tolist(), counts, kept.tolist(), strict=True):
        inputs = range(len(saliencies))
        segments = [oracle.segments(saliencies, rows, first)[:count] for first in inputs]
        wanted = [{place for part in parts for place in part} for parts in segments]
        assert {place for place, stays in enumerate(row) if stays} in wanted, "ties from some input on"


@given(matrices(), st.integers(1, 10), st.data())
def test_the_best_segments_of_a_layer_are_the_first_of_each_filter(
    saliency: np.ndarray, rows: int, data: st.DataObject
) -> None:
    saliencies = segment_saliency(saliency, rows)
    count = data.draw(st.integers(0, saliencies.size))
    taken = best_segments(saliencies, count).tolist()
    assert len(taken) == len(saliencies) and sum(taken) == count
    lists = saliencies.tolist()
    best = sorted((value for one in lists for value in one), reverse=True)[:count]
    assert sorted((w for one, n in zip(lists, taken, strict=True) for w in one[:n]), reverse=True) == best


@given(matrices(), st.integers(1, 5))
def test_units_are_the_segments_with_the_most_salient_first(saliency: np.ndarray, rows: int) -> None:
    saliencies = segment_saliency(saliency, rows)
    best = sorted((value for one in saliencies.tolist() for value in one), reverse=True)
    assert ordered_saliency(saliencies).tolist() == best


def units_bought(knapsack: Knapsack) -> list[int]:
    """What the kernel takes where every unit of a layer costs the same."""
    units, costs, budget, minimums = knapsack
    return units_within_budget(
        [np.array(saliencies) for saliencies in units],
        [np.full(len(saliencies), cost) for saliencies, cost in zip(units, costs, strict=True)],
        budget,
        minimums,
    )


@given(knapsacks())
def test_units_stay_within_the_budget_and_miss_at_most_one_unit_of_saliency(
    knapsack: Knapsack,
) -> None:
    units, costs, budget, minimums = knapsack
    taken = units_bought(knapsack)
    spent = sum(cost * count for cost, count in zip(costs, taken, strict=True))
    value = sum(sum(saliencies[:count]) for saliencies, count in zip(units, taken, strict=True))
    assert all(
        minimum <= count <= len(saliencies)
        for minimum, count, saliencies in zip(minimums, taken, units, strict=True)
    )
    assert spent <= budget
    left = [
        cost for cost, count, saliencies in zip(costs, taken, units, strict=True) if count < len(saliencies)
    ]
    assert all(spent + cost > budget for cost in left), "a unit that fits was left"
    most = oracle.most_relaxed_saliency(units, costs, budget, minimums)
    largest_unit = max(
        (
            saliencies[minimum]
            for saliencies, minimum in zip(units, minimums, strict=True)
            if minimum < len(saliencies)
        ),
        default=0,
    )
    assert (
        most - largest_unit - 1e-9
        <= value
        <= oracle.most_saliency(units, costs, budget, minimums)
        <= most + 1e-9
    )


@settings(max_examples=300)
@given(knapsacks())
def test_units_are_taken_by_saliency_per_cost_if_they_fit(
    knapsack: Knapsack,
) -> None:
    units, costs, budget, minimums = knapsack
    ratios = [value / cost for one, cost in zip(units, costs, strict=True) for value in dict.fromkeys(one)]
    assume(len(set(ratios)) == len(ratios))  # no ties between layers
    taken = units_bought(knapsack)
    assert taken == oracle.greedy_units(units, costs, budget, minimums)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.integers(0, 60))
def test_equal_units_are_taken_from_all_layers(counts: list[int], budget: int) -> None:
    taken = units_within_budget(
        [np.ones(count) for count in counts], [np.ones(count) for count in counts], budget, [0] * len(counts)
    )
    fraction = min(1.0, budget / sum(counts))
    assert sum(taken) == min(budget, sum(counts))
    for one, count in zip(taken, counts, strict=True):
        assert abs(one - fraction * count) <= 1 + len(counts) / 2


@given(knapsacks(same_cost=True))
def test_units_of_the_same_cost_are_chosen_optimally(
    knapsack: Knapsack,
) -> None:
    units, costs, budget, minimums = knapsack
    taken = units_bought(knapsack)
    value = sum(sum(saliencies[:count]) for saliencies, count in zip(units, taken, strict=True))
    assert value == oracle.most_saliency(units, costs, budget, minimums)


def test_minimums_are_taken_even_beyond_the_budget() -> None:
    assert units_bought(Knapsack([[5.0, 4.0], [3.0]], [4.0, 1.0], 6.0, [2, 0])) == [2, 0]


@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_budget_below_its_exact_value_by_rounding_buys_as_much(tenths: int) -> None:
    fraction = 1 - (10 - tenths) / 10
    first, second = np.full(100, 2.0), np.full(10, 1e-9)
    # The expensive units come first and not all fit; a cheap one that fits exactly is taken.
    taken = units_within_budget(
        [first, second], [np.full(100, 30.0), np.full(10, 10.0)], fraction * 1000, [0, 0]
    )
    assert 30 * taken[0] + 10 * taken[1] == 100 * tenths


class StepKnapsack(NamedTuple):
    """Saliency of each layer's units, what each of them costs, and a budget above the cost of the first units."""

    units: list[list[float]]
    costs: list[list[float]]
    budget: float


@st.composite
def step_knapsacks(draw: st.DrawFn) -> StepKnapsack:
    """One to three layers whose units cost unequal amounts, many of them nothing, as in tiles."""
    units, costs = [], []
    for _ in range(draw(st.integers(1, 3))):
        count = draw(st.integers(1, 5))
        units.append(
            sorted(draw(st.lists(st.integers(0, 9).map(float), min_size=count, max_size=count)), reverse=True)
        )
        costs.append(
            draw(st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.0, 7.0]), min_size=count, max_size=count))
        )
    least = sum(own[0] for own in costs)
    return StepKnapsack(units, costs, least + draw(st.integers(0, 40)) / 2)


@settings(max_examples=500)
@given(step_knapsacks())
def test_units_in_steps_of_cost_miss_less_than_one_step_of_the_best_of_all_allocations(
    knapsack: StepKnapsack,
) -> None:
    units, costs, budget = knapsack
    taken = units_within_budget(
        [np.array(own) for own in units], [np.array(own) for own in costs], budget, [1] * len(units)
    )
    spent = sum(sum(own[:count]) for own, count in zip(costs, taken, strict=True))
    value = sum(sum(own[:count]) for own, count in zip(units, taken, strict=True))
    assert spent <= budget
    for own, count in zip(costs, taken, strict=True):
        assert count >= 1
        assert count == len(own) or own[count] > budget - spent, "a unit that fits was left"
    places = [oracle.points(own, prices) for own, prices in zip(units, costs, strict=True)]
    best = oracle.most_saliency_of_points(places, budget)
    steps = [oracle.largest_step(own) for own in places]
    assert best - max(steps) - 1e-9 <= value <= best
    assert value == best or value > best - max(steps)


def test_units_that_cost_nothing_come_with_those_before_them() -> None:
    units = [np.array([5.0, 3.0, 1.0, 1.0]), np.array([9.0, 8.0])]
    costs = [np.array([4.0, 0.0, 0.0, 4.0]), np.array([4.0, 0.0])]
    assert units_within_budget(units, costs, 8.0, [1, 1]) == [3, 2]
