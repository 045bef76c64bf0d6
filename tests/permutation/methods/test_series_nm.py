"""Series of N:M terms against every series there is."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.packings import arrays, matrices, packed_layer
from tightc.permutation.methods.filter_blocks import GroupedInputs
from tightc.permutation.methods.series_nm import best_terms
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix

SIZES = st.sampled_from([1, 2, 4, 8])


def every_series(total: int) -> Iterator[list[int]]:
    """All lists of numbers from 1 that add up to `total`."""
    if not total:
        yield []
    for first in range(1, total + 1):
        for rest in every_series(total - first):
            yield [first, *rest]


def passes_of(series: list[int], values: np.ndarray, size: int, array: ArrayShape) -> int:
    """The passes of a series: each term takes the next weights of every filter and group."""
    left = [[np.flatnonzero(row[i : i + size]).tolist() for i in range(0, len(row), size)] for row in values]
    passes = 0
    for kept in series:
        columns = [groups for groups in left if any(groups)]
        for first in range(0, len(columns), array.columns):
            block = columns[first : first + array.columns]
            lanes = sum(max(min(kept, len(g)) for g in groups) for groups in zip(*block, strict=True))
            passes += ceil(lanes / array.rows)
        left = [[group[kept:] for group in groups] for groups in left]
    assert not any(group for groups in left for group in groups)
    return passes


@settings(max_examples=100)
@given(matrices(), arrays(), SIZES)
def test_no_series_takes_fewer_passes_and_none_of_equal_passes_has_fewer_terms(
    matrix: LayerMatrix, array: ArrayShape, size: int
) -> None:
    values = matrix.values
    counts = GroupedInputs.of(values != 0, size).counts
    found = best_terms(counts, array)
    most = max(np.count_nonzero(row[i : i + size]) for row in values for i in range(0, len(row), size))
    costs = [(passes_of(series, values, size, array), len(series)) for series in every_series(int(most))]
    assert (passes_of(found, values, size, array), len(found)) == min(costs)


@settings(max_examples=60)
@given(matrices(), arrays(), SIZES)
def test_the_tiles_are_those_of_the_series(matrix: LayerMatrix, array: ArrayShape, size: int) -> None:
    if matrix.groups > 1:
        return  # groups share tiles
    series = best_terms(GroupedInputs.of(matrix.values != 0, size).counts, array)
    packing = packed_layer(matrix, "series-nm", array, size)
    assert len(packing.tiles) == passes_of(series, matrix.values, size, array)


def test_rare_full_groups_are_a_term_of_their_own() -> None:
    """Of 16 filters with one weight of every four inputs two have four of their first four: 1:4, then 3:4."""
    values = np.zeros((16, 16), np.float32)
    values[:, ::4] = 1
    values[[3, 11], :4] = 1
    array = ArrayShape(4, 8)
    counts = GroupedInputs.of(values != 0, 4).counts
    assert best_terms(counts, array) == [1, 3]
    assert len(packed_layer(LayerMatrix(values), "series-nm", array, 4).tiles) == 3
    assert passes_of([4], values, 4, array) == 4
