"""The strict reader of JSON in metadata: what it takes is what the json module takes, within bounds."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tightc.model.onnx_proto.metadata import integer_of, integers_of, read_json, text_of

NUMBERS = st.integers(-(10**39), 10**39) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(VALUES, st.booleans())
def test_what_tightc_may_write_comes_back(value: Any, escaped: bool) -> None:
    text = json.dumps(value, ensure_ascii=escaped)
    if depth(value) <= 32:
        assert read_json(text) == value


@given(st.text(st.sampled_from('[]{}",:\\0123456789eE+-.truefalsnINinity \n')))
def test_any_text_is_a_value_or_a_sentence(text: str) -> None:
    try:
        value = read_json(text)
    except ValueError as fault:
        assert str(fault).startswith("expected ") and ", got " in str(fault)
    else:
        assert value == json.loads(text)


@pytest.mark.parametrize("brackets", ["[]", '{"a":}'])
def test_the_depth_is_bounded_on_purpose(brackets: str) -> None:
    half = len(brackets) - 1
    for levels in (32, 33, 100_000):
        text = brackets[:half] * levels + "1" + brackets[half:] * levels
        if levels == 32:
            assert depth(read_json(text)) == 32
        else:
            with pytest.raises(ValueError, match="expected at most 32 nested lists and objects, got more"):
                read_json(text)


def test_brackets_in_text_are_no_depth() -> None:
    value = ["[" * 100, 'a"[[' * 50, "\\" * 3 + "{" * 100]
    assert read_json(json.dumps(value)) == value


def test_depth_is_counted_over_long_texts() -> None:
    assert read_json(json.dumps([[1]] * 600_000)) == [[1]] * 600_000


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 41, "9" * 5000])
def test_numbers_are_finite_and_short(number: str) -> None:
    with pytest.raises(
        ValueError, match=rf"expected a finite number of at most 40 digits, got {number[:40]}"
    ):
        read_json(f'{{"fan_in": {number}}}')


def test_bytes_are_no_text() -> None:
    with pytest.raises(ValueError, match="expected UTF-8, got other bytes"):
        read_json(b"\xff")


@pytest.mark.parametrize("value", [True, False, 1.0, "4", None, -1, 2**31, [1], math.pi])
def test_an_integer_is_an_integer(value: Any) -> None:
    with pytest.raises(ValueError, match="expected an integer from 0 to 2147483647 as fan_in, got "):
        integer_of({"fan_in": value}, "fan_in")


def test_what_is_there_is_given() -> None:
    record = {"fan_in": 4, "method": "tight"}
    assert integer_of(record, "fan_in", 4, 4) == 4
    assert text_of(record, "method") == "tight"
    assert integers_of([1, 2, 3], 3, "grid") == (1, 2, 3)


@pytest.mark.parametrize("record", [{}, 3, None, ["fan_in"]])
def test_what_is_missing_is_named(record: Any) -> None:
    with pytest.raises(ValueError, match=r"expected (fan_in|an object with fan_in), got"):
        integer_of(record, "fan_in")
    with pytest.raises(ValueError, match=r"expected (an object with method, got|text as method, got 3)"):
        text_of({**record, "method": 3} if isinstance(record, dict) else record, "method")


@pytest.mark.parametrize(
    "values", [None, 3, [1, 2], [1, 2, 3, 4], [1, 2, -1], [1, 2, True], [1, 2, 2**62], "123"]
)
def test_a_list_has_so_many_integers(values: Any) -> None:
    with pytest.raises(ValueError, match="expected 3 integers from 0 as grid, got "):
        integers_of(values, 3, "grid")


def test_long_values_are_cut_in_messages() -> None:
    with pytest.raises(ValueError) as caught:
        integer_of({"a": "x" * 10**6}, "a")
    assert len(str(caught.value)) < 150
