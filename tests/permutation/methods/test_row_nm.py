"""Row-wise N:M against plain loops that try every N."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.packings import arrays, matrices, packed_layer
from tightc.permutation.methods.filter_blocks import GroupedInputs
from tightc.permutation.methods.row_nm import fewest_kept
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix

SIZES = st.sampled_from([1, 2, 3, 4, 8, 32])


def group_sizes(row: np.ndarray, size: int) -> list[int]:
    """The non-zeros of one filter in every `size` inputs."""
    return [int(np.count_nonzero(row[first : first + size])) for first in range(0, len(row), size)]


def smallest_n(row: np.ndarray, size: int) -> int:
    """The first N of 0, 1, 2, ... of which no group has more."""
    return next(n for n in range(size + 1) if all(found <= n for found in group_sizes(row, size)))


@settings(max_examples=100)
@given(matrices(), SIZES)
def test_the_n_of_a_filter_is_the_first_that_holds_it(matrix: LayerMatrix, size: int) -> None:
    found = fewest_kept(GroupedInputs.of(matrix.values != 0, size).counts)
    assert found.tolist() == [smallest_n(row, size) for row in matrix.values]


@settings(max_examples=100)
@given(matrices(), arrays(), SIZES)
def test_filters_of_similar_n_share_tiles(matrix: LayerMatrix, array: ArrayShape, size: int) -> None:
    if matrix.groups > 1:
        return  # groups share tiles
    needed = [smallest_n(row, size) for row in matrix.values]
    order = sorted((f for f in range(matrix.filters) if needed[f]), key=lambda f: -needed[f])
    passes = 0
    for first in range(0, len(order), array.columns):
        block = [group_sizes(matrix.values[f], size) for f in order[first : first + array.columns]]
        lanes = sum(max(column) for column in zip(*block, strict=True))
        assert lanes <= needed[order[first]] * len(block[0])
        passes += ceil(lanes / array.rows)
    assert len(packed_layer(matrix, "row-nm", array, size).tiles) == passes


@pytest.mark.parametrize(("size", "passes"), [(1, 4), (2, 2), (4, 1), (8, 1)])
def test_one_weight_of_every_four_inputs(size: int, passes: int) -> None:
    """Four filters of 16 inputs on 4x4, filter f with the f-th of every four: N is 1 up to M = 4, and 2 for 8."""
    values = np.zeros((4, 16), np.float32)
    for f in range(4):
        values[f, f::4] = 1
    assert len(packed_layer(LayerMatrix(values), "row-nm", ArrayShape(4, 4), size).tiles) == passes
