"""The layer matrix and its subwords against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.packings import matrices
from tightc.tile.matrix import LayerMatrix, _ranks, scaled

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=20)


@given(PAIRS)
def test_ranks_count_the_pairs_before(pairs: list[tuple[int, int]]) -> None:
    filters = np.array([one for one, _ in pairs], np.int32)
    inputs = np.array([other for _, other in pairs], np.int32)
    expected = [pairs[:index].count(pair) for index, pair in enumerate(pairs)]
    assert _ranks(filters, inputs).tolist() == expected


@given(matrices())
def test_nonzeros_are_those_of_the_block_diagonal_matrix(matrix: LayerMatrix) -> None:
    rows, columns = matrix.values.shape
    of_group = rows // matrix.groups
    expected = [
        (f, f // of_group * columns + k) for f in range(rows) for k in range(columns) if matrix.values[f, k]
    ]
    filters, inputs = matrix.nonzeros()
    assert list(zip(filters.tolist(), inputs.tolist(), strict=True)) == expected
    assert matrix.weights(filters, inputs).tolist() == [float(v) for v in matrix.values.ravel() if v]
    assert matrix.filter_sizes().tolist() == [sum(bool(v) for v in row) for row in matrix.values.tolist()]


def test_each_subword_of_a_weight_is_a_slot_at_its_place_value() -> None:
    matrix = LayerMatrix(np.array([[0x23, -0x40, 0x05, 0]], np.int8), subword_bits=4)
    filters, inputs = matrix.nonzeros()
    assert inputs.tolist() == [0, 0, 1, 2]
    assert matrix.weights(filters, inputs).tolist() == [0x20, 0x03, -0x40, 0x05]
    subwords, places = matrix.subwords(filters, inputs)
    assert (subwords.tolist(), places.tolist()) == ([2, 3, -4, 5], [1, 0, 1, 0])
    assert matrix.slots().tolist() == [[2, 1, 1, 0]]


@pytest.mark.parametrize(
    ("dtype", "stored", "bits"), [(np.float32, 0, 32), (np.float16, 0, 16), (np.int8, 0, 8), (np.int16, 4, 4)]
)
def test_bits_are_those_of_the_stored_type(dtype: type, stored: int, bits: int) -> None:
    assert LayerMatrix(np.zeros((1, 1), dtype), weight_bits=stored).bits == bits


def test_scales_for_the_layer_a_filter_and_a_weight() -> None:
    values = np.array([[1, 2], [3, 4]], np.int8)
    assert scaled(values, None) is values
    assert scaled(values, np.array([2.0])).tolist() == [[2, 4], [6, 8]]
    assert scaled(values, np.array([2.0, 10.0])).tolist() == [[2, 4], [30, 40]]
    assert scaled(values, np.array([[1.0, 2.0], [3.0, 4.0]])).tolist() == [[1, 4], [9, 16]]
