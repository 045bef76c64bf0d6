"""The factors that a bisection tries, against a network that loses its accuracy at one factor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tightc.compression.bisection import bisect, further, nearer


class Network:
    """Within the drop up to the factor `most`; remembers what was asked."""

    def __init__(self, most: float) -> None:
        self.most = most
        self.tried: list[float] = []

    def __call__(self, factor: float) -> bool:
        self.tried.append(factor)
        return factor <= self.most


@given(most=st.floats(1, 70), trials=st.integers(1, 20), limit=st.floats(1.1, 100))
def test_the_result_is_the_furthest_tried_that_is_within(most: float, trials: int, limit: float) -> None:
    network = Network(most)
    found = bisect(network, trials, limit)
    within = [factor for factor in network.tried if 1 < factor <= most]
    assert found == (max(within) if within else None)
    assert len([factor for factor in network.tried if factor > 1]) <= trials
    assert len(set(network.tried)) == len(network.tried)
    assert all(1 <= factor < limit for factor in network.tried)


@given(most=st.floats(1.1, 66))
def test_with_many_trials_it_prunes_hardly_less_than_it_could(most: float) -> None:
    found = bisect(Network(most), 20)
    assert found is not None
    assert most / 1.08 <= found <= most


def test_the_order_of_the_first_trials() -> None:
    """10, then the roots of 10 * 100 and of 10 * 31.6, or of 1 * 10 where 10 is too many."""
    far, near, limited = Network(20), Network(2), Network(100)
    bisect(far, 3)
    assert far.tried == pytest.approx([10, 31.6228, 17.7828], rel=1e-5)
    bisect(near, 3)
    assert near.tried == pytest.approx([10, 1, 3.16228, 1.77828], rel=1e-5)
    bisect(limited, 2, 16)
    assert limited.tried == [4, 8]


def test_where_the_dense_network_is_beyond_the_drop_nothing_else_is_tried() -> None:
    network = Network(0.0)
    assert bisect(network, 9) is None
    assert network.tried == [10, 1]


def test_where_nothing_can_be_gained_the_dense_network_alone_is_tried() -> None:
    network = Network(5.0)
    assert bisect(network, 9, 1.02) is None
    assert network.tried == [1]


@pytest.mark.parametrize(("factor", "back"), [(10, 8), (2, 1.6), (1.25, 1), (1.1, 1), (1, 1)])
def test_a_step_back_keeps_a_quarter_more_weights(factor: float, back: float) -> None:
    assert nearer(factor) == pytest.approx(back)


@pytest.mark.parametrize(("factor", "on"), [(10, 12.5), (2, 2.5), (1, 1.25)])
def test_a_step_on_keeps_a_fifth_fewer_weights(factor: float, on: float) -> None:
    assert further(factor) == on
