"""What a search says on its way: every figure from the first report on, and none that goes back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers import packings
from tightc.permutation.annealing.anneal import AnnealProgress
from tightc.permutation.annealing.block import Block
from tightc.permutation.executors import executor
from tightc.permutation.executors.executor import Pace, untouched
from tightc.permutation.methods.tight import progress
from tightc.permutation.methods.tight.progress import Telling
from tightc.tile.array import ArrayShape

FAN_IN = 2


class Clock:
    """A clock that stands until it is set."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


class Ear:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, float, dict[str, str]]] = []

    def __call__(self, task: str, done: float, figures: dict[str, str], /) -> None:
        self.heard.append((task, done, dict(figures)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (progress, executor):
        monkeypatch.setattr(module, "time", clock)
    return clock


def block(weights: int, tiles: int = 1) -> Block:
    """Tiles of one column, one weight on each lane, each of another input."""
    ids = np.arange(weights, dtype=np.int32)
    cells = np.arange(tiles, dtype=np.int32)
    heights = np.full(tiles, weights // tiles)
    return Block(heights, cells, cells, np.repeat(cells, weights // tiles), ids, ids, 0 * ids)


def told(ear: Ear, limit: float = np.inf) -> Telling:
    task = packings.task(ArrayShape(100, 1), FAN_IN)
    return Telling(replace(task, layer="conv", progress=ear, pace=Pace(limit, 1)), bound=4, passes=9)


def test_the_first_report_of_a_layer_has_every_figure(clock: Clock) -> None:
    ear = Ear()
    reporter = told(ear)
    reporter.begin([block(100), block(300, tiles=5)])
    watch = reporter.watch(0)
    clock.now = 2.0
    watch.tell(AnnealProgress(0.25, 3.5, 0.1234, 40_000_000, 10_000_000))
    (report,) = ear.heard
    assert report == (
        "conv",
        pytest.approx(0.8 * 0.0625),
        {
            "left": "30s",  # a sixteenth of the round took 2 s
            "bound": "4 passes",
            "gap": "5, trying 2",
            "cost": "78.50",  # 300 weights that have yet to begin carry an input each, at a quarter
            "temperature": "0.123",
            "accepted": "25.0%",
            "moves/s": "20M",
        },
    )
    assert list(report[2])[:3] == ["left", "bound", "gap"]


def test_acceptance_is_that_since_the_last_report_and_speed_that_of_the_round(clock: Clock) -> None:
    ear = Ear()
    reporter = told(ear)
    reporter.begin([block(100)])
    watch = reporter.watch(0)
    for clock.now, moves, accepted in ((1.0, 3000, 1500), (2.0, 8000, 2000), (4.0, 8000, 2000)):
        watch.tell(AnnealProgress(0.5, 1.0, 0.1, moves, accepted))
    assert [figures["accepted"] for _, _, figures in ear.heard] == ["50.0%", "10.0%", "10.0%"]
    assert [figures["moves/s"] for _, _, figures in ear.heard] == ["3k", "4k", "2k"]


def test_a_block_that_is_cooled_once_more_takes_nothing_back(clock: Clock) -> None:
    ear = Ear()
    reporter = told(ear)
    reporter.begin([block(100), block(100)])
    for number in (0, 1):
        clock.now += 1.0
        reporter.watch(number).tell(AnnealProgress(1.0, 5.0, 0.1, 1000, 100))
    again = reporter.watch(1)
    for done, cost in ((0.1, 8.0), (1.0, 4.0)):
        clock.now += 1.0
        again.tell(AnnealProgress(done, cost, 0.1, 2000, 100))
    shares = [share for _, share, _ in ear.heard]
    assert shares == sorted(shares)
    assert [figures["cost"] for _, _, figures in ear.heard] == ["30.00", "10.00", "10.00", "9.00"]
    assert [figures["moves/s"] for _, _, figures in ear.heard] == ["1k", "1k", "1k", "1k"]


def test_the_gap_is_that_of_the_best_packing_and_the_share_grows_by_rounds(clock: Clock) -> None:
    ear = Ear()
    reporter = told(ear)
    for best in (6, 5):
        reporter.begin([block(100, tiles=5)])
        clock.now += 1.0
        reporter.watch(0).tell(AnnealProgress(1.0, 5.0, 0.1, 1000, 100))
        reporter.end(best)
    assert [figures["gap"] for _, _, figures in ear.heard] == ["5, trying 1", "2, trying 1"]
    assert [share for _, share, _ in ear.heard] == pytest.approx([0.8, 0.96])


def test_time_left_is_not_beyond_the_limit(clock: Clock) -> None:
    ear = Ear()
    reporter = told(ear, limit=10.0)
    reporter.begin([block(100)])
    watch = reporter.watch(0)
    for clock.now, done in ((4.0, 0.1), (5.0, 0.5), (11.0, 0.9)):
        watch.tell(AnnealProgress(done, 5.0, 0.1, 1000, 100))
    assert [figures["left"] for _, _, figures in ear.heard] == ["6s", "5s", "0s"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59.4, "59s"), (59.6, "1m00s"), (3599, "59m59s"), (12_000, "3h20m")]
)
def test_lengths_of_time_are_short(clock: Clock, seconds: float, text: str) -> None:
    ear = Ear()
    reporter = told(ear)
    reporter.begin([block(100)])
    clock.now = seconds
    reporter.watch(0).tell(AnnealProgress(0.5, 5.0, 0.1, 1000, 100))
    assert ear.heard[0][2]["left"] == text


def test_those_who_do_not_listen_are_told_nothing(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def count(_: Block) -> None:
        raise AssertionError("counted for nobody")

    monkeypatch.setattr(progress, "untouched", count)
    quiet = Telling(packings.task(), bound=4, passes=9)
    quiet.begin([block(100)])
    quiet.watch(0).tell(AnnealProgress(0.5, 5.0, 0.1, 1000, 100))  # raises where it counts


def test_a_block_is_stopped_by_an_interrupt_and_by_the_limit(clock: Clock) -> None:
    reporter = told(Ear(), limit=10.0)
    reporter.begin([block(100)])
    watch = reporter.watch(0)
    assert not watch.stopped()
    clock.now = 10.0
    assert watch.stopped()
    clock.now = 0.0
    reporter._task.stop.set()
    assert watch.stopped()


def test_a_block_that_nobody_touched_carries_what_its_lanes_read() -> None:
    lanes = np.array([0, 0, 0, 1, 3], np.int32)
    inputs = np.array([7, 5, 7, 5, 2], np.int32)
    cells = np.zeros(3, np.int32)
    one = Block(np.array([4]), cells, cells, lanes, inputs, lanes, lanes)
    assert untouched(one).carried.tolist() == [2, 1, 0, 1]
    assert untouched(one).cost(1) == 4 * 1 + 4
