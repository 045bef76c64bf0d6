"""The tensor of a layout: its numbers come back, in the smallest type that holds them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tightc.model.file_format.rebuild import (
    WeightLayout,
    decode_layout,
    encode_layout,
    rebuild_name,
    subword_index_bits,
    zero_repeats,
)
from tightc.tile.store import BitStream

NUMBERS = st.integers(0, 2**31 - 1)
CONTENT = np.zeros(1, np.uint8)


@given(
    st.tuples(NUMBERS, NUMBERS, NUMBERS),
    st.tuples(NUMBERS, NUMBERS, NUMBERS),
    st.lists(st.tuples(NUMBERS, NUMBERS, st.integers(1, 31)), max_size=6),
    st.lists(NUMBERS, max_size=4),
)
def test_a_layout_comes_back(
    strides: tuple[int, int, int],
    grid: tuple[int, int, int],
    sections: list[tuple[int, int, int]],
    shape: list[int],
) -> None:
    layout, stream = WeightLayout(*strides, tuple(shape)), BitStream(CONTENT, grid, tuple(sections))
    numbers = encode_layout(layout, stream)
    found, back = decode_layout(numbers, CONTENT, len(sections))
    assert (found, back.grid, back.sections) == (layout, grid, tuple(sections))
    with pytest.raises(ValueError, match="the layout is too short"):
        decode_layout(numbers[: 6 + 3 * len(sections) - 1], CONTENT, len(sections))


@pytest.mark.parametrize(
    ("largest", "dtype"), [(0, np.uint16), (2**16 - 1, np.uint16), (2**16, np.int32), (2**31 - 1, np.int32)]
)
def test_the_type_of_a_layout_holds_its_largest_number(largest: int, dtype: type) -> None:
    numbers = encode_layout(WeightLayout(1, 2, 3, (largest,)), BitStream(CONTENT, (0, 0, 0), ()))
    assert numbers.dtype == dtype
    assert numbers.tolist() == [1, 2, 3, 0, 0, 0, largest]


@pytest.mark.parametrize(
    ("bits", "zero", "name"),
    [
        (4, 0, "Rebuild4BitDigits"),
        (2, None, "Rebuild2BitDigits"),
        (None, None, "RebuildInt8Zeros"),
        (None, 0, "RebuildInt8"),
        (None, 7, "RebuildInt8Zero7"),
        (None, -7, "RebuildInt8ZeroMinus7"),
    ],
)
def test_the_name_says_what_is_rebuilt(bits: int | None, zero: int | None, name: str) -> None:
    assert rebuild_name(np.dtype(np.int8), bits, zero) == name


@pytest.mark.parametrize(
    ("zeros", "shape", "repeats"), [((1, 4), (8, 4), (8, 1)), ((2, 2), (4, 6), (2, 3)), ((), (), ())]
)
def test_zeros_are_repeated_to_the_weight(
    zeros: tuple[int, ...], shape: tuple[int, ...], repeats: tuple[int, ...]
) -> None:
    assert zero_repeats(zeros, shape) == repeats
    assert np.tile(np.zeros(zeros), repeats).shape == shape


@pytest.mark.parametrize(("zeros", "shape"), [((3,), (8,)), ((2, 3), (4, 4)), ((2,), (2, 2)), ((2, 2), (2,))])
def test_zeros_that_do_not_divide_the_weight_are_refused(
    zeros: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="zero points of shape"):
        zero_repeats(zeros, shape)


@pytest.mark.parametrize(("bits", "index"), [(4, 1), (2, 2)])
def test_a_place_among_the_subwords_of_a_byte(bits: int, index: int) -> None:
    assert 2**index == 8 // bits
    assert subword_index_bits(bits) == index


@pytest.mark.parametrize(
    ("numbers", "index", "sentence"),
    [
        (np.zeros(9, np.float32), CONTENT, "expected a list of integers as layout, got float32 of shape"),
        (np.zeros((3, 3), np.int32), CONTENT, "expected a list of integers as layout, got int32 of shape"),
        (np.zeros(9, np.int32), np.zeros(1, np.int8), "expected a list of bytes as index, got int8 of shape"),
        (
            np.zeros(9, np.int32),
            np.zeros((1, 1), np.uint8),
            "expected a list of bytes as index, got uint8 of",
        ),
    ],
)
def test_tensors_of_another_type_or_rank_are_refused(
    numbers: np.ndarray, index: np.ndarray, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        decode_layout(numbers, index, 1)
