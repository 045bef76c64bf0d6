"""Tile heights: of several the one that buys the most saliency, by trying all of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle
from tightc.errors import OptionError
from tightc.pruning.options import PruneOptions
from tightc.selection.multiple_choice import Curve, best_choices, with_rest_spent
from tightc.selection.select import Candidates, select
from tightc.tile.segment_costs import SegmentCosts


class Network(NamedTuple):
    """Layers with the saliency and the cost of each unit in tiles of each height, and a budget that buys the least."""

    units: list[list[list[float]]]
    costs: list[list[list[float]]]
    budget: float


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """One to three layers of up to three heights, with up to four units in each."""
    units, costs = [], []
    for _ in range(draw(st.integers(1, 3))):
        heights = draw(st.integers(1, 3))
        sizes = [draw(st.integers(1, 4)) for _ in range(heights)]
        units.append(
            [
                sorted(
                    draw(st.lists(st.integers(0, 9).map(float), min_size=size, max_size=size)), reverse=True
                )
                for size in sizes
            ]
        )
        costs.append(
            [
                [
                    draw(st.sampled_from([1.0, 2.0, 7.0])),
                    *draw(
                        st.lists(st.sampled_from([0.0, 1.0, 2.0, 7.0]), min_size=size - 1, max_size=size - 1)
                    ),
                ]
                for size in sizes
            ]
        )
    least = sum(min(own[0] for own in layer) for layer in costs)
    return Network(units, costs, least + draw(st.integers(0, 40)) / 2)


@given(networks())
def test_the_heights_miss_less_than_one_step_of_the_best_of_all_choices(network: Network) -> None:
    """Of the best choices in tiles of these heights."""
    by_height = [
        [oracle.points(own, prices) for own, prices in zip(layer, paid, strict=True)]
        for layer, paid in zip(network.units, network.costs, strict=True)
    ]
    curves = [[Curve(*np.array(places).T) for places in layer] for layer in by_height]
    choices = best_choices(curves, network.budget)
    chosen = [choice.curve for choice in choices]
    value = oracle.most_saliency_of_points(
        [layer[height] for layer, height in zip(by_height, chosen, strict=True)], network.budget
    )
    every = [[point for places in layer for point in places] for layer in by_height]
    best = oracle.most_saliency_of_points(every, network.budget)
    largest = max(oracle.largest_step(places) for places in every)
    assert value <= best
    assert value == best or value > best - largest
    taken = [layer[choice.curve][choice.place] for layer, choice in zip(by_height, choices, strict=True)]
    assert [choice.cost for choice in choices] == [cost for cost, _ in taken]
    assert sum(cost for cost, _ in taken) <= network.budget
    assert sum(saliency for _, saliency in taken) >= best - largest


@given(networks())
def test_what_is_left_buys_what_fits(network: Network) -> None:
    """No layer alone could take more for what is left, and none has less than before."""
    curves = [
        [Curve(*np.array(oracle.points(own, prices)).T) for own, prices in zip(layer, paid, strict=True)]
        for layer, paid in zip(network.units, network.costs, strict=True)
    ]
    before = best_choices(curves, network.budget)
    after = with_rest_spent(curves, before, network.budget)
    left = network.budget - sum(choice.cost for choice in after)
    assert left >= 0
    for own, first, last in zip(curves, before, after, strict=True):
        taken = own[last.curve].saliency[last.place]
        assert last.cost == own[last.curve].costs[last.place]
        assert taken >= own[first.curve].saliency[first.place]
        for curve in own:
            for cost, saliency in zip(curve.costs, curve.saliency, strict=True):
                assert saliency <= taken or cost > last.cost + left


def test_of_equal_heights_it_is_the_first() -> None:
    curve = Curve(np.array([1.0, 2.0]), np.array([3.0, 5.0]))
    assert [choice.curve for choice in best_choices([[curve, curve], [curve]], 4.0)] == [0, 0]


def test_a_layer_takes_the_segments_that_buy_most() -> None:
    """Four weights in a column of four lanes for 4, or one in a column of one lane for 1: one weight has it all."""
    saliency = np.array([[9.0, 0.1, 0.1, 0.1], [9.0, 0.1, 0.1, 0.1]])
    costs = {
        4: SegmentCosts(np.array([0.0, 4.0, 8.0]), 8.0),
        1: SegmentCosts(np.arange(9, dtype=np.float64), 8.0),
    }
    options = PruneOptions.of({"align": "4x4", "budget": "speedup=2", "tile_heights": "4,1"})
    assert options.tile_heights == (4, 1)
    (kept,) = select([Candidates(saliency, costs=costs)], options, 0.25)
    assert kept.tolist() == [[True, False, False, False]] * 2
    (kept,) = select(
        [Candidates(saliency, costs=costs)], options.model_copy(update={"tile_heights": (4,)}), 0.5
    )
    assert kept.sum(axis=1).tolist() in ([4, 0], [0, 4])


def test_the_least_of_a_layer_is_that_of_its_cheapest_height() -> None:
    costs = {
        4: SegmentCosts(np.array([0.0, 4.0, 8.0]), 8.0),
        2: SegmentCosts(np.array([0.0, 2.0, 4.0, 6.0, 8.0]), 8.0),
    }
    options = PruneOptions.of({"align": "4x4", "budget": "speedup=4.5", "tile_heights": [4, 2]})
    with pytest.raises(OptionError, match="expected a speedup of at most 4, "):
        select([Candidates(np.ones((2, 4)), costs=costs)], options, 1 / 4.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"sparsity": 0.5, "align": "8x8", "tile_heights": "8,4"},
            "--tile-heights: expected a budget beside it, got none; add --budget energy=4, or leave it out",
        ),
        (
            {"budget": "speedup=2", "align": "8x8", "tile_heights": "16,8"},
            "--tile-heights: expected at most the 8 rows of the array, got 16; give lanes from 1 to 8",
        ),
    ],
)
def test_heights_that_do_not_fit_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError) as fault:
        PruneOptions.of(given)
    assert str(fault.value) == message
