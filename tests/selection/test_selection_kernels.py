"""The kernels that choose what is kept, against loops over lists that try everything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from tightc.selection.aligned import best_segments, keep_segments, segment_saliency, spend, unit_saliency
from tightc.selection.top_k import largest, largest_with_floors

WORTHS = st.integers(0, 4)  # few values, so that many are equal


@st.composite
def layers(draw: st.DrawFn) -> tuple[list[list[int]], list[int]]:
    """Worths of one to four layers, and a floor for each."""
    worths = draw(st.lists(st.lists(WORTHS, min_size=1, max_size=6), min_size=1, max_size=4))
    return worths, [draw(st.integers(0, len(one))) for one in worths]


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray:
    """A saliency of up to 4 filters and 9 inputs."""
    filters, inputs = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    numbers = draw(st.lists(WORTHS, min_size=filters * inputs, max_size=filters * inputs))
    return np.array(numbers, np.float64).reshape(filters, inputs)


@st.composite
def purses(
    draw: st.DrawFn, same_cost: bool = False
) -> tuple[list[list[float]], list[float], float, list[int]]:
    """(worths of the units of each layer, costs, budget, floors)."""
    units = [
        sorted(draw(st.lists(st.integers(0, 9).map(float), min_size=1, max_size=4)), reverse=True)
        for _ in range(draw(st.integers(1, 3 if same_cost else 4)))
    ]
    costs = [float(draw(st.integers(1, 9))) for _ in units]
    costs = costs[:1] * len(units) if same_cost else costs
    floors = [min(draw(st.sampled_from([0, 0, 0, 1, 4])), len(worths)) for worths in units]
    floor_cost = sum(cost * floor for cost, floor in zip(costs, floors, strict=True))
    return units, costs, floor_cost + draw(st.integers(0, 60)) / 2, floors


@given(st.lists(WORTHS, max_size=12), st.integers(-2, 14))
def test_largest_keeps_as_many_as_asked_for_and_of_equal_ones_the_later(
    worths: list[int], count: int
) -> None:
    found = largest(np.array(worths, np.float64), count).tolist()
    assert found == oracle.largest_kept(worths, count)
    assert sum(found) == min(max(count, 0), len(worths))


@given(layers(), st.integers(0, 24))
def test_floors_come_out_of_the_count_and_hold_where_they_ask_for_more(
    given_layers: tuple[list[list[int]], list[int]], count: int
) -> None:
    worths, floors = given_layers
    flat = np.array([worth for one in worths for worth in one], np.float64)
    kept = largest_with_floors(flat, count, [len(one) for one in worths], floors)
    found = [part.tolist() for part in np.split(kept, np.cumsum([len(one) for one in worths])[:-1])]
    assert found == oracle.largest_with_floors(worths, count, floors)
    assert all(sum(one) >= floor for one, floor in zip(found, floors, strict=True))
    assert kept.sum() == min(max(count, sum(floors)), len(flat))


@given(matrices(), st.integers(1, 10))
def test_parts_are_worth_the_sum_of_their_weights_and_fall_along_a_filter(
    saliency: np.ndarray, rows: int
) -> None:
    found = segment_saliency(saliency, rows).tolist()
    wanted = [[sum(f[i] for i in part) for part in oracle.parts(f, rows)] for f in saliency.tolist()]
    assert found == wanted
    assert all(one == sorted(one, reverse=True) for one in found)


def test_worths_of_parts_fall_also_where_sums_are_rounded() -> None:
    saliency = np.square(np.random.default_rng(0).normal(size=(50, 96)).astype(np.float32)).astype(np.float64)
    for rows in (3, 7, 32):
        worths = segment_saliency(saliency, rows)
        assert (np.diff(worths[:, : 96 // rows], axis=1) <= 0).all()


@given(matrices(), st.integers(1, 10), st.data())
def test_a_filter_keeps_its_best_parts_and_of_equal_weights_the_first(
    saliency: np.ndarray, rows: int, data: st.DataObject
) -> None:
    most = -(-saliency.shape[1] // rows)
    counts = [data.draw(st.integers(0, most)) for _ in saliency]
    kept = keep_segments(saliency, rows, np.array(counts))
    for worths, count, row in zip(saliency.tolist(), counts, kept.tolist(), strict=True):
        wanted = {place for part in oracle.parts(worths, rows)[:count] for place in part}
        assert {place for place, stays in enumerate(row) if stays} == wanted


@given(matrices(), st.integers(1, 10), st.data())
def test_the_best_parts_of_a_layer_never_skip_one_of_a_filter(
    saliency: np.ndarray, rows: int, data: st.DataObject
) -> None:
    worths = segment_saliency(saliency, rows)
    count = data.draw(st.integers(0, worths.size))
    taken = best_segments(worths, count).tolist()
    assert len(taken) == len(worths) and sum(taken) == count
    lists = worths.tolist()
    best = sorted((worth for one in lists for worth in one), reverse=True)[:count]
    assert sorted((w for one, n in zip(lists, taken, strict=True) for w in one[:n]), reverse=True) == best


@given(matrices(), st.integers(1, 5), st.integers(1, 7))
def test_units_are_the_best_parts_so_many_at_a_time(saliency: np.ndarray, rows: int, size: int) -> None:
    worths = segment_saliency(saliency, rows)
    best = sorted((worth for one in worths.tolist() for worth in one), reverse=True)
    wanted = [sum(best[begin : begin + size]) for begin in range(0, len(best), size)]
    assert unit_saliency(worths, size).tolist() == wanted


@given(purses())
def test_what_is_bought_stays_within_the_budget_and_within_a_unit_of_the_most(
    purse: tuple[list[list[float]], list[float], float, list[int]],
) -> None:
    units, costs, budget, floors = purse
    taken = spend([np.array(worths) for worths in units], costs, budget, floors)
    price = sum(cost * count for cost, count in zip(costs, taken, strict=True))
    worth = sum(sum(worths[:count]) for worths, count in zip(units, taken, strict=True))
    assert all(
        floor <= count <= len(worths) for floor, count, worths in zip(floors, taken, units, strict=True)
    )
    assert price <= budget
    left = [cost for cost, count, worths in zip(costs, taken, units, strict=True) if count < len(worths)]
    assert all(price + cost > budget for cost in left), "a unit that fits was left"
    most = oracle.most_relaxed_worth(units, costs, budget, floors)
    dearest = max(
        (worths[floor] for worths, floor in zip(units, floors, strict=True) if floor < len(worths)), default=0
    )
    assert most - dearest - 1e-9 <= worth <= oracle.most_worth(units, costs, budget, floors) <= most + 1e-9


@settings(max_examples=300)
@given(purses())
def test_units_are_bought_by_worth_for_their_cost_those_that_fit(
    purse: tuple[list[list[float]], list[float], float, list[int]],
) -> None:
    units, costs, budget, floors = purse
    taken = spend([np.array(worths) for worths in units], costs, budget, floors)
    assert taken == oracle.bought_one_by_one(units, costs, budget, floors)


@given(purses(same_cost=True))
def test_nothing_is_worth_more_where_all_units_cost_the_same(
    purse: tuple[list[list[float]], list[float], float, list[int]],
) -> None:
    units, costs, budget, floors = purse
    taken = spend([np.array(worths) for worths in units], costs, budget, floors)
    worth = sum(sum(worths[:count]) for worths, count in zip(units, taken, strict=True))
    assert worth == oracle.most_worth(units, costs, budget, floors)


def test_floors_are_taken_though_they_cost_more_than_there_is() -> None:
    assert spend([np.array([5.0, 4.0]), np.array([3.0])], [4.0, 1.0], 6.0, [2, 0]) == [2, 0]


@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_budget_that_rounding_made_a_little_smaller_buys_what_it_stands_for(tenths: int) -> None:
    share = 1 - (10 - tenths) / 10
    first, second = np.full(100, 2.0), np.full(10, 1e-9)
    # The dear units come first and do not fit all; a cheap one that fits to the last cent is not left out.
    taken = spend([first, second], [30.0, 10.0], share * 1000, [0, 0])
    assert 30 * taken[0] + 10 * taken[1] == 100 * tenths
