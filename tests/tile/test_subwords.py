"""Digits of whole numbers, against plain Python for every number there is."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tightc.tile.matrix import LayerMatrix
from tightc.tile.subwords import counts, join, nearest, nth_subword, places, split, subwords_of, within

EVERY = np.arange(-127, 128).astype(np.int8)
BITS = pytest.mark.parametrize("bits", [2, 4])


def subwords_of_value(value: int, bits: int) -> list[int]:
    """Most significant first, by division."""
    found, left = [], abs(value)
    for _ in range(8 // bits):
        found.append(left % 2**bits)
        left //= 2**bits
    return found[::-1]


@BITS
def test_every_whole_number_splits_and_is_joined_again(bits: int) -> None:
    subwords = split(EVERY, bits)
    assert subwords.dtype == np.int8 and subwords.shape == (255, subwords_of(bits))
    for value, found in zip(EVERY.tolist(), subwords.tolist(), strict=True):
        sign = -1 if value < 0 else 1
        assert found == [sign * subword for subword in subwords_of_value(value, bits)]
    assert np.array_equal(join(subwords, bits), EVERY)
    assert counts(EVERY, bits).tolist() == [
        sum(d > 0 for d in subwords_of_value(v, bits)) for v in EVERY.tolist()
    ]


@BITS
def test_minus_128_is_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="-128 has no sign and magnitude in eight bits"):
        split(np.array([3, -128], np.int8), bits)


@BITS
def test_the_nearest_with_few_subwords_is_the_nearest_of_all(bits: int) -> None:
    table = nearest(bits)
    for most, row in enumerate(table.tolist()):
        allowed = [v for v in range(128) if sum(d > 0 for d in subwords_of_value(v, bits)) <= most]
        for magnitude, found in enumerate(row):
            assert found in allowed
            assert abs(found - magnitude) == min(abs(value - magnitude) for value in allowed)
    assert table[-1].tolist() == list(range(128)) and not table[0].any()


@BITS
def test_the_nearest_within_a_set_of_subwords_is_the_nearest_of_all(bits: int) -> None:
    for members, row in enumerate(within(bits).tolist()):
        usable = [bool(members >> place & 1) for place in range(8 // bits)][::-1]
        allowed = [
            v
            for v in range(128)
            if all(u or not d for u, d in zip(usable, subwords_of_value(v, bits), strict=True))
        ]
        for magnitude, found in enumerate(row):
            assert found in allowed
            assert abs(found - magnitude) == min(abs(value - magnitude) for value in allowed)


@BITS
def test_the_places_of_a_number_are_the_least_set_that_keeps_it(bits: int) -> None:
    sets = places(EVERY, bits)
    for value, members in zip(np.abs(EVERY).tolist(), sets.tolist(), strict=True):
        assert within(bits)[members][value] == value
        assert all(
            within(bits)[members & ~(1 << p)][value] != value for p in range(8 // bits) if members >> p & 1
        )


@BITS
def test_subwords_are_numbered_from_the_most_significant(bits: int) -> None:
    for value, rank in product(EVERY.tolist(), range(8 // bits + 1)):
        subword, place = nth_subword(np.array([value], np.int8), np.array([rank]), bits)
        held = [(d, 8 // bits - 1 - i) for i, d in enumerate(subwords_of_value(value, bits)) if d]
        sign = -1 if value < 0 else 1
        assert subword[0] == (sign * held[rank][0] if rank < len(held) else 0)
        assert rank >= len(held) or place[0] == held[rank][1]


@BITS
@given(st.data())
def test_a_matrix_lists_each_subword_once_and_they_add_up(bits: int, data: st.DataObject) -> None:
    groups = data.draw(st.integers(1, 2))
    shape = (groups * data.draw(st.integers(1, 3)), data.draw(st.integers(1, 5)))
    values = data.draw(arrays(np.int8, shape, elements=st.integers(-127, 127)))
    matrix = LayerMatrix(values, groups, subword_bits=bits)
    filters, inputs = matrix.nonzeros()
    assert list(zip(filters.tolist(), inputs.tolist(), strict=True)) == sorted(
        zip(filters.tolist(), inputs.tolist(), strict=True)
    )
    order = np.random.default_rng(data.draw(st.integers(0, 99))).permutation(len(filters))
    filters, inputs = filters[order], inputs[order]
    held = matrix.weights(filters, inputs)
    assert (counts(held, bits) == 1).all() and held.dtype == np.int8
    total = np.zeros(shape, int)
    np.add.at(total, (filters, inputs - matrix.first_input(filters)), held)
    assert np.array_equal(total, values)
    assert matrix.filter_sizes().sum() == len(filters) == counts(values, bits).sum()
    subwords, at = matrix.subwords(filters, inputs)
    assert np.array_equal(subwords.astype(int) * 2 ** (bits * at), held)
