"""Progress of a layer: every figure from the first report on, and none that goes back."""

from __future__ import annotations

import numpy as np
import pytest

from tightc import deadline
from tightc.deadline import Deadline, TimeShare
from tightc.permutation.annealing.anneal import Annealed, AnnealProgress
from tightc.permutation.annealing.block import Block
from tightc.permutation.methods.tight import progress
from tightc.permutation.methods.tight.progress import LayerProgress
from tightc.permutation.search_context import SearchContext

FAN_IN = 2


class Clock:
    """A clock that stands until it is set."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


class Recorder:
    """A progress callback that remembers."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, float, dict[str, str]]] = []

    def __call__(self, task: str, done: float, figures: dict[str, str], /) -> None:
        self.reports.append((task, done, dict(figures)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (progress, deadline):
        monkeypatch.setattr(module, "time", clock)
    return clock


def block(weights: int, tiles: int = 1) -> Block:
    """Tiles of one column, one weight on each lane, each of another input."""
    ids = np.arange(weights, dtype=np.int32)
    cells = np.arange(tiles, dtype=np.int32)
    heights = np.full(tiles, weights // tiles)
    return Block(
        heights=heights,
        cell_filters=cells,
        cell_tiles=cells,
        filters=np.repeat(cells, weights // tiles),
        inputs=ids,
        lanes=ids,
        columns=0 * ids,
    )


def progress_of(recorder: Recorder, limit: float = np.inf) -> LayerProgress:
    context = SearchContext(time=TimeShare(Deadline(limit)), progress=recorder, layer="conv")
    return LayerProgress(context, FAN_IN, bound=4, passes=9)


def test_the_first_report_of_a_layer_has_every_figure(clock: Clock) -> None:
    recorder = Recorder()
    reporter = progress_of(recorder)
    reporter.begin([block(100), block(300, tiles=5)])
    report = reporter.of_block(0)
    clock.now = 2.0
    report(AnnealProgress(0.25, 3.5, 0.1234, 40_000_000, 10_000_000))
    (first,) = recorder.reports
    assert first == (
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
    assert list(first[2])[:3] == ["left", "bound", "gap"]


def test_acceptance_is_that_since_the_last_report_and_speed_that_of_the_round(clock: Clock) -> None:
    recorder = Recorder()
    reporter = progress_of(recorder)
    reporter.begin([block(100)])
    report = reporter.of_block(0)
    for clock.now, moves, accepted in ((1.0, 3000, 1500), (2.0, 8000, 2000), (4.0, 8000, 2000)):
        report(AnnealProgress(0.5, 1.0, 0.1, moves, accepted))
    assert [figures["accepted"] for _, _, figures in recorder.reports] == ["50.0%", "10.0%", "10.0%"]
    assert [figures["moves/s"] for _, _, figures in recorder.reports] == ["3k", "4k", "2k"]


def test_a_block_that_is_annealed_again_takes_nothing_back(clock: Clock) -> None:
    recorder = Recorder()
    reporter = progress_of(recorder)
    reporter.begin([block(100), block(100)])
    for number in (0, 1):
        clock.now += 1.0
        reporter.of_block(number)(AnnealProgress(1.0, 5.0, 0.1, 1000, 100))
    again = reporter.of_block(1)
    for done, cost in ((0.1, 8.0), (1.0, 4.0)):
        clock.now += 1.0
        again(AnnealProgress(done, cost, 0.1, 2000, 100))
    shares = [share for _, share, _ in recorder.reports]
    assert shares == sorted(shares)
    assert [figures["cost"] for _, _, figures in recorder.reports] == ["30.00", "10.00", "10.00", "9.00"]
    assert [figures["moves/s"] for _, _, figures in recorder.reports] == ["1k", "1k", "1k", "1k"]


def test_the_gap_is_that_of_the_best_packing_and_the_share_grows_by_rounds(clock: Clock) -> None:
    recorder = Recorder()
    reporter = progress_of(recorder)
    for best in (6, 5):
        reporter.begin([block(100, tiles=5)])
        clock.now += 1.0
        reporter.of_block(0)(AnnealProgress(1.0, 5.0, 0.1, 1000, 100))
        reporter.end(best)
    assert [figures["gap"] for _, _, figures in recorder.reports] == ["5, trying 1", "2, trying 1"]
    assert [share for _, share, _ in recorder.reports] == pytest.approx([0.8, 0.96])


def test_time_left_is_not_beyond_the_limit(clock: Clock) -> None:
    recorder = Recorder()
    reporter = progress_of(recorder, limit=10.0)
    reporter.begin([block(100)])
    report = reporter.of_block(0)
    for clock.now, done in ((4.0, 0.1), (5.0, 0.5), (11.0, 0.9)):
        report(AnnealProgress(done, 5.0, 0.1, 1000, 100))
    assert [figures["left"] for _, _, figures in recorder.reports] == ["6s", "5s", "0s"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59.4, "59s"), (59.6, "1m00s"), (3599, "59m59s"), (12_000, "3h20m")]
)
def test_lengths_of_time_are_short(clock: Clock, seconds: float, text: str) -> None:
    recorder = Recorder()
    reporter = progress_of(recorder)
    reporter.begin([block(100)])
    clock.now = seconds
    reporter.of_block(0)(AnnealProgress(0.5, 5.0, 0.1, 1000, 100))
    assert recorder.reports[0][2]["left"] == text


def test_without_a_callback_nothing_is_counted(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def count(_: Block) -> None:
        raise AssertionError("counted for nobody")

    monkeypatch.setattr(Annealed, "at_start", count)
    quiet = LayerProgress(SearchContext(), FAN_IN, bound=4, passes=9)
    quiet.begin([block(100)])
    quiet.of_block(0)(AnnealProgress(0.5, 5.0, 0.1, 1000, 100))  # raises where it counts


def test_a_block_at_its_start_carries_what_its_lanes_read() -> None:
    lanes = np.array([0, 0, 0, 1, 3], np.int32)
    inputs = np.array([7, 5, 7, 5, 2], np.int32)
    cells = np.zeros(3, np.int32)
    one = Block(
        heights=np.array([4]),
        cell_filters=cells,
        cell_tiles=cells,
        filters=lanes,
        inputs=inputs,
        lanes=lanes,
        columns=lanes,
    )
    assert Annealed.at_start(one).carried.tolist() == [2, 1, 0, 1]
    assert Annealed.at_start(one).cost(1) == 4 * 1 + 4
