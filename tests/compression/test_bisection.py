"""The sparsities that a bisection tries, against a network that loses its accuracy at one sparsity."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tightc.compression.bisection import bisect, denser, sparser


class Network:
    """Within the drop up to the sparsity `most`; remembers what was asked."""

    def __init__(self, most: float) -> None:
        self.most = most
        self.tried: list[float] = []

    def __call__(self, sparsity: float) -> bool:
        self.tried.append(sparsity)
        return sparsity <= self.most


@given(most=st.floats(0, 0.985), trials=st.integers(1, 20))
def test_the_result_is_the_sparsest_tried_that_is_within(most: float, trials: int) -> None:
    network = Network(most)
    found = bisect(network, trials)
    within = [sparsity for sparsity in network.tried if sparsity <= most and sparsity > 0]
    assert found == (max(within) if within else None)
    assert len([sparsity for sparsity in network.tried if sparsity]) <= trials
    assert len(set(network.tried)) == len(network.tried)


@given(most=st.floats(0.1, 0.985))
def test_with_many_trials_it_keeps_hardly_more_weights_than_needed(most: float) -> None:
    found = bisect(Network(most), 20)
    assert found is not None
    assert (1 - most) <= (1 - found) + 1e-9 <= 1.08 * (1 - most) + 0.002


def test_the_order_of_the_first_trials() -> None:
    """Weights per kept weight: 10, then the roots of 10 * 100 and of 10 * 31.6, or of 1 * 10 where 10 is too many."""
    sparse, dense = Network(0.95), Network(0.5)
    bisect(sparse, 3)
    assert sparse.tried == [0.9, 0.9684, 0.9438]
    bisect(dense, 3)
    assert dense.tried == [0.9, 0.0, 0.6838, 0.4377]


def test_where_the_dense_network_is_beyond_the_drop_nothing_else_is_tried() -> None:
    network = Network(-1.0)
    assert bisect(network, 9) is None
    assert network.tried == [0.9, 0.0]


@pytest.mark.parametrize(
    ("sparsity", "back"), [(0.9, 0.875), (0.5, 0.375), (0.2, 0.0), (0.1, 0.0), (0.0, 0.0)]
)
def test_a_step_back_keeps_a_quarter_more_weights(sparsity: float, back: float) -> None:
    assert denser(sparsity) == back


@pytest.mark.parametrize(("sparsity", "on"), [(0.9, 0.92), (0.5, 0.6), (0.0, 0.2)])
def test_a_step_on_keeps_a_fifth_fewer_weights(sparsity: float, on: float) -> None:
    assert sparser(sparsity) == on
