"""Temperature schedules: the curves that they promise, and lengths of time as people write them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tightc.config.yaml import parse_options
from tightc.errors import ConfigError
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule

FALLING = ("geometric", "linear", "lundy-mees")


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_options(text, "s.yaml", TemperatureSchedule)
    return str(caught.value)


def test_the_defaults_are_within_their_own_limits() -> None:
    """They are not validated when they are taken, so that one beyond them would be refused only where it is written."""
    defaults = TemperatureSchedule()
    written = "\n".join(f"{key}: {value}" for key, value in defaults.model_dump(exclude_none=True).items())
    assert parse_options(written, "s.yaml", TemperatureSchedule) == defaults


@pytest.mark.parametrize("kind", FALLING)
def test_temperatures_fall_from_start_to_end(kind: str) -> None:
    temperatures = TemperatureSchedule(kind=kind, t_end=0.1).temperatures(0.8, 8)
    assert len(temperatures) == 8
    assert temperatures[[0, -1]] == pytest.approx([0.8, 0.1])
    assert (np.diff(temperatures) < 0).all()


def test_each_kind_has_its_own_curve() -> None:
    curves = {kind: TemperatureSchedule(kind=kind, t_end=0.1).temperatures(0.8, 9) for kind in FALLING}
    ratios = curves["geometric"][1:] / curves["geometric"][:-1]
    assert ratios == pytest.approx([ratios[0]] * 8)
    differences = np.diff(curves["linear"])
    assert differences == pytest.approx([differences[0]] * 8)
    before, after = curves["lundy-mees"][:-1], curves["lundy-mees"][1:]
    factors = (before / after - 1) / before  # T' = T / (1 + b T)
    assert factors == pytest.approx([factors[0]] * 8) and factors[0] > 0


@settings(max_examples=200)
@given(
    st.sampled_from((*FALLING, "adaptive")),
    st.floats(1e-6, 1e9),
    st.floats(1e-6, 1e9),
    st.integers(1, 50),
)
def test_temperatures_stay_between_start_and_end(kind: str, start: float, end: float, steps: int) -> None:
    temperatures = TemperatureSchedule(kind=kind, t_start="auto", t_end=end).temperatures(start, steps)
    assert len(temperatures) == steps
    assert temperatures[0] == pytest.approx(start)
    assert (temperatures >= min(start, end) * (1 - 1e-9)).all() and (temperatures <= start * (1 + 1e-9)).all()


@pytest.mark.parametrize("kind", FALLING)
@pytest.mark.parametrize("end", [5e-324, 1e-310, 1e-300])
def test_the_coldest_of_all_ends_stays_a_temperature(kind: str, end: float) -> None:
    temperatures = TemperatureSchedule(kind=kind, t_end=end).temperatures(0.3, 5)
    assert (temperatures > 0).all() and np.isfinite(temperatures).all()


def test_adaptive_lowers_the_temperature_if_more_is_accepted_than_the_target_and_raises_it_if_less() -> None:
    schedule = TemperatureSchedule(kind="adaptive", accept_start=0.4, accept_end=0.1, t_end=0.01)
    assert schedule.adapted(1.0, 0.4, 0.0) == pytest.approx(1.0)
    assert schedule.adapted(1.0, 0.2, 0.5) == pytest.approx(1.0)  # half way: the geometric mean of both
    assert schedule.adapted(1.0, 0.1, 1.0) == pytest.approx(1.0)
    assert 0.5 < schedule.adapted(1.0, 0.9, 0.5) < schedule.adapted(1.0, 0.21, 0.5) < 1.0
    assert 1.0 < schedule.adapted(1.0, 0.19, 0.5) < schedule.adapted(1.0, 0.0, 0.5) < 2.0
    assert schedule.adapted(0.01, 1.0, 1.0) == 0.01  # not below t_end


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
        ("moves_per_weight: -1", "moves_per_weight"), ("reheats: -1", "reheats"), ("reheats: 1001", "reheats"),
        ("reheat: 0", "reheat"), ("reheat: 1.1", "reheat"), ("replicas: 1", "replicas"),
        ("replicas: 65", "replicas"), ("restarts: -1", "restarts"), ("restarts: 1001", "restarts"),
        ("accept_start: 0", "accept_start"), ("accept_start: 1.5", "accept_start"), ("accept_end: 0", "accept_end"),
        ("accept_start: 0.01", "accept_end"), ("seed: -1", "seed"), ("seed: 1.0", "seed"), ("kind: cubic", "kind"),
        ("t_start: 0.02", "t_end"),
    ],
)  # fmt: skip
def test_every_key_is_validated_and_named_with_the_line(text: str, key: str) -> None:
    line = 2 if f"{key}:" in text else 1  # the line of the key at fault, 1 where it is not given
    assert refused(f"steps: 3\n{text}").startswith(f"s.yaml:{line}: {key}: ")


@pytest.mark.parametrize("text", ["t_start: auto", "t_start: 'auto'", "t_start: auto\nt_end: 100"])
def test_the_start_may_be_found(text: str) -> None:
    assert parse_options(text, "s.yaml", TemperatureSchedule).t_start == "auto"
