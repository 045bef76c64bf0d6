"""The time left that permute tells for all layers together."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from tightc.permutation import network_progress
from tightc.permutation.network_progress import WHOLE, NetworkProgress


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(network_progress, "time", made)
    return made


def of_whole(clock: Clock, reports: list[tuple[float, str, float]], seconds: float = math.inf) -> list[str]:
    """What is reported after each report (seconds, layer, part) of layers of 300 and 100 planned moves."""
    reported: list[str] = []

    def listen(task: str, done: float, figures: Mapping[str, str], /) -> None:
        if task == WHOLE:
            reported.append(
                " ".join([f"{done:.0%}", *(f"{label} {value}" for label, value in figures.items())])
            )

    progress = NetworkProgress(listen, {"large": 300, "small": 100}, seconds)
    for clock.now, layer, part in reports:
        progress(layer, part, {"left": "9h"})
    return reported


def test_in_the_first_rounds_it_is_at_least_that_of_their_moves(clock: Clock) -> None:
    # the first round of a layer is 0.8 of its progress: half of 300 moves in 10 s, then all of them and half of 100
    assert of_whole(
        clock, [(100, "large", 0.0), (110, "large", 0.4), (120, "large", 0.8), (130, "small", 0.4)]
    ) == [
        "0% layers 0/2",
        "30% layers 0/2 left at least 17s",  # 250 moves at 15 a second
        "60% layers 0/2 left at least 7s",  # 100 at 15
        "70% layers 0/2 left at least 4s",  # 50 at 11.7
    ]


def test_later_rounds_are_taken_to_last_as_long_as_they_have(clock: Clock) -> None:
    reports = [
        (100, "small", 1.0),
        (110, "large", 0.8),
        (125, "large", 0.9),
        (150, "large", 0.999),
        (151, "large", 1.0),
    ]
    assert of_whole(clock, reports) == [
        "25% layers 1/2",
        "85% layers 1/2 left about 0s",
        "92% layers 1/2 left about 15s",
        "99% layers 1/2 left about 40s",
        "100% layers 2/2",
    ]


def test_a_time_limit_is_an_upper_limit(clock: Clock) -> None:
    assert of_whole(clock, [(101, "large", 0.0), (111, "large", 0.08), (131, "large", 0.8)], seconds=50) == [
        "0% layers 0/2 left at most 49s",
        "6% layers 0/2 left at most 39s",
        "60% layers 0/2 left at least 10s",
    ]


def test_reports_are_passed_on_as_they_are() -> None:
    passed: list[tuple[str, float, Mapping[str, str]]] = []
    progress = NetworkProgress(lambda *report: passed.append(report), {"conv": 5}, math.inf)
    progress("conv", 0.5, {"gap": "2"})
    progress("else", 0.5, {})  # no layer
    assert [report for report in passed if report[0] != WHOLE] == [
        ("conv", 0.5, {"gap": "2"}),
        ("else", 0.5, {}),
    ]
    assert sum(report[0] == WHOLE for report in passed) == 1
