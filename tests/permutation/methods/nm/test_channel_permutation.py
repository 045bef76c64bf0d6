"""The kernels of N:M sparsity against plain recounts; tiny, because they also run without JIT."""

from __future__ import annotations

import numpy as np
import pytest

from tightc.permutation.methods.nm import channel_permutation
from tightc.permutation.methods.nm.channel_permutation import LIMITS, Groups
from tightc.permutation.methods.nm.pack import _groups_of
from tightc.permutation.pattern import Pattern

pytestmark = pytest.mark.kernel
PATTERNS = [Pattern(2, 4), Pattern(1, 2), Pattern(1, 4), Pattern(2, 3), Pattern(3, 5)]


def random_groups(pattern: Pattern, inputs: int = 9, filters: int = 20, seed: int = 0) -> Groups:
    """Some weights are equal, some zero; there are more filters than inputs."""
    return _groups_of(np.random.default_rng(seed).integers(-6, 7, (filters, inputs)), pattern)


def kept(weights: np.ndarray, members: np.ndarray, pattern: Pattern) -> int:
    columns = weights.tolist()
    return sum(
        sum(sorted((columns[k][f] for k in group), reverse=True)[: pattern.kept])
        for group in members.tolist()
        for f in range(weights.shape[1])
    )


def swapped(members: np.ndarray, one: int, two: int) -> np.ndarray:
    changed = members.copy()
    changed[members == one], changed[members == two] = two, one
    return changed


def limits(temperature: float, seed: int = 0) -> np.ndarray:
    drawn = np.log(1 - np.random.default_rng(seed).random(LIMITS))
    return np.clip(temperature * drawn, -(2.0**30), -1).astype(np.int32)


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_the_gain_of_a_swap_is_the_difference_of_two_recounts(pattern: Pattern, seed: int) -> None:
    groups = random_groups(pattern, seed=seed)
    before = kept(groups.weights, groups.members, pattern)
    tabled = groups._replace(sums=np.zeros((9, 9), np.int32), transposed=np.zeros((9, 9), np.int32))
    channel_permutation._tabulate_all(tabled)
    counted, looked_up = np.empty(9, np.int32), np.empty(9, np.int32)
    for one in range(9):
        channel_permutation._count_gains(groups.weights, groups.thresholds, groups.own, one, 0, counted)
        channel_permutation._look_up_gains(tabled.sums, tabled.transposed, groups.own, one, 0, looked_up)
        assert counted.tolist() == looked_up.tolist()
        for two in range(9):
            if groups.group_of[one] != groups.group_of[two]:
                after = kept(groups.weights, swapped(groups.members, one, two), pattern)
                assert counted[two] == after - before


@pytest.mark.parametrize("seed", range(5))
def test_two_of_four_is_updated_as_any_pattern_is(seed: int) -> None:
    one, two = random_groups(Pattern(2, 4), 8, seed=seed), random_groups(Pattern(2, 4), 8, seed=seed)
    for groups, update in (
        (one, channel_permutation._update_two_of_four),
        (two, channel_permutation._update_any),
    ):
        groups.thresholds[:] = 0
        groups.own[:] = 0
        for members in groups.members:
            ranked = (groups.ranked,) if update is channel_permutation._update_any else ()
            update(groups.weights, groups.thresholds, groups.own, members, *ranked)
    assert one.thresholds.tolist() == two.thresholds.tolist()
    assert one.own.tolist() == two.own.tolist()


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize("temperature", [1e-9, 8000.0, 1e9])
def test_the_result_is_the_best_state_seen_and_its_gain_a_full_recount(
    pattern: Pattern, temperature: float
) -> None:
    groups = random_groups(pattern)
    start = groups.members.copy()
    best = start.copy()
    channel_permutation._swap_channels(groups, best, limits(temperature), 9, 12, np.uint64(7))
    before = kept(groups.weights, start, pattern)
    assert groups.tally[0] == kept(groups.weights, groups.members, pattern) - before
    assert groups.tally[1] == kept(groups.weights, best, pattern) - before >= max(0, groups.tally[0])
    assert groups.tally[2] > 0
    for members in (best, groups.members):
        assert sorted(members.ravel().tolist()) == list(range(groups.weights.shape[0]))
    for group, members in enumerate(groups.members.tolist()):
        assert all(groups.group_of[item] == group for item in members)


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_a_table_of_sums_changes_nothing(pattern: Pattern) -> None:
    counted, tabled = random_groups(pattern), random_groups(pattern)
    tabled = tabled._replace(sums=np.zeros((9, 9), np.int32), transposed=np.zeros((9, 9), np.int32))
    channel_permutation._tabulate_all(tabled)
    bests = [counted.members.copy(), tabled.members.copy()]
    states = [
        channel_permutation._swap_channels(groups, best, limits(8000.0), 9, 12, np.uint64(5))
        for groups, best in zip((counted, tabled), bests, strict=True)
    ]
    assert states[0] == states[1]
    assert counted.members.tolist() == tabled.members.tolist()
    assert bests[0].tolist() == bests[1].tolist()
    assert counted.tally.tolist() == tabled.tally.tolist() and counted.tally[2] > 3
    kept_up = tabled.sums.copy()
    channel_permutation._tabulate_all(tabled)
    assert kept_up.tolist() == tabled.sums.tolist() == tabled.transposed.T.tolist()


def test_the_best_state_is_not_the_last_one_when_it_is_hot() -> None:
    last_is_worse = 0
    for seed in range(8):
        groups = random_groups(Pattern(2, 4), seed=seed)
        channel_permutation._swap_channels(
            groups, groups.members.copy(), limits(1e9), 9, 9, np.uint64(seed + 1)
        )
        last_is_worse += groups.tally[0] < groups.tally[1]
    assert last_is_worse >= 5


def test_the_best_state_survives_several_calls() -> None:
    groups = random_groups(Pattern(2, 4))
    start, best = groups.members.copy(), groups.members.copy()
    before = kept(groups.weights, start, Pattern(2, 4))
    state, gains = np.uint64(3), []
    for _ in range(4):
        state = channel_permutation._swap_channels(groups, best, limits(1e9), 9, 4, np.uint64(state))
        gains.append(int(groups.tally[1]))
        assert gains[-1] == kept(groups.weights, best, Pattern(2, 4)) - before
    assert gains == sorted(gains)


def test_the_inputs_that_fill_up_the_last_group_stay_there() -> None:
    groups = random_groups(Pattern(2, 4), inputs=5)
    channel_permutation._swap_channels(groups, groups.members.copy(), limits(1e9), 5, 30, np.uint64(1))
    assert {5, 6, 7} < set(groups.members[-1].tolist())


def test_what_gains_nothing_is_not_swapped() -> None:
    groups = _groups_of(np.ones((3, 8)), Pattern(2, 4))
    channel_permutation._swap_channels(groups, groups.members.copy(), limits(1e9), 8, 5, np.uint64(1))
    assert groups.tally.tolist() == [0, 0, 0]


def test_sums_of_many_filters_do_not_overflow() -> None:
    groups = _groups_of(np.ones((9000, 5)), Pattern(1, 2))
    assert 2**27 < groups.own.max() < 2**channel_permutation.SUM_BITS
