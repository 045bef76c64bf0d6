"""The constructive start of the search, before any annealing."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from packings import arrays, matrices
from tightc.permutation.methods import tight
from tightc.permutation.parts import Cut, beyond_fan_in, draft_tiles
from tightc.permutation.schedule import Schedule
from tightc.permutation.task import Task
from tightc.tiles.array import ArrayShape
from tightc.tiles.matrix import LayerMatrix
from tightc.tiles.packing import EMPTY


@settings(max_examples=80)
@given(matrices(), arrays(), st.sampled_from(["full", "even"]))
def test_drafts_hold_every_weight_once_in_the_fewest_passes(
    matrix: LayerMatrix, array: ArrayShape, cut: Cut
) -> None:
    filters, inputs = matrix.nonzeros()
    drafts = draft_tiles(filters, inputs, array, cut)
    assert len(drafts) == oracle.lower_bound(matrix.values, tuple(array))
    held = []
    for draft in drafts:
        assert draft.slots.shape[0] <= array.rows and draft.slots.shape[1] == len(draft.filters)
        assert draft.slots.shape[1] <= array.columns
        assert (draft.slots[0] != EMPTY).all()
        for column, filter_ in enumerate(draft.filters.tolist()):
            held += [(filter_, k) for k in draft.slots[:, column].tolist() if k != EMPTY]
    assert sorted(held) == list(zip(filters.tolist(), inputs.tolist(), strict=True))


@settings(max_examples=80)
@given(matrices(), arrays(), st.sampled_from(["full", "even"]))
def test_a_filter_takes_no_more_columns_than_it_needs(
    matrix: LayerMatrix, array: ArrayShape, cut: Cut
) -> None:
    drafts = draft_tiles(*matrix.nonzeros(), array, cut)
    columns = np.bincount(
        np.concatenate([np.empty(0, np.int64), *(d.filters for d in drafts)]).astype(int),
        minlength=matrix.filters,
    )
    assert columns.tolist() == [ceil(n / array.rows) for n in matrix.filter_sizes().tolist()]


@pytest.mark.parametrize(("cut", "lengths"), [("full", [4, 4, 1]), ("even", [3, 3, 3])])
def test_full_parts_leave_a_remainder_and_even_ones_none(cut: Cut, lengths: list[int]) -> None:
    filters, inputs = np.zeros(9, np.int32), np.arange(9, dtype=np.int32)
    (draft,) = draft_tiles(filters, inputs, ArrayShape(4, 4), cut)
    assert (draft.slots != EMPTY).sum(axis=0).tolist() == lengths


def test_even_parts_serve_where_full_ones_need_more_passes() -> None:
    rng = np.random.default_rng(0)
    spread = np.exp(0.4 * rng.normal(size=(256, 1))) * np.exp(0.4 * rng.normal(size=(1, 2304)))
    magnitudes = np.abs(rng.normal(size=(256, 2304)) * spread)
    matrix = LayerMatrix(
        np.where(magnitudes > np.quantile(magnitudes, 0.95), magnitudes, 0).astype(np.float32)
    )
    task = Task(ArrayShape(32, 32), 14, Schedule(moves_per_weight=300), np.random.SeedSequence(0))
    bound = oracle.lower_bound(matrix.values, (32, 32))
    assert len(tight._search(matrix, task, "full", tight._Share(), 10**9)) > bound
    assert len(tight.pack(matrix, task).tiles) == bound


@settings(max_examples=80)
@given(st.integers(0, 2**20), st.integers(1, 5))
def test_lanes_keep_the_inputs_that_are_used_most(seed: int, fan_in: int) -> None:
    slots = np.random.default_rng(seed).integers(-1, 6, (4, 7)).astype(np.int32)
    leaving = beyond_fan_in(slots, fan_in)
    for lane, gone in zip(slots.tolist(), leaving.tolist(), strict=True):
        carried = set(lane) - {EMPTY}
        kept = {k for k, left in zip(lane, gone, strict=True) if not left} - {EMPTY}
        dropped = {k for k, left in zip(lane, gone, strict=True) if left}
        assert not kept & dropped and EMPTY not in dropped
        assert len(kept) == min(fan_in, len(carried))
        if dropped:
            assert min(lane.count(k) for k in kept) >= max(lane.count(k) for k in dropped)
