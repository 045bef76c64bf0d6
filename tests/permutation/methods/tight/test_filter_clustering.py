"""Groups of filters: swaps keep their sizes and their columns, and what a group reads is a plain union."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tightc.permutation.annealing.rng import seed_state
from tightc.permutation.methods.tight.filter_clustering import (
    _TEMPERATURES,
    _swap_filters,
    cluster_filters,
    group_inputs,
)
from tightc.permutation.methods.tight.filter_set import FilterSet


def filters_at_random(seed: int, filters: int, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """`starts` and `inputs` of filters that read one input at least."""
    rng = np.random.default_rng(seed)
    read = [np.sort(rng.choice(inputs, rng.integers(1, inputs + 1), replace=False)) for _ in range(filters)]
    starts = np.cumsum([0, *map(len, read)]).astype(np.int32)
    return starts, np.concatenate(read).astype(np.int32)


def filter_set(starts: np.ndarray, inputs: np.ndarray) -> FilterSet:
    return FilterSet(np.arange(len(starts) - 1), np.diff(starts), starts, inputs)


def unions(starts: np.ndarray, inputs: np.ndarray, group_of: np.ndarray) -> list[int]:
    read: list[set[int]] = [set() for _ in range(max(group_of) + 1)]
    for f, group in enumerate(group_of.tolist()):
        read[group] |= set(inputs[starts[f] : starts[f + 1]].tolist())
    return [len(one) for one in read]


def energy(read: list[int], budgets: np.ndarray) -> int:
    """Inputs, those beyond the budget of their group five times."""
    return sum(one + 4 * max(0, one - int(budget)) for one, budget in zip(read, budgets, strict=True))


@pytest.mark.kernel
@settings(max_examples=20)
@given(st.integers(0, 2**20), st.integers(1, 6), st.integers(1, 8))
def test_what_groups_read_is_a_union(seed: int, filters: int, inputs: int) -> None:
    starts, read = filters_at_random(seed, filters, inputs)
    group_of = np.sort(np.random.default_rng(seed).integers(0, 3, filters)).astype(np.int32)
    assert group_inputs(filter_set(starts, read), group_of).tolist() == unions(starts, read, group_of)


@pytest.mark.kernel
@settings(max_examples=10)
@given(st.integers(0, 2**20), st.integers(1, 7), st.integers(1, 3), st.integers(1, 9))
def test_swaps_keep_how_many_filters_of_each_width_a_group_has(
    seed: int, filters: int, width: int, budget: int
) -> None:
    starts, read = filters_at_random(seed, filters, 8)
    columns = np.sort(np.random.default_rng(seed).integers(1, 4, filters))[::-1].copy()
    group_of = (np.arange(filters) // width).astype(np.int32)
    budgets = np.full(group_of[-1] + 1, budget)
    found = cluster_filters(filter_set(starts, read), columns, group_of, budgets, np.uint64(seed))
    before = Counter(zip(group_of.tolist(), columns.tolist(), strict=True))
    assert Counter(zip(found.tolist(), columns.tolist(), strict=True)) == before
    again = cluster_filters(filter_set(starts, read), columns, group_of, budgets, np.uint64(seed))
    assert found.tolist() == again.tolist()


@pytest.mark.kernel
@pytest.mark.parametrize("seed", range(3))
def test_filters_that_read_much_the_same_come_together(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = rng.permutation(np.repeat(np.arange(4), 8))  # filters of a kind read 5 of the same 20 inputs
    inputs = np.concatenate([20 * k + rng.choice(20, 5, replace=False) for k in kind]).astype(np.int32)
    starts = np.arange(0, 161, 5, dtype=np.int32)
    group_of = np.repeat(np.arange(4, dtype=np.int32), 8)
    found = cluster_filters(
        filter_set(starts, inputs), np.ones(32, np.int64), group_of, np.full(4, 20), np.uint64(seed + 1)
    )
    groups = [{int(k) for k in kind[found == group]} for group in range(4)]
    assert sorted(map(sorted, groups)) == [[0], [1], [2], [3]]


@pytest.mark.kernel
@pytest.mark.parametrize("seed", range(5))
def test_swaps_leave_less_beyond_the_budgets(seed: int) -> None:
    starts, read = filters_at_random(seed, 40, 60)
    group_of = (np.arange(40) // 4).astype(np.int32)
    budgets = np.full(10, 45)
    found = cluster_filters(
        filter_set(starts, read), np.ones(40, np.int64), group_of, budgets, np.uint64(seed)
    )
    before, after = (energy(unions(starts, read, groups), budgets) for groups in (group_of, found))
    assert after < before


@pytest.mark.kernel
def test_swaps_are_accepted_by_the_rule_of_metropolis() -> None:
    """At the end, a grouping that reads an input more is exp(-1 / T) times as likely as one that does not.

    Filters 0 and 1 read the same input. Filter 2 alone in its group is best, either of the others an input worse.
    """
    starts, inputs = np.arange(4, dtype=np.int32), np.array([0, 0, 1], np.int32)
    runs, apart = 400, 0
    for seed in range(runs):
        group_of = np.array([0, 0, 1], np.int32)
        _swap_filters(
            starts,
            inputs,
            like=np.full(3, 3, np.int32),
            group_of=group_of,
            budgets=np.full(2, 9),
            swaps=12 * _TEMPERATURES[2],
            rng=seed_state(np.random.SeedSequence(seed)),
        )
        apart += group_of[0] == group_of[1]
    worse = 2 * math.exp(-1 / _TEMPERATURES[1])
    assert apart / runs == pytest.approx(1 / (1 + worse), abs=0.06)


def test_a_group_of_few_lanes_gets_the_filters_that_read_little() -> None:
    rng = np.random.default_rng(0)
    counts = rng.permutation(np.repeat([3, 20], 16))  # half of the filters read what two would
    read = [np.sort(rng.choice(60, count, replace=False)) for count in counts]
    starts = np.cumsum([0, *counts]).astype(np.int32)
    inputs = np.concatenate(read).astype(np.int32)
    group_of = np.repeat(np.arange(4, dtype=np.int32), 8)
    for tight in range(4):
        budgets = np.where(np.arange(4) == tight, 22, 60)
        found = cluster_filters(
            filter_set(starts, inputs), np.ones(32, np.int64), group_of, budgets, np.uint64(1)
        )
        assert unions(starts, inputs, found)[tight] <= 22


def test_no_filters_are_in_no_group() -> None:
    nothing = np.zeros(0, np.int32)
    assert group_inputs(filter_set(np.zeros(1, np.int32), nothing), nothing).tolist() == []
