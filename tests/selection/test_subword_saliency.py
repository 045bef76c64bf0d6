"""Subword saliency, against every way to keep some subwords, tried in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tightc.selection.subwords import subword_saliency, with_subwords
from tightc.tile.subwords import counts, nearest

WEIGHTS = arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 4)), elements=st.floats(-3, 3))
BITS = pytest.mark.parametrize("bits", [2, 4])


def least(value: float, step: float, most: int, bits: int) -> float:
    """The least square error with at most so many subwords, after rounding to int8."""
    integer = min(127, round(abs(value) / step))
    return float((abs(value) - step * nearest(bits)[most, integer]) ** 2)


@BITS
@given(WEIGHTS)
def test_saliencies_fall_and_add_up_to_the_reduced_errors(bits: int, weights: np.ndarray) -> None:
    scale = np.linspace(0.01, 0.03, len(weights))
    saliency = subword_saliency(weights, scale, bits).reshape(*weights.shape, -1)
    assert (np.diff(saliency, axis=2) <= 1e-12).all() and (saliency >= -1e-12).all()
    for (f, k), value in np.ndenumerate(weights):
        errors = [least(value, scale[f], most, bits) for most in range(8 // bits + 1)]
        reduced = np.cumsum(saliency[f, k])
        assert reduced[-1] == pytest.approx(errors[0] - errors[-1], abs=1e-12)
        for most, found in enumerate(reduced, 1):
            assert found >= errors[0] - errors[most] - 1e-12  # a majorant of the reduced error
        if bits == 4:
            assert reduced[0] == pytest.approx(errors[0] - errors[1], abs=1e-12)


@BITS
@given(st.data())
def test_a_weight_gets_the_nearest_value_of_as_many_subwords_as_are_kept(
    bits: int, data: st.DataObject
) -> None:
    integers = data.draw(arrays(np.int8, (2, 3), elements=st.integers(-127, 127)))
    kept = data.draw(arrays(bool, (2, 3 * (8 // bits))))
    left = with_subwords(integers, kept, bits)
    for (f, k), value in np.ndenumerate(integers):
        many = int(kept[f].reshape(3, -1)[k].sum())
        assert counts(left[f : f + 1, k], bits)[0] <= many
        assert abs(int(left[f, k])) == nearest(bits)[many, abs(int(value))]
        assert left[f, k] == 0 or (left[f, k] > 0) == (value > 0)


def test_a_single_scale_serves_all_filters() -> None:
    weights = np.array([[0.5, -1.0], [0.25, 2.0]])
    one, each = (subword_saliency(weights, np.full(n, 0.02), 4) for n in (1, 2))
    assert np.array_equal(one, each)
