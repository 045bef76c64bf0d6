"""Relief of crowded groups: everyone keeps columns enough, and only single filters read more than there is room."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tightc.permutation.methods.tight.rebalance import Readers, relieve


def readers_at_random(seed: int, filters: int, inputs: int = 20) -> Readers:
    rng = np.random.default_rng(seed)
    read = [np.sort(rng.choice(inputs, rng.integers(1, inputs + 1), replace=False)) for _ in range(filters)]
    starts = np.cumsum([0, *map(len, read)]).astype(np.int32)
    return Readers(starts, np.concatenate(read).astype(np.int32), rng.integers(1, 7, filters))


@settings(max_examples=200)
@given(
    st.integers(0, 2**20), st.integers(1, 14), st.floats(0, 1), st.integers(1, 5), st.sampled_from([0.5, 3, 8, 99])
)  # fmt: skip
def test_groups_hold_the_members_and_columns_that_donors_can_spare(
    seed: int, filters: int, share: float, width: int, room: float
) -> None:
    readers = readers_at_random(seed, filters)
    order = np.random.default_rng(seed).permutation(filters).tolist()
    members, donors = order[: round(share * filters)], order[round(share * filters) :]
    groups = relieve(readers, members, donors, width, room)
    given: Counter[int] = Counter()
    held = []
    for group in groups:
        own = [f for f, _ in group if f in members]
        tall = max(int(readers.columns[f]) for f in own)
        held += own
        assert 1 <= len(group) <= width
        assert len({f for f, _ in group}) == len(group)
        read = {int(k) for f in own for k in readers.read(f)}
        assert len(own) == 1 or len(read) <= room * tall
        for f, columns in group:
            if f in own:
                assert columns == readers.columns[f]
                continue
            assert columns == tall
            assert len(readers.read(f)) >= 3 * np.mean([len(readers.read(g)) for g in own])
            given[f] += columns
    assert held == members
    assert all(given[f] <= 0.5 * readers.columns[f] for f in donors)
