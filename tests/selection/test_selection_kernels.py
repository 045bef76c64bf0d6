"""The selection kernels, against loops over lists that try everything."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from tightc.selection.aligned import (
    best_segments,
    keep_segments,
    segment_saliency,
    unit_saliency,
    units_within_budget,
)
from tightc.selection.top_k import largest, largest_with_minimums

SALIENCIES = st.integers(0, 4)  # few values, so that many are equal


@st.composite
def layers(draw: st.DrawFn) -> tuple[list[list[int]], list[int]]:
    """Saliencies of one to four layers, and a minimum number of weights for each."""
    saliencies = draw(st.lists(st.lists(SALIENCIES, min_size=1, max_size=6), min_size=1, max_size=4))
    return saliencies, [draw(st.integers(0, len(one))) for one in saliencies]


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray:
    """A saliency of up to 4 filters and 9 inputs."""
    filters, inputs = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    numbers = draw(st.lists(SALIENCIES, min_size=filters * inputs, max_size=filters * inputs))
    return np.array(numbers, np.float64).reshape(filters, inputs)


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


@given(st.lists(SALIENCIES, max_size=12), st.integers(-2, 14))
def test_largest_keeps_the_given_number_and_ties_go_to_the_later(saliencies: list[int], count: int) -> None:
    found = largest(np.array(saliencies, np.float64), count).tolist()
    assert found == oracle.largest_kept(saliencies, count)
    assert sum(found) == min(max(count, 0), len(saliencies))


@given(layers(), st.integers(0, 24))
def test_minimums_count_towards_the_count_and_hold_beyond_it(
    given_layers: tuple[list[list[int]], list[int]], count: int
) -> None:
    saliencies, minimums = given_layers
    flat = np.array([value for one in saliencies for value in one], np.float64)
    kept = largest_with_minimums(flat, count, [len(one) for one in saliencies], minimums)
    found = [part.tolist() for part in np.split(kept, np.cumsum([len(one) for one in saliencies])[:-1])]
    assert found == oracle.largest_with_minimums(saliencies, count, minimums)
    assert all(sum(one) >= minimum for one, minimum in zip(found, minimums, strict=True))
    assert kept.sum() == min(max(count, sum(minimums)), len(flat))


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
def test_a_filter_keeps_its_most_salient_segments_and_ties_go_to_the_first(
    saliency: np.ndarray, rows: int, data: st.DataObject
) -> None:
    most = -(-saliency.shape[1] // rows)
    counts = [data.draw(st.integers(0, most)) for _ in saliency]
    kept = keep_segments(saliency, rows, np.array(counts))
    for saliencies, count, row in zip(saliency.tolist(), counts, kept.tolist(), strict=True):
        wanted = {place for part in oracle.segments(saliencies, rows)[:count] for place in part}
        assert {place for place, stays in enumerate(row) if stays} == wanted


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


@given(matrices(), st.integers(1, 5), st.integers(1, 7))
def test_units_are_the_best_segments_in_groups_of_a_size(saliency: np.ndarray, rows: int, size: int) -> None:
    saliencies = segment_saliency(saliency, rows)
    best = sorted((value for one in saliencies.tolist() for value in one), reverse=True)
    wanted = [sum(best[begin : begin + size]) for begin in range(0, len(best), size)]
    assert unit_saliency(saliencies, size).tolist() == wanted


@given(knapsacks())
def test_units_stay_within_the_budget_and_miss_at_most_one_unit_of_saliency(
    knapsack: Knapsack,
) -> None:
    units, costs, budget, minimums = knapsack
    taken = units_within_budget([np.array(saliencies) for saliencies in units], costs, budget, minimums)
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
    taken = units_within_budget([np.array(saliencies) for saliencies in units], costs, budget, minimums)
    assert taken == oracle.greedy_units(units, costs, budget, minimums)


@given(knapsacks(same_cost=True))
def test_units_of_the_same_cost_are_chosen_optimally(
    knapsack: Knapsack,
) -> None:
    units, costs, budget, minimums = knapsack
    taken = units_within_budget([np.array(saliencies) for saliencies in units], costs, budget, minimums)
    value = sum(sum(saliencies[:count]) for saliencies, count in zip(units, taken, strict=True))
    assert value == oracle.most_saliency(units, costs, budget, minimums)


def test_minimums_are_taken_even_beyond_the_budget() -> None:
    assert units_within_budget([np.array([5.0, 4.0]), np.array([3.0])], [4.0, 1.0], 6.0, [2, 0]) == [2, 0]


@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_budget_below_its_exact_value_by_rounding_buys_as_much(tenths: int) -> None:
    fraction = 1 - (10 - tenths) / 10
    first, second = np.full(100, 2.0), np.full(10, 1e-9)
    # The expensive units come first and not all fit; a cheap one that fits exactly is taken.
    taken = units_within_budget([first, second], [30.0, 10.0], fraction * 1000, [0, 0])
    assert 30 * taken[0] + 10 * taken[1] == 100 * tenths
