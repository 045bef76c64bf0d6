"""The filters of a tile: the swaps that are refused at a glance are those that a full count refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tightc.permutation.annealing.rng import _draw, _next, _pick, seed_state
from tightc.permutation.methods.tight.tile_by_tile import _change_above, _choose, _sum_of_largest, _values

WHOLE = 1 << 20


def values_by_hand(inside: np.ndarray, users: np.ndarray) -> list[int]:
    """The value of each input, in Python integers."""
    pairs = zip(inside.tolist(), users.tolist(), strict=True)
    return [count * count * WHOLE // max(user * user, 1) + count for count, user in pairs]


def by_full_counts(
    left: np.ndarray, columns: int, most: int, swaps: int, rng: np.uint64
) -> tuple[list[int], list[int], int]:
    """What `_choose` returns, where all values of every swap are sorted and added up."""
    users, candidates = left.sum(axis=0), np.flatnonzero(left.sum(axis=1)).tolist()
    for i in range(len(candidates) - 1):
        rng = np.uint64(_next(rng))
        j = i + _pick(np.uint64(_draw(rng)), len(candidates) - i)
        candidates[i], candidates[j] = candidates[j], candidates[i]

    def largest() -> int:
        return sum(sorted(values_by_hand(left[candidates[:columns]].sum(axis=0), users))[-most:])

    best = largest()
    for _ in range(swaps if len(candidates) > columns else 0):
        rng = np.uint64(_next(rng))
        bits = np.uint64(_draw(rng))
        one = _pick(bits, columns)
        other = columns + _pick(bits >> np.uint64(20), len(candidates) - columns)
        candidates[one], candidates[other] = candidates[other], candidates[one]
        if largest() >= best:
            best = largest()
        else:
            candidates[one], candidates[other] = candidates[other], candidates[one]
    inside = left[candidates[:columns]].sum(axis=0)
    values = values_by_hand(inside, users)
    order = sorted(range(len(values)), key=lambda i: -values[i])[:most]
    return sorted(candidates[:columns]), sorted(i for i in order if inside[i]), int(rng)


@pytest.mark.kernel
@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 20), st.integers(1, 6), st.integers(1, 24)
)
def test_the_choice_is_that_of_full_counts(
    seed: int, filters: int, inputs: int, columns: int, most: int
) -> None:
    random = np.random.default_rng(seed)
    left = (random.random((filters, inputs)) < 0.4) * random.integers(1, 3, (filters, inputs))
    rng = seed_state(np.random.SeedSequence(seed))
    users, sizes = left.sum(axis=0), left.sum(axis=1)
    expected = by_full_counts(left, columns, most, 40, np.uint64(rng))
    found = _choose(left, columns, most, users=users, sizes=sizes, swaps=40, rng=np.uint64(rng))
    assert (found[0].tolist(), found[1].tolist(), int(found[2])) == expected


@pytest.mark.kernel
@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 15), st.integers(1, 18))
def test_the_sum_of_the_largest_rises_by_no_more(seed: int, inputs: int, most: int) -> None:
    random = np.random.default_rng(seed)
    leaving, entering, others = (random.integers(0, 3, inputs) for _ in range(3))
    inside, users = leaving + others, leaving + others + entering + random.integers(0, 3, inputs)
    before, level = _sum_of_largest(_values(inside, users), most)
    assert before == sum(sorted(values_by_hand(inside, users))[-most:])
    change = _change_above(
        level, _values(inside, users), inside, users=users, leaving=leaving, entering=entering
    )
    after = sum(sorted(values_by_hand(inside - leaving + entering, users))[-most:])
    assert after - before <= change
