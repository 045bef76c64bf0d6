"""--fan-in auto against separate runs: the least of the objective times the area that simulate reports."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import tightc
from helpers import models
from helpers.loading import loaded
from helpers.small_accelerator import HARDWARE
from tightc.cli.main import run
from tightc.errors import OptionError
from tightc.model.packings.metadata import read_packings
from tightc.permutation import fan_in_choice, layer_scheduler
from tightc.permutation.layer_scheduler import PackedLayers

AREA = Path(tightc.__file__).parent / "configs" / "area" / "nangate45.yaml"
OTHER_AREA = AREA.with_name("sg13g2.yaml")
QUICK = tightc.TemperatureSchedule(steps=4, moves_per_weight=30)
TRIED = (1, 2, 4, 8, 16)
# of the totals of simulate or the tiles
FIRST = {"passes": "passes", "cycles": "cycles", "replicated-cycles": "cycles", "energy": "energy_pj"}


def network(density: float = 0.3) -> tightc.Model:
    return loaded(
        models.build(
            """net (float[2, 3, 40] x) => (float[2, 3, 9] y) {
                [one] a = MatMul(x, u)
                [two] b = MatMul(a, v)
                [three] y = MatMul(b, w)
            }""",
            u=models.sparse(40, 33, density=density),
            v=models.sparse(33, 20, density=density, seed=1),
            w=models.sparse(20, 9, density=density, seed=2),
        )
    )


def permuted(model: tightc.Model, **options: Any) -> tuple[tightc.Model, tightc.Report]:
    result = tightc.permute(model, temp_schedule=QUICK, jobs=1, seed=3, **options)
    return result.model, result.report


def value(model: tightc.Model, objective: str, accelerator: dict[str, Any], area: Path, fan_in: int) -> float:
    """The objective of a permuted model times mm2, both by simulate."""
    if "hardware" in accelerator:
        accelerator = {**accelerator, "hardware": {**accelerator["hardware"], "fan_in": fan_in}}
    replicates = {"replicate_tiles": True} if objective == "replicated-cycles" else {}
    totals = tightc.simulate(model, area=area, **{**accelerator, **replicates}).totals
    tiles = tightc.tiles(model)
    measured = {
        "area": sum(tile.select.size for tile in tiles),
        "inputs": sum(len(tile.inputs) for tile in tiles),
        "passes": len(tiles),
    }
    return totals["area_mm2"] * measured.get(objective, totals[FIRST.get(objective, "cycles")])


def packings(model: tightc.Model) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.proto.metadata_props if "packing" in entry.key}


@pytest.mark.parametrize(
    "accelerator",
    [
        {"array": "6x8", "prefetch_weights": True, "arrays": 2, "columns_per_lane_register": 2},
        {"array": "32x32"},
    ],
)
@pytest.mark.parametrize("objective", ["passes", "area", "inputs", "cycles", "replicated-cycles", "energy"])
def test_the_fan_in_is_the_best_of_separate_runs(objective: str, accelerator: dict[str, Any]) -> None:
    model = network(0.15 if objective == "energy" else 0.3)
    chosen, report = permuted(model, fan_in="auto", objective=objective, **accelerator)
    separate = {
        fan_in: permuted(model, fan_in=fan_in, objective=objective, **accelerator)[0] for fan_in in TRIED
    }
    values = {fan_in: value(one, objective, accelerator, AREA, fan_in) for fan_in, one in separate.items()}
    best = min(TRIED, key=lambda fan_in: (values[fan_in], fan_in))
    assert report.totals["fan_in"] == best
    assert chosen.to_bytes() == separate[best].to_bytes()


def test_a_larger_fan_in_is_chosen_where_it_pays() -> None:
    weight = models.sparse(64, 64, density=0.05)
    model = loaded(models.build("net (float[9, 64] x) => (float[9, 64] y) { y = MatMul(x, w) }", w=weight))
    values = {
        fan_in: value(
            permuted(model, fan_in=fan_in, array="16x16")[0], "passes", {"array": "16x16"}, AREA, fan_in
        )
        for fan_in in TRIED
    }
    _, report = permuted(model, fan_in="auto", array="16x16")
    assert 2 < report.totals["fan_in"] == min(TRIED, key=lambda fan_in: values[fan_in])


def hardware(**changes: Any) -> dict[str, Any]:
    buffer = {"size": "4 KiB", "bandwidth": "16 words/cycle", "double_buffered": True}
    return {**HARDWARE, "activation_buffer": buffer, "weight_buffer": buffer, "fan_in": 16, **changes}


@pytest.mark.parametrize("objective", ["passes", "cycles", "energy"])
@pytest.mark.parametrize("most", [1, 3, 5, 12, 16])
def test_only_fan_ins_of_the_hardware_are_tried(most: int, objective: str) -> None:
    model, given = network(), {"hardware": hardware(fan_in=most)}
    chosen, report = permuted(model, fan_in="auto", objective=objective, area=OTHER_AREA, **given)
    tried = [*(fan_in for fan_in in TRIED if fan_in < most), most]
    found = {}
    for fan_in in tried:
        own = {"hardware": hardware(fan_in=fan_in)}
        one, _ = permuted(model, objective=objective, **own)
        found[fan_in] = value(one, objective, own, OTHER_AREA, fan_in), packings(one)
    best = min(tried, key=lambda fan_in: (found[fan_in][0], fan_in))
    assert report.totals["fan_in"] == best
    assert packings(chosen) == found[best][1]
    tightc.simulate(chosen, **given)


@pytest.mark.parametrize("method", ["first-fit", "tight"])
def test_report_and_history_hold_the_number(method: str) -> None:
    model, report = permuted(network(), fan_in="auto", array="8x8", method=method)
    properties = {entry.key: entry.value for entry in model.proto.metadata_props}
    (entry,) = json.loads(properties["tightc.history"])
    assert entry["options"]["fan_in"] == report.totals["fan_in"] in TRIED
    assert "area" not in entry["options"]
    assert all(packing.fan_in <= report.totals["fan_in"] for packing in read_packings(model).values())


@pytest.mark.parametrize("method", ["column-combine", "nm", "structured", "dense"])
def test_methods_that_do_not_read_it_refuse_auto(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = (
        f"expected an integer for method {method}, whose tiles do not depend on it, got auto; "
        "give an integer, or choose tight"
    )
    with pytest.raises(OptionError) as caught:
        tightc.permute(network(), fan_in="auto", method=method)
    assert str(caught.value) == f"fan_in: {said}"
    path = models.save(models.cnn(), tmp_path / "net.onnx")
    assert run(["permute", str(path), "--fan-in", "auto", "--method", method, "-o", "-"]) == 2
    assert capsys.readouterr().err == f"tightc: error: --fan-in: {said}\n"


@pytest.mark.parametrize("text", ["AUTO", "", "0", "32768", "2.5", "true"])
def test_other_fan_ins_are_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = models.save(models.cnn(), tmp_path / "net.onnx")
    assert run(["permute", str(path), "--fan-in", text, "-o", "-"]) == 2
    assert "--fan-in: expected inputs that a lane can carry, 1 to 32767, or auto" in capsys.readouterr().err


@pytest.mark.parametrize("given", [True, 0, 32768, 2.0, None, "8"])
def test_other_fan_ins_are_refused_in_python(given: object) -> None:
    with pytest.raises(OptionError) as caught:
        tightc.PermuteOptions(fan_in=given)
    assert str(caught.value).startswith("fan_in: expected inputs that a lane can carry, 1 to 32767, or auto")


def test_only_fan_ins_of_the_table_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    own, runs = layer_scheduler.pack_layers, []

    def run_one(*given: Any) -> PackedLayers:
        runs.append(given[1].fan_in)
        return own(*given)

    monkeypatch.setattr(fan_in_choice, "pack_layers", run_one)
    table = tightc.AreaTable.model_validate(
        {**_table(), "pes": [entry for entry in _table()["pes"] if entry["fan_in"] <= 4]}
    )
    _, report = permuted(network(), fan_in="auto", area=table)
    assert runs == [1, 2, 4]
    note = (
        "fan-in 8, 16 was not tried, since area table nangate45 holds no such processing element; to pack for it, "
        "give it as --fan-in"
    )
    assert note in report.notes
    runs.clear()
    _, report = permuted(network(), fan_in="auto", hardware=hardware(fan_in=128))
    assert runs == [1, 2, 4, 8, 16]
    assert note.replace("8, 16", "128") in report.notes
    _, report = permuted(network(), fan_in="auto", area=_table())
    assert not any("was not tried" in note for note in report.notes)


def test_a_table_without_any_form_is_refused_before_any_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def searched(*_: object) -> PackedLayers:
        raise AssertionError("searched")

    monkeypatch.setattr(fan_in_choice, "pack_layers", searched)
    table = tightc.AreaTable.model_validate(
        {**_table(), "pes": [entry for entry in _table()["pes"] if not entry["shadow"]]}
    )
    with pytest.raises(OptionError) as caught:
        permuted(network(), fan_in="auto", area=table, prefetch_weights=True)
    assert (
        "expected a form of the processing element that it holds, got fan-in 1 (tree, shadow weights)"
        in str(caught.value)
    )


def test_an_ordinary_array_is_chosen_where_weights_are_dense() -> None:
    """Multiplexers take area there, and save little energy."""
    _, report = permuted(network(0.8), fan_in="auto", array="8x8", objective="energy")
    assert report.totals["fan_in"] == 1


def _table() -> dict[str, Any]:
    from tightc.config.yaml import read_options

    return read_options(AREA, tightc.AreaTable).model_dump(mode="json")


def test_auto_is_refused_for_arrays_of_another_kind_than_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        "fan_in auto: expected hardware with int8 operands, as the area table's elements have, got fp32; "
        "give an integer"
    )
    with pytest.raises(OptionError) as caught:
        permuted(network(), fan_in="auto", hardware=hardware(operands="fp32"))
    assert str(caught.value) == said


@pytest.mark.parametrize("interrupted_at", [1, 2, 5])
def test_an_interrupt_in_any_run_is_passed_on(interrupted_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best of the runs so far, also where that is not the one that was interrupted."""
    own, runs = layer_scheduler.pack_layers, []

    def run_one(*given: Any) -> PackedLayers:
        packed = own(*given)
        runs.append(given[1].fan_in)
        ends = len(runs) == interrupted_at
        return PackedLayers(packed.packings, ends, ("two",) if ends else ())

    monkeypatch.setattr(fan_in_choice, "pack_layers", run_one)
    with pytest.raises(tightc.Interrupted) as caught:
        permuted(network(0.5), fan_in="auto", array="32x8", objective="energy")
    assert runs == list(TRIED[:interrupted_at])
    model, report = caught.value.result
    assert report.totals["fan_in"] == (1 if interrupted_at == 1 else 2)  # of all the best
    (entry,) = json.loads({e.key: e.value for e in model.proto.metadata_props}["tightc.history"])
    assert entry["ended"]["by"] == "interrupt"
    assert any("the interrupt ended the search in" in note for note in report.notes)


def test_a_run_that_time_cut_short_is_told_even_if_another_was_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = layer_scheduler.pack_layers

    def run_one(*given: Any) -> PackedLayers:
        return PackedLayers(own(*given).packings, False, ("three",) if given[1].fan_in == 16 else ())

    monkeypatch.setattr(fan_in_choice, "pack_layers", run_one)
    model, report = permuted(network(0.5), fan_in="auto", array="32x8", objective="energy")
    assert report.totals["fan_in"] == 2
    (entry,) = json.loads({e.key: e.value for e in model.proto.metadata_props}["tightc.history"])
    assert entry["ended"] == {"by": "time limit", "layers": ["three"]}


def test_all_runs_together_keep_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    own, limits = layer_scheduler.pack_layers, []

    def run_one(*given: Any) -> PackedLayers:
        limits.append(given[1].time_limit)
        time.sleep(0.05)
        return own(*given)

    monkeypatch.setattr(fan_in_choice, "pack_layers", run_one)
    model, _ = permuted(network(), fan_in="auto", array="8x8", time_limit=1000.0)
    assert limits[0] == pytest.approx(200, abs=5)
    assert all(limit <= 1000 / (5 - done) for done, limit in enumerate(limits))
    assert 900 < limits[4] < 1000  # what a run leaves goes to those after it
    (entry,) = json.loads({e.key: e.value for e in model.proto.metadata_props}["tightc.history"])
    assert entry["options"]["time_limit"] == "1000s"


def test_without_time_a_fan_in_is_chosen_all_the_same() -> None:
    _, report = permuted(network(), fan_in="auto", array="8x8", time_limit=1e-9)
    assert report.totals["fan_in"] in TRIED and report.totals["dropped_weights"] == 0
    assert any("the time limit ended the search" in note for note in report.notes)


def test_progress_rises_over_all_runs_and_reaches_the_end_once() -> None:
    reports: dict[str, list[float]] = {}

    def progress(task: str, done: float, _figures: object, /) -> None:
        reports.setdefault(task, []).append(done)

    permuted(network(), fan_in="auto", array="8x8", progress=progress)
    assert set(reports) == {"one", "two", "three", "permute"}
    for steps in reports.values():
        assert steps == sorted(steps) and steps.count(1.0) == 1 and steps[-1] == 1.0


def test_the_command_takes_auto_and_a_recipe_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = models.save(models.cnn(), tmp_path / "net.onnx")
    flags = ["--array", "8x8", "--fan-in", "auto", "--jobs", "1", "--quiet", "--json"]
    assert run(["permute", str(path), *flags, "-o", str(tmp_path / "out.onnx")]) == 0
    totals = json.loads(capsys.readouterr().out)["totals"]
    (tmp_path / "r.yaml").write_text(
        "model: net.onnx\nstages:\n  - permute: {array: 8x8, fan_in: auto, jobs: 1}\n"
    )
    assert run(["run", str(tmp_path / "r.yaml"), "-o", str(tmp_path / "out"), "--quiet"]) == 0
    (made,) = (tmp_path / "out").glob("*-permute.onnx")
    (entry,) = json.loads({e.key: e.value for e in tightc.load(made).proto.metadata_props}["tightc.history"])
    assert entry["options"]["fan_in"] == totals["fan_in"] in TRIED
    assert packings(tightc.load(made)) == packings(tightc.load(tmp_path / "out.onnx"))


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_in_the_second_run_gives_the_better_of_both(jobs: int) -> None:
    sent: list[float] = []

    def progress(_task: str, done: float, _figures: object, /) -> None:
        if done > 0.25 and not sent:  # a fifth is the first run
            sent.append(done)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    with pytest.raises(tightc.Interrupted) as caught:
        tightc.permute(
            network(),
            fan_in="auto",
            array="8x8",
            temp_schedule=tightc.TemperatureSchedule(moves_per_weight=2000),
            jobs=jobs,
            progress=progress,
        )
    model, report = caught.value.result
    assert len(sent) == 1 and report.totals["fan_in"] in (1, 2)
    (entry,) = json.loads({e.key: e.value for e in model.proto.metadata_props}["tightc.history"])
    assert entry["ended"] == {"by": "interrupt", "layers": ["one", "two", "three"]}
    assert tightc.simulate(model).totals["passes"] == report.totals["passes"]
