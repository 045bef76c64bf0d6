"""The search for the fewest passes: it rises until filters fit, and closes in from above; each number is tried once."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.packings import PackingCase
from tightc.permutation.methods.tight import search
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix

MATRIX = LayerMatrix(np.ones((4, 4), np.float32))


def tried_passes(
    excess: Callable[[int], int], takes: Callable[[int], float], first: int, apart: int, ordinary: int
) -> tuple[list[int], float]:
    """(the numbers of passes that were tried, the fewest found).

    `excess`: inputs beyond the fan-in for so many passes. `takes`: passes that the packing then has.
    """
    case = PackingCase(ArrayShape(4, 4), 2)
    one = search.TightSearch(MATRIX, case.problem(MATRIX), case.settings, case.context)
    tried: list[int] = []

    def balanced(passes: int) -> int:
        tried.append(passes)
        assert len(tried) <= 1000, "it does not end"
        one._fewest = min(one._fewest, takes(passes))
        return excess(passes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one, "_try_balanced", balanced)
        patch.setattr(one, "_ordinary", ordinary)
        one._search_passes(first, apart)
    return tried, one._fewest


SIZES = st.integers(1, 200)


@settings(max_examples=300)
@given(SIZES, SIZES, SIZES, st.integers(0, 400), st.integers(1, 50))
def test_where_more_passes_help_it_finds_the_fewest(
    first: int, enough: int, apart: int, above: int, slope: int
) -> None:
    tried, fewest = tried_passes(
        lambda passes: max(0, enough - passes) * slope,
        lambda passes: passes if passes >= enough else math.inf,
        first,
        apart,
        ordinary=first + above,
    )
    assert len(tried) == len(set(tried))
    assert all(first <= passes < first + above for passes in tried)
    if max(first, enough) < first + above:
        assert fewest == max(first, enough)
    else:
        assert fewest == math.inf


@settings(max_examples=300)
@given(SIZES, SIZES, st.integers(0, 60), SIZES, st.integers(1, 50))
def test_weights_that_are_inserted_count_as_fitting(
    first: int, enough: int, inserted: int, apart: int, slope: int
) -> None:
    """Where lanes have an excess that other tiles take in, fewer passes are worth a try."""
    tried, fewest = tried_passes(
        lambda passes: max(0, enough + inserted - passes) * slope,
        lambda passes: passes if passes >= enough else enough + inserted,
        first,
        apart,
        ordinary=10_000,
    )
    assert len(tried) == len(set(tried))
    assert fewest == max(first, enough)


@settings(max_examples=300)
@given(st.randoms(use_true_random=False), SIZES, SIZES, st.integers(0, 300))
def test_whatever_an_attempt_gives_it_ends_and_tries_no_number_twice(
    random: object, first: int, apart: int, above: int
) -> None:
    results: dict[int, tuple[int, float]] = {}

    def result(passes: int) -> tuple[int, float]:
        if passes not in results:
            excess = random.choice([0, 0, 1, 7, 300])  # type: ignore[attr-defined]
            more = random.choice([0, 1, 5, 80])  # type: ignore[attr-defined]
            results[passes] = excess, passes + more * bool(excess)
        return results[passes]

    tried, fewest = tried_passes(
        lambda passes: result(passes)[0], lambda passes: result(passes)[1], first, apart, first + above
    )
    assert len(tried) == len(set(tried)) == len(results)
    assert fewest == min((taken for _, taken in results.values()), default=math.inf)
    assert all(first <= passes < first + above for passes in tried)


def test_nothing_is_tried_where_as_few_passes_are_known() -> None:
    assert tried_passes(lambda _: 0, lambda passes: passes, 7, 9, ordinary=7) == ([], math.inf)
