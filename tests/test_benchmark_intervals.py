"""The intervals of the benchmarks against published figures, and against loops over pairs."""

from __future__ import annotations

from statistics import fmean, variance

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.intervals import auc, auc_interval, wilson

# Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17, 1998, table I
PUBLISHED = {
    (81, 263): (0.2553, 0.3662),
    (15, 148): (0.0624, 0.1605),
    (0, 20): (0, 0.1611),
    (1, 29): (0.0061, 0.1718),
}


@pytest.mark.parametrize("counts", PUBLISHED)
def test_wilson_as_published(counts: tuple[int, int]) -> None:
    assert wilson(*counts) == pytest.approx(PUBLISHED[counts], abs=5e-5)


def by_pairs(ones: list[int], zeros: list[int]) -> tuple[float, float]:
    """The area, and its variance by the means of each sample's wins."""

    def win(one: int, zero: int) -> float:
        return 1.0 if one > zero else 0.5 if one == zero else 0.0

    first = [fmean(win(one, zero) for zero in zeros) for one in ones]
    second = [fmean(win(one, zero) for one in ones) for zero in zeros]
    return fmean(first), variance(first) / len(ones) + variance(second) / len(zeros)


SCORES = st.lists(st.integers(-4, 4), min_size=2, max_size=8)


@given(SCORES, SCORES)
def test_the_area_and_its_interval_against_loops(ones: list[int], zeros: list[int]) -> None:
    scores = np.float64([*zeros, *ones])
    labels = np.int64([0] * len(zeros) + [1] * len(ones))
    area, spread = by_pairs(ones, zeros)
    assert auc(scores, labels) == pytest.approx(area)
    low, high = auc_interval(scores, labels)
    assert low == pytest.approx(max(0, area - 1.96 * spread**0.5), abs=1e-4)
    assert high == pytest.approx(min(1, area + 1.96 * spread**0.5), abs=1e-4)


def test_the_order_of_the_samples_does_not_matter() -> None:
    scores, labels = np.float64([3, 1, 2, 5]), np.int64([1, 0, 1, 0])
    assert auc(scores, labels) == 0.5
    assert auc(scores[::-1], labels[::-1]) == 0.5
