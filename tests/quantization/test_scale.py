"""Int8 scales, against every scale tried in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tightc.quantization.scale import best_scales, to_int8

ROWS = arrays(
    np.float64, st.tuples(st.integers(1, 3), st.integers(1, 12)), elements=st.floats(-4, 4, width=32)
)


def error(row: list[float], step: float) -> float:
    """Square error after rounding to the nearest of -127 to 127 steps."""
    return sum((max(-127, min(127, round(value / step))) * step - value) ** 2 for value in row)


@given(ROWS)
def test_a_row_keeps_its_zeros_and_signs_and_never_reaches_minus_128(rows: np.ndarray) -> None:
    scales = best_scales(rows)
    integers = to_int8(rows, scales)
    assert integers.dtype == np.int8 and scales.dtype == np.float32 and (scales > 0).all()
    assert (integers[rows == 0] == 0).all() and (np.abs(integers.astype(int)) <= 127).all()
    assert (integers * np.sign(rows) >= 0).all()


@given(ROWS)
def test_the_error_is_at_most_that_of_the_full_range(rows: np.ndarray) -> None:
    for row, step in zip(rows.tolist(), best_scales(rows).tolist(), strict=True):
        largest = max(map(abs, row))
        if largest > 1e-3:
            assert error(row, step) <= error(row, float(np.float32(largest / 127))) * (1 + 1e-6)


def test_a_scale_that_would_underflow_is_one() -> None:
    rows = np.array([[1e-44, -2e-45], [3.0, 1e-44]])
    scales = best_scales(rows)
    assert scales[0] == 1 and scales[1] > 0
    assert to_int8(rows, scales).tolist() == [[0, 0], [127, 0]]


@pytest.mark.parametrize("seed", range(5))
def test_no_other_scale_has_a_smaller_error(seed: int) -> None:
    row = np.random.default_rng(seed).standard_t(3, size=600)
    (step,) = best_scales(row[None])
    largest = np.abs(row).max()
    steps = [largest / 127 * thousandths / 1000 for thousandths in range(500, 1001)]
    assert error(row.tolist(), float(step)) <= 1.02 * min(error(row.tolist(), other) for other in steps)


def test_a_single_outlier_is_clipped_if_that_is_better() -> None:
    row = np.concatenate([np.random.default_rng(0).normal(size=40_000), [12.0]])[None]
    (step,) = best_scales(row)
    assert 127 * step < 11
    assert error(row[0].tolist(), float(step)) < 0.9 * error(row[0].tolist(), 12 / 127)
