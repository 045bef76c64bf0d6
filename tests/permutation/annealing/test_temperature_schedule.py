"""Temperature schedules: the line that they promise, and lengths of time as people write them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tightc.config.yaml import parse_options
from tightc.errors import ConfigError, OptionError
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_options(text, "s.yaml", TemperatureSchedule)
    return str(caught.value)


def test_the_defaults_are_within_their_own_limits() -> None:
    """They are not validated when they are taken, so that one beyond them would be refused only where it is written."""
    defaults = TemperatureSchedule()
    written = "\n".join(f"{key}: {value}" for key, value in defaults.model_dump(exclude_none=True).items())
    assert parse_options(written, "s.yaml", TemperatureSchedule) == defaults


def test_temperatures_fall_by_the_same_difference_from_start_to_end() -> None:
    temperatures = TemperatureSchedule(t_start=0.8, t_end=0.1).temperatures(8)
    assert temperatures == pytest.approx([0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


@settings(max_examples=200)
@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1), st.integers(1, 50))
def test_temperatures_stay_between_start_and_end(start: float, part: float, steps: int) -> None:
    end = max(start * part, 5e-324)
    temperatures = TemperatureSchedule(t_start=start, t_end=end).temperatures(steps)
    assert len(temperatures) == steps
    assert temperatures[0] == start
    assert (temperatures >= end * (1 - 1e-9)).all() and (temperatures <= start * (1 + 1e-9)).all()


@pytest.mark.parametrize("end", [5e-324, 1e-310, 1e-300])
def test_the_coldest_of_all_ends_stays_a_temperature(end: float) -> None:
    temperatures = TemperatureSchedule(t_end=end).temperatures(5)
    assert (temperatures > 0).all() and np.isfinite(temperatures).all()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30), ("30", 30), ("30 S", 30), ("5m", 300), ("5 min", 300), ("1.5h", 5400), (".5s", 0.5), ("2.", 2),
        ("1e3", 1000), ("0.00001", 1e-5), ("1e-5s", 1e-5), ("1234567.5", 1234567.5), ("'45s'", 45),
    ],
)  # fmt: skip
def test_times_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_options(f"time_limit: {text}", "s.yaml", TemperatureSchedule).time_limit == pytest.approx(
        seconds
    )


@pytest.mark.parametrize(
    "text",
    [
        "0", "0s", "-1s", "s", "30 days", "1:30", "1h30m", "true", "[30]", "{a: 3}", ".inf", ".nan", "1e999", "x",
        "3_0s", "0x10", "9" * 400 + "h",
    ],
)  # fmt: skip
def test_an_invalid_time_is_refused_with_its_line(text: str) -> None:
    words = refused(f"steps: 3\ntime_limit: {text}")
    assert words.startswith("s.yaml:2: time_limit: ")
    assert words.endswith("; give a time above 0, such as 30s, 5m or 1.5h")


@settings(max_examples=200)
@given(st.floats(0, 1e300, exclude_min=True))
def test_a_time_survives_being_written(seconds: float) -> None:
    written = TemperatureSchedule(time_limit=seconds).model_dump(mode="json")["time_limit"]
    assert TemperatureSchedule(time_limit=written).time_limit == seconds


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("t_start: warm", "t_start"), ("t_start: -1", "t_start"), ("t_start: [auto]", "t_start"),
        ("t_start: " + "9" * 400, "t_start"), ("t_start: true", "t_start"), ("t_end: auto", "t_end"),
        ("moves_per_weight: -1", "moves_per_weight"), ("moves_per_weight: 10000001", "moves_per_weight"),
        ("seed: -1", "seed"), ("seed: 1.0", "seed"), ("t_start: auto", "t_start"),
        ("t_start: 0.002", "t_end"),
    ],
)  # fmt: skip
def test_every_key_is_validated_and_named_with_the_line(text: str, key: str) -> None:
    line = 2 if f"{key}:" in text else 1  # the line of the key at fault, 1 where it is not given
    assert refused(f"steps: 3\n{text}").startswith(f"s.yaml:{line}: {key}: ")


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("kind: geometric", "leave it out, since the temperature always falls linearly"),
        ("kind: linear", "leave it out, since the temperature always falls linearly"),
        ("kind: tempering", "leave it out, since the temperature always falls linearly"),
        ("accept_start: 0.3", "leave it out, and give the temperatures t_start and t_end"),
        ("accept_end: 0.02", "leave it out, and give the temperatures t_start and t_end"),
        ("reheats: 3", "leave it out, and raise moves_per_weight to search longer"),
        ("reheat: 0.5", "leave it out, and raise moves_per_weight to search longer"),
        ("replicas: 6", "leave it out, and raise moves_per_weight to search longer"),
        ("restarts: 1", "leave it out, and raise moves_per_weight to search longer"),
    ],
)
def test_a_removed_key_says_what_to_do_instead(text: str, remedy: str) -> None:
    key = text.partition(":")[0]
    assert refused(f"steps: 3\n{text}") == f"s.yaml:2: {key}: removed in 0.4; {remedy}"
    recipe = f"array: 8x8\ntemp_schedule:\n  {text}\n"
    with pytest.raises(ConfigError, match=rf"^r\.yaml:3: temp_schedule\.{key}: removed in 0\.4; {remedy}$"):
        parse_options(recipe, "r.yaml", PermuteOptions)
    with pytest.raises(OptionError, match=rf"^{key}: removed in 0\.4; {remedy}$"):
        TemperatureSchedule(**{key: 3})


def test_every_removed_key_was_tried() -> None:
    assert set(TemperatureSchedule.removed).isdisjoint(TemperatureSchedule.model_fields)
    assert set(TemperatureSchedule.removed) == {
        "kind", "accept_start", "accept_end", "reheats", "reheat", "replicas", "restarts"
    }  # fmt: skip
