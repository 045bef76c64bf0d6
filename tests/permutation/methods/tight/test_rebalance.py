"""Rebalancing: every filter keeps enough columns, and only single filters read more than there is room for."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tightc.permutation.methods.tight.filter_set import FilterSet
from tightc.permutation.methods.tight.rebalance import rebalance


def filters_at_random(seed: int, filters: int, inputs: int = 20) -> tuple[FilterSet, np.ndarray]:
    """Filters, and how many columns each takes."""
    rng = np.random.default_rng(seed)
    read = [np.sort(rng.choice(inputs, rng.integers(1, inputs + 1), replace=False)) for _ in range(filters)]
    starts = np.cumsum([0, *map(len, read)]).astype(np.int32)
    found = FilterSet(np.arange(filters), np.diff(starts), starts, np.concatenate(read).astype(np.int32))
    return found, rng.integers(1, 7, filters)


@settings(max_examples=200)
@given(
    st.integers(0, 2**20), st.integers(1, 14), st.floats(0, 1), st.integers(1, 5), st.sampled_from([0.5, 3, 8, 99])
)  # fmt: skip
def test_groups_hold_the_members_and_columns_that_donors_can_spare(
    seed: int, filters: int, share: float, width: int, room: float
) -> None:
    readers, columns_of = filters_at_random(seed, filters)
    order = np.random.default_rng(seed).permutation(filters).tolist()
    members, donors = order[: round(share * filters)], order[round(share * filters) :]
    groups = rebalance(readers, columns_of, members, donors, width=width, room=room)
    given: Counter[int] = Counter()
    held = []
    for group in groups:
        own = [f for f, _ in group if f in members]
        tall = max(int(columns_of[f]) for f in own)
        held += own
        assert 1 <= len(group) <= width
        assert len({f for f, _ in group}) == len(group)
        read = {int(k) for f in own for k in readers.read(f)}
        assert len(own) == 1 or len(read) <= room * tall
        for f, columns in group:
            if f in own:
                assert columns == columns_of[f]
                continue
            assert columns == tall
            assert len(readers.read(f)) >= 3 * np.mean([len(readers.read(g)) for g in own])
            given[f] += columns
    assert held == members
    assert all(given[f] <= 0.5 * columns_of[f] for f in donors)
