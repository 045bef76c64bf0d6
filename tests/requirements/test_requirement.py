"""Requirements as text: what is read, what is refused, and when one holds."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tightc.errors import OptionError
from tightc.requirements.measures import COUNTED_BY_PERMUTE, MEASURES, MISSING, TITLES
from tightc.requirements.options import CheckOptions
from tightc.requirements.requirement import Requirement

OPERATORS = (">=", "<=", ">", "<", "==")
NUMBERS = st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False)


def refusal(text: str) -> str:
    with pytest.raises(OptionError) as caught:
        CheckOptions.of({"require": [text]})
    assert str(caught.value).startswith("--require: ")
    return str(caught.value).removeprefix("--require: ")


def fraction_holds(value: float, operator: str, limit: float) -> bool:
    """By exact arithmetic on the difference alone."""
    difference = Fraction(value) - Fraction(limit)
    return (
        (difference > 0 and ">" in operator)
        or (difference < 0 and "<" in operator)
        or (difference == 0 and "=" in operator)
    )


@given(
    value=NUMBERS, operator=st.sampled_from(OPERATORS), limit=NUMBERS, name=st.sampled_from(sorted(MEASURES))
)
def test_a_requirement_is_read_back_and_holds_as_arithmetic_says(
    value: float, operator: str, limit: float, name: str
) -> None:
    written = Requirement(name, operator, float(limit))
    read = Requirement.parse(written.text)
    assert read == written
    assert Requirement.parse(f"  {name} {operator}  {float(limit)!r} ") == written
    assert read.holds(value) == fraction_holds(value, operator, float(limit))
    assert read.holds(limit) == ("=" in operator) or Fraction(limit) != Fraction(float(limit))


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, "9", True, False, [], {}])
def test_what_is_missing_or_no_number_never_holds(value: object, operator: str) -> None:
    for limit in (-1e300, 0.0, 1.0, 1e300):
        assert not Requirement("speedup", operator, limit).holds(value)


@pytest.mark.parametrize(
    ("text", "limit"), [("4", 4.0), ("+4.", 4.0), ("-.5", -0.5), ("1e6", 1e6), ("2.5E-3", 0.0025)]
)
def test_limits(text: str, limit: float) -> None:
    assert Requirement.parse(f"speedup>={text}").limit == limit


FORM = "expected NAME>=LIMIT, or with <=, >, < or ==, got "
PLAIN = "give the limit as a plain number, without a unit, such as 'speedup>=4' or 'accuracy_drop<=1'"
QUOTE = "quote it in a shell, such as 'speedup>=4'"


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", QUOTE), ("speedup", QUOTE), ("speedup>=", PLAIN), ("speedup>=4x", PLAIN), ("accuracy_drop<=1%", PLAIN),
        ("speedup>=nan", PLAIN), ("speedup>=inf", PLAIN), ("passes<=1,000", PLAIN), ("speedup>=four", PLAIN),
        ("speedup>=1_0", PLAIN), ("speedup=>4", "did you mean >=?"), ("speedup=<4", "did you mean <=?"),
        ("speedup=4", "did you mean ==?"), ("speedup!=4", "give such as 'speedup>=4'"), (">=4", PLAIN),
        ("speedup>=4;cycles<9", PLAIN), ("speedup>=\u0664", PLAIN),
    ],
)  # fmt: skip
def test_malformed_requirements_are_refused_with_the_remedy(text: str, remedy: str) -> None:
    assert refusal(text) == f"{FORM}{text!r}; {remedy}"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("speedpu", "speedup"), ("Speedup", "speedup"), ("accuracydrop", "accuracy_drop"), ("pases", "passes"),
        ("compression", "matrix_compression_rate"), ("compresion", "matrix_compression_rate"), ("energy", "energy_pj"),
        ("drop", "accuracy_drop"), ("size", "bytes"), ("utilization", "utilisation"), ("energygain", "energy_gain"),
    ],
)  # fmt: skip
def test_an_unknown_name_is_refused_with_the_nearest(name: str, meant: str) -> None:
    assert refusal(f"{name}>=1") == f"expected a measure, got {name!r}; did you mean {meant}?"


def test_a_name_like_none_is_refused_with_all_names() -> None:
    text = refusal("zzz>=1")
    assert text == f"expected a measure, got 'zzz'; give one of {', '.join(sorted(MEASURES))}"


@pytest.mark.parametrize("name", COUNTED_BY_PERMUTE)
def test_what_permute_dropped_cannot_be_required(name: str) -> None:
    assert refusal(f"{name}==0") == (
        f"expected a measure, got {name!r}; permute alone counts what it drops; require density or accuracy_drop"
    )


def test_a_limit_beyond_all_numbers_is_refused() -> None:
    assert refusal("speedup>=1e999") == "expected a finite limit, got 1e999; give a smaller number"


def test_no_requirement_is_refused() -> None:
    with pytest.raises(
        OptionError, match=r"^--require: expected .*, got \(?\[?\)?\]?; give a non-empty list$"
    ):
        CheckOptions.of({"require": []})
    with pytest.raises(OptionError, match=r"^--require: expected .*, got nothing; add it$"):
        CheckOptions.of({})


def test_the_tables_of_names_fit_together() -> None:
    assert set(TITLES.values()) <= set(MEASURES)
    assert not set(TITLES) & set(MEASURES)
    assert set(MEASURES.values()) == set(MISSING)
