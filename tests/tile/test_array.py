"""The shape of an array: its text, its cycles and what fits on it, against plain loops."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.packings import arrays
from tightc.errors import OptionError
from tightc.tile.array import LARGEST, ArrayShape

SMALL = st.integers(1, 9)


@pytest.mark.parametrize("text", ["1x1", "32x16", f"{LARGEST}x1", f"1x{LARGEST}"])
def test_a_text_comes_back(text: str) -> None:
    assert str(ArrayShape.parse(text)) == text
    assert ArrayShape.parse(f" {text.upper()} ") == ArrayShape.parse(text)


@pytest.mark.parametrize("text", ["0x1", "1x0", f"{LARGEST + 1}x1", f"1x{LARGEST + 1}", "4", "4x", "-1x4", 4])
def test_sides_beyond_the_limits_are_refused(text: object) -> None:
    with pytest.raises(OptionError, match=f"expected an array as ROWSxCOLUMNS, such as 32x32, got {text!r}"):
        ArrayShape.parse(text)


@given(SMALL, SMALL, st.integers(1, 20))
def test_a_pass_ends_with_the_last_sum_of_the_last_column(rows: int, columns: int, steps: int) -> None:
    loaded = rows  # a row of weights a cycle
    # vector v enters row r in cycle v + r after that, and moves a column a cycle; sums move a row a cycle
    last = max(v + r + c for v in range(steps) for r in range(rows) for c in range(columns))
    assert ArrayShape(rows, columns).pass_cycles(steps) == loaded + last + 1


@given(arrays(), SMALL, SMALL)
def test_replicas_stand_on_the_diagonal(array: ArrayShape, lanes: int, columns: int) -> None:
    copies = 0
    while (copies + 1) * lanes <= array.rows and (copies + 1) * columns <= array.columns:
        copies += 1
    assert array.replicas(lanes, columns) == copies


@pytest.mark.parametrize(
    ("columns", "subwords", "words"), [(8, 2, 4), (9, 4, 2), (3, 4, 1), (1, 2, 1), (5, 1, 5)]
)
def test_words_take_several_columns_but_one_always_fits(columns: int, subwords: int, words: int) -> None:
    assert ArrayShape(7, columns).of_words(subwords) == ArrayShape(7, words)
