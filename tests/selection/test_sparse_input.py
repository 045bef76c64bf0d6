"""Selection from weights of which some are zero already: the sparsity is met, whatever the units hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tightc.selection.options import SelectionOptions
from tightc.selection.select import Candidates, select
from tightc.selection.sparse_input import above_zeros, keep_nonzeros


def _sparse(shape: tuple[int, int], density: float, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < density, rng.uniform(0.1, 1, shape), 0.0)


def _left(saliencies: list[NDArray[np.float64]], sparsity: float, **options: Any) -> int:
    masks = select(
        [Candidates(saliency) for saliency in saliencies],
        SelectionOptions(sparsity=sparsity, **options),
        1 - sparsity,
    )
    return sum(
        int(np.count_nonzero(saliency[mask])) for mask, saliency in zip(masks, saliencies, strict=True)
    )


@given(
    seed=st.integers(0, 10_000), sparsity=st.sampled_from([0.7, 0.8, 0.9]), rows=st.sampled_from([2, 4, 8])
)
def test_segments_that_hold_zeros_meet_the_sparsity_to_within_a_segment(
    seed: int, sparsity: float, rows: int
) -> None:
    saliency = _sparse((16, 64), 0.4, seed)
    allowed = (1 - sparsity) * saliency.size
    assert allowed - rows < _left([saliency], sparsity, align=f"{rows}x8") <= allowed + 1e-9


@pytest.mark.parametrize(
    "options", [{"align": "8x8"}, {"align": "8x8", "scope": "layer"}, {"granularity": "filter"}]
)
def test_weights_that_are_sparse_enough_all_stay(options: dict[str, Any]) -> None:
    saliencies = [_sparse((16, 32), 0.2, 0), _sparse((8, 40), 0.2, 1)]
    whole = sum(int(np.count_nonzero(saliency)) for saliency in saliencies)
    assert _left(saliencies, 0.5, **options) == whole


def test_filters_that_hold_zeros_count_the_weights_in_them() -> None:
    saliencies = [_sparse((32, 64), 0.2, 0), _sparse((32, 64), 0.2, 1)]
    allowed = 0.1 * 2 * 32 * 64
    largest_filter = max(int(np.count_nonzero(row)) for saliency in saliencies for row in saliency)
    assert allowed - largest_filter < _left(saliencies, 0.9, granularity="filter") <= allowed


def test_where_no_zero_is_kept_the_first_choice_stands() -> None:
    asked = []

    def keep(fraction: float) -> list[NDArray[np.bool_]]:
        asked.append(fraction)
        return [np.array([[True, False]])]

    (mask,) = keep_nonzeros(keep, [np.array([[1.0, 0.0]])], 0.5)
    assert mask.tolist() == [[True, False]]
    assert asked == [0.5]


def test_only_the_saliency_of_a_zero_is_zero() -> None:
    found = above_zeros(np.array([[0.0, 0.0, 2.0, 3.0]]), np.array([[0.0, -1.0, 0.0, 1.0]]))
    assert found[0, 0] == found[0, 2] == 0
    assert 0 < found[0, 1] < 1e-300
    assert found[0, 3] == 3
