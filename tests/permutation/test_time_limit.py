"""Time limits: kept, spread over all temperatures, and without a trace where they are longer than needed."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import oracle
from helpers import models
from tightc import deadline
from tightc.cli.main import run
from tightc.deadline import Deadline
from tightc.model.file import Model, load_model, load_model_bytes
from tightc.model.history import read_history
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import read_packings
from tightc.permutation.annealing import anneal as annealing
from tightc.permutation.annealing.anneal import AnnealSettings, anneal
from tightc.permutation.annealing.block import Block
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.methods.nm import pack as nm
from tightc.permutation.methods.tight import progress
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.tile.array import ArrayShape

ENDLESS = 10_000_000  # moves for each weight
TICK = 0.001


class Clock:
    """A clock on which every look takes a millisecond and nothing else takes time."""

    def __init__(self) -> None:
        self.looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return self.looks * TICK

    @property
    def now(self) -> float:
        return self.looks * TICK


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (annealing, deadline, progress):
        monkeypatch.setattr(module, "time", clock)
    return clock


def network() -> Model:
    """A layer whose lanes are scarce, so that no block of tiles meets its bound and ends early."""
    text = "net (float[1, 256] x) => (float[1, 64] y) { [one] y = MatMul(x, w) }"
    return load_model_bytes(
        models.build(text, w=models.sparse(256, 64, density=0.2)).SerializeToString(), "n"
    )


def options(schedule: TemperatureSchedule, **changes: object) -> PermuteOptions:
    found = PermuteOptions(array=ArrayShape(16, 16), fan_in=6, temp_schedule=schedule, jobs=1)
    return found.model_copy(update=changes)


def assert_packed(model: Model) -> None:
    found, packings = read_network(model), read_packings(model)
    (layer,) = found.owners
    matrix = layer_matrix(found, layer)
    tiles = oracle.plain(packings[layer.weight])
    assert oracle.packing_faults(tiles, matrix.values, matrix.groups, (16, 16), 6) == []


def packing(model: Model) -> dict[str, str]:
    """What the model records of its packings, without the history, which names the limit."""
    return {entry.key: entry.value for entry in model.proto.metadata_props if "packing" in entry.key}


def test_the_best_by_then_is_the_result(clock: Clock) -> None:
    schedule = TemperatureSchedule(moves_per_weight=ENDLESS)
    permuted, report = permute(network(), options(schedule, time_limit=2.0))
    assert_packed(permuted)
    assert 1.0 < clock.now < 2.5
    assert read_history(permuted)[-1]["ended"] == {"by": "time limit", "layers": ["one"]}
    assert report.notes[0] == "the time limit ended the search in one before all moves were tried"


def test_the_limit_of_the_schedule_counts_unless_there_is_another(clock: Clock) -> None:
    schedule = TemperatureSchedule(moves_per_weight=ENDLESS, time_limit=1.0)
    permute(network(), options(schedule))
    assert 0.5 < clock.now < 1.5
    clock.looks = 0
    permute(network(), options(schedule, time_limit=3.0))
    assert 1.5 < clock.now < 3.5


def test_a_limit_longer_than_needed_changes_nothing() -> None:
    schedule = TemperatureSchedule(steps=10, moves_per_weight=40)
    free, _ = permute(network(), options(schedule), seed=2)
    limited, report = permute(network(), options(schedule, time_limit=1e6), seed=2)
    assert "ended" not in read_history(limited)[-1]
    assert not any("ended" in note for note in report.notes)
    assert packing(free) == packing(limited) != {}


def test_a_limit_of_no_time_at_all_still_gives_a_packing() -> None:
    for limit in (1e-9, 0.01):
        permuted, _ = permute(
            network(), options(TemperatureSchedule(moves_per_weight=ENDLESS), time_limit=limit)
        )
        assert_packed(permuted)
        assert read_history(permuted)[-1]["ended"]["by"] == "time limit"


def test_a_channel_permutation_says_that_the_limit_ended_it(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nm, "time", clock)
    schedule = TemperatureSchedule(moves_per_weight=ENDLESS)
    permuted, _ = permute(network(), options(schedule, method="nm", time_limit=0.01))
    assert read_history(permuted)[-1]["ended"] == {"by": "time limit", "layers": ["one"]}


def test_a_block_that_meets_its_bound_early_is_not_cut() -> None:
    text = "net (float[1, 8] x) => (float[1, 8] y) { [one] y = MatMul(x, w) }"
    easy = load_model_bytes(models.build(text, w=models.sparse(8, 8, density=0.3)).SerializeToString(), "n")
    permuted, _ = permute(easy, options(TemperatureSchedule(moves_per_weight=ENDLESS), time_limit=600.0))
    assert "ended" not in read_history(permuted)[-1]


def test_the_flag_ends_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    models.save(network().proto, tmp_path / "net.onnx")
    Path("endless.yaml").write_text(f"moves_per_weight: {ENDLESS}\ntime_limit: 10h\n")
    flags = ["--array", "16x16", "--fan-in", "6", "--temp-schedule", "endless.yaml", "--time-limit", "0.3s"]
    assert run(["permute", "net.onnx", *flags, "-q", "-o", "out.onnx"]) == 0
    assert_packed(load_model("out.onnx"))


def annealed_at(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, schedule: TemperatureSchedule
) -> list[tuple[float, int]]:
    """(temperature, moves) of every call of the kernel for a block that has three seconds."""
    ids = np.arange(256, dtype=np.int32)
    cells = np.arange(16, dtype=np.int32)
    inputs = np.random.default_rng(0).integers(0, 40, 256).astype(np.int32)
    block = Block(
        heights=np.array([16]),
        cell_filters=cells,
        cell_tiles=0 * cells,
        filters=ids // 16,
        inputs=inputs,
        lanes=ids % 16,
        columns=ids // 16,
    )
    calls = []
    kernel = annealing._try_moves

    def spy(state, best, tally, *, temperature, moves, **rest):  # type: ignore[no-untyped-def]
        calls.append((float(temperature), moves))
        return kernel(state, best, tally, temperature=temperature, moves=1, **rest)

    monkeypatch.setattr(annealing, "_try_moves", spy)
    anneal(block, AnnealSettings(4, schedule, np.random.SeedSequence(0)), Deadline(3.0))
    assert clock.now < 3.2
    return calls


def test_a_limit_is_spread_over_all_temperatures(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = TemperatureSchedule(steps=10, moves_per_weight=ENDLESS)
    calls = annealed_at(clock, monkeypatch, schedule)
    met = [temperature for temperature, _ in itertools.groupby(calls, key=lambda call: call[0])]
    assert met == pytest.approx(schedule.temperatures(10).tolist())
    counts = Counter(temperature for temperature, _ in calls).values()
    assert min(counts) > 50 and max(counts) - min(counts) <= 3
