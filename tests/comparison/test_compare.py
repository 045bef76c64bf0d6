"""The comparison against separate runs of permute and simulate, and what it says of what it cannot compare."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.compose
import pytest

import tightc
from helpers import models
from helpers.loading import loaded
from tightc.accelerator.energy_table import default_table
from tightc.accelerator.hardware import Hardware
from tightc.accelerator.options import AcceleratorOptions
from tightc.comparison import compare as comparison
from tightc.comparison.compare import compare
from tightc.comparison.options import CompareOptions
from tightc.config.yaml import read_options
from tightc.errors import ModelError, OptionError
from tightc.model.file import Model, load_model
from tightc.packing.pack import pack
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.permutation.pattern import Pattern
from tightc.permutation.permute import permute
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.report import Report
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = ArrayShape(8, 4)
QUICK = TemperatureSchedule(steps=5, moves_per_weight=50)
FIGURES = ["passes", "cycles", "stall_cycles", "speedup", "energy_pj", "energy_gain", "utilisation"]
MEASURES = ["matrix_compression_rate", "tightness", "dropped_weights", "dropped_magnitude", "packed_bits",
            "bit_compression", "fan_in_max"]  # fmt: skip


def hardware(name: str) -> Hardware:
    return read_options(CONFIGS / "hardware" / f"{name}.yaml", Hardware)


def options(**given: Any) -> CompareOptions:
    return CompareOptions(**{"temp_schedule": QUICK, "jobs": 1, "array": SMALL, **given})


def labels(report: Report) -> list[str]:
    return [row["variant"] for row in report.layers]


def one_by_one(
    model: Model, method: str, accelerator: SimulateOptions, seed: int = 0, **own: Any
) -> dict[str, Any]:
    """What separate runs of permute and simulate say; dense is the plain model, with all its weights."""
    hardware = {name: getattr(accelerator, name) for name in AcceleratorOptions.model_fields}
    own = {"method": method, "fan_in": 8, **own}
    permuted, report = permute(
        model,
        PermuteOptions(**{**hardware, **own}, temp_schedule=QUICK, jobs=1),
        seed=seed,
    )
    totals = simulate(model if method == "dense" else permuted, accelerator).totals
    found = {name: totals.get(name) for name in FIGURES}
    found["stall_cycles"] = totals["cycles"] - totals["compute_cycles"]
    return {**found, **{name: report.totals[name] for name in MEASURES}}


def only(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in (*FIGURES, *MEASURES)}


# --- figures


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("form", ["cnn", "grouped", "shared weight", "empty layer"])
def test_every_row_is_what_separate_runs_say(form: str, seed: int) -> None:
    model = loaded(models.FORMS[form]())
    asked = options(
        fan_in=(2, 5), method=("dense", "structured", "column-combine", "nm", "first-fit", "tight")
    )
    accelerator = SimulateOptions(array=SMALL)
    expected = {
        "dense": one_by_one(model, "dense", accelerator),
        "structured": one_by_one(model, "structured", accelerator),
        "column-combine 0": one_by_one(model, "column-combine", accelerator, fan_in=8, gamma=0.0),
        "column-combine 0.5": one_by_one(model, "column-combine", accelerator, fan_in=8, gamma=0.5),
        "column-combine 1.75": one_by_one(model, "column-combine", accelerator, fan_in=8, gamma=1.75),
        "nm 2:4": one_by_one(model, "nm", accelerator, seed),
        "first-fit, fan-in 2": one_by_one(model, "first-fit", accelerator, fan_in=2),
        "first-fit, fan-in 5": one_by_one(model, "first-fit", accelerator, fan_in=5),
        "tight, fan-in 2": one_by_one(model, "tight", accelerator, seed, fan_in=2),
        "tight, fan-in 5": one_by_one(model, "tight", accelerator, seed, fan_in=5),
    }
    report = compare([model], asked, seed=seed)
    assert {row["variant"]: only(row) for row in report.layers} == expected
    assert labels(report) == list(expected)
    assert report.totals == {
        "array": "8x4", "arrays": 1, "hardware": "ideal", "dataflow": "ws", "prefetch_weights": False,
        "replicate_tiles": False, "columns_per_lane_register": 1, "overlap_drain": False, "accumulator_bypass": False,
        "energy_table": default_table().name, "hardware_file": {},
        "energy_file": default_table().model_dump(mode="json"), "seed": seed,
    }  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"arrays": 3},
        {"prefetch_weights": True},
        {"replicate_tiles": True},
        {"columns_per_lane_register": 4, "prefetch_weights": True, "overlap_drain": True},
        {"accumulator_bypass": True},
        {"batch": 5},
    ],
)
def test_the_hardware_is_that_of_simulate(changed: dict[str, Any]) -> None:
    model, tight = loaded(models.cnn()), hardware("tight-32x32")
    asked = options(hardware=tight, array=None, **changed)
    accelerator = SimulateOptions(hardware=tight, array=tight.array, **changed)
    report = compare([model], asked)
    dense, *_, last = report.layers
    assert only(dense) == one_by_one(model, "dense", accelerator)
    assert last["variant"] == "tight, fan-in 8"
    assert only(last) == one_by_one(model, "tight", accelerator, fan_in=8)
    assert last["dram_bytes"] > 0 and last["time_ms"] > 0
    assert report.totals["hardware"] == "tight-32x32" and report.totals["array"] == "32x32"
    assert report.notes[0] == "energy is a model, not measured: int8 operands, int32 sums, with DRAM"


def test_every_option_of_the_hardware_is_an_option_of_compare() -> None:
    # tiles are weight-stationary, and methods are compared as packed
    of_other_use = {"dataflow", "verify", "inputs", "why", "weights", "decoder"}
    shared = SimulateOptions.model_fields.keys() - of_other_use
    assert shared <= CompareOptions.model_fields.keys()
    assert CompareOptions().simulated(SMALL) == SimulateOptions(array=SMALL)


def test_a_real_network_on_real_hardware(resnet20: Path) -> None:
    model, _ = prune(load_model(resnet20), PruneOptions(sparsity=0.9))
    tight = hardware("tight-32x32")
    report = compare([model], options(hardware=tight, array=None, fan_in=(4, 8)))
    accelerator = SimulateOptions(hardware=tight, array=tight.array)
    rows = {row["variant"]: row for row in report.layers}
    assert only(rows["tight, fan-in 4"]) == one_by_one(model, "tight", accelerator, fan_in=4)
    assert only(rows["nm 2:4"]) == one_by_one(model, "nm", accelerator)
    combined = one_by_one(model, "column-combine", accelerator, gamma=0.0)
    assert only(rows["column-combine 0"]) == combined
    for row in report.layers:
        assert row["over_column_combine"] == pytest.approx(combined["cycles"] / row["cycles"])
        gain = row["energy_gain_over_column_combine"]
        assert gain == pytest.approx(combined["energy_pj"] / row["energy_pj"])
        assert row["speedup"] == pytest.approx(rows["dense"]["cycles"] / row["cycles"])
        assert row["energy_gain"] == pytest.approx(rows["dense"]["energy_pj"] / row["energy_pj"])
    assert rows["tight, fan-in 8"]["stall_cycles"] > 0
    assert rows["tight, fan-in 8"]["speedup"] > rows["column-combine 0"]["speedup"] > 1


def test_without_lossless_column_combining_nothing_is_measured_against_it() -> None:
    report = compare([loaded(models.cnn())], options(gamma=(0.5,)))
    for row in report.layers:
        assert row["over_column_combine"] is None and row["energy_gain_over_column_combine"] is None


def test_the_dense_row_holds_all_weights() -> None:
    proto = models.cnn()
    full = models.cnn()
    for tensor in full.graph.initializer:
        shape = tuple(tensor.dims)
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.ones(shape, np.float32), tensor.name))
    (sparse,), (dense,) = (
        compare([loaded(found)], options(method=("dense",))).layers for found in (proto, full)
    )
    same = ("cycles", "energy_pj", "passes", "packed_bits", "matrix_compression_rate")
    assert [sparse[name] for name in same] == [dense[name] for name in same]
    assert (dense["speedup"], dense["energy_gain"], dense["bit_compression"]) == (1.0, 1.0, 1.0)


def test_a_network_without_weights_has_rows_all_the_same() -> None:
    text = "net (float[1, 4] x) => (float[1, 4] y) { y = MatMul(x, w) }"
    report = compare([loaded(models.build(text, w=np.zeros((4, 4), np.float32)))], options())
    *_, last = report.layers
    assert (last["passes"], last["cycles"], last["speedup"], last["over_column_combine"]) == (
        0,
        0,
        None,
        None,
    )


# --- who takes part


def test_one_row_for_each_variant_by_default() -> None:
    report = compare([loaded(models.cnn())], options())
    assert labels(report) == [
        "dense", "structured", "column-combine 0", "column-combine 0.5", "column-combine 1.75", "nm 2:4",
        "tight, fan-in 8",
    ]  # fmt: skip
    assert report.stage == "compare" and report.to_dict()["schema"] == "tightc.compare/2"
    assert {row["model"] for row in report.layers} == {"net"}


def test_lists_give_a_row_for_each_value_once() -> None:
    asked = options(
        method=("tight", "nm", "column-combine", "tight"),
        fan_in=(2, 4, 2),
        gamma=(0.25,),
        pattern=(Pattern(1, 4), Pattern(2, 8)),
        alpha=4,
    )
    report = compare([loaded(models.cnn())], asked)
    assert labels(report) == [
        "tight, fan-in 2", "tight, fan-in 4", "nm 1:4", "nm 2:8", "column-combine 0.25, alpha 4",
    ]  # fmt: skip
    assert [row["fan_in"] for row in report.layers] == [2, 4, 4, 8, 4]


def test_the_best_of_tight_is_named() -> None:
    report = compare([loaded(models.cnn())], options(method=("tight",), fan_in=(1, 2, 4)))
    energy = min(report.layers, key=lambda row: row["energy_pj"])["variant"]
    cycles = min(report.layers, key=lambda row: row["cycles"])["variant"]
    assert report.notes[1:] == (f"least energy of the tight ones: {energy}; fewest cycles: {cycles}",)


def test_each_objective_has_a_row_for_each_fan_in() -> None:
    chosen = options(method=("tight",), fan_in=(2, 4), objective=("passes", "energy"))
    report = compare([loaded(models.cnn())], chosen)
    assert labels(report) == [
        "tight, fan-in 2", "tight, fan-in 4", "tight, fan-in 2, energy", "tight, fan-in 4, energy",
    ]  # fmt: skip
    for row in report.layers:
        objective = "energy" if row["variant"].endswith("energy") else "passes"
        single = one_by_one(
            loaded(models.cnn()),
            "tight",
            SimulateOptions(array=SMALL),
            fan_in=row["fan_in"],
            objective=objective,
        )
        assert {name: row[name] for name in single} == single


def test_the_seed_decides_and_jobs_do_not() -> None:
    model, tight = loaded(models.cnn()), {"method": ("tight", "nm"), "fan_in": (2,)}
    one = compare([model], options(**tight), seed=1)
    assert one == compare([model], options(**tight, jobs=3), seed=1)
    assert one.layers != compare([model], options(**tight), seed=2).layers


def test_hardware_of_fan_in_1_leaves_no_row_out() -> None:
    edge = hardware("edge-32x32")
    report = compare([loaded(models.cnn())], options(hardware=edge, array=None))
    assert labels(report) == [
        "dense", "structured", "column-combine 0, alpha 1", "column-combine 0.5, alpha 1",
        "column-combine 1.75, alpha 1", "nm 2:4", "tight, fan-in 1",
    ]  # fmt: skip
    *others, nm, tight = report.layers
    assert {row["fan_in_max"] for row in (*others, tight)} == {1}
    assert all(row["over_column_combine"] for row in (*others, tight))
    assert all(nm[name] is None for name in (*FIGURES[:-1], *MEASURES, "over_column_combine"))
    assert report.notes[1:] == (
        "column-combine has alpha 1, not 8: a lane of edge-32x32 carries no more inputs",
        "nm 2:4 has no figures: it needs a fan-in of 4, a lane of edge-32x32 carries 1",
    )


def test_rows_that_drop_weights_are_marked() -> None:
    lossy = compare([loaded(models.cnn())], options(method=("nm",), pattern=(Pattern(1, 8),)))
    assert lossy.layers[0]["dropped_weights"] > 0 and lossy.layers[0]["dropped_magnitude"] > 0
    assert lossy.notes[-1] == (
        "rows that drop weights are compared before tightc finetune: what accuracy that costs is not counted"
    )
    lossless = compare([loaded(models.cnn())], options(method=("tight",)))
    assert len(lossless.notes) == 1


# --- models


@pytest.mark.parametrize("packed", [False, True])
def test_an_arranged_model_is_compared_afresh_and_as_it_is(packed: bool) -> None:
    model = loaded(models.cnn())
    permuted, report = permute(
        model, PermuteOptions(array=SMALL, fan_in=2, temp_schedule=QUICK, jobs=1, method="first-fit")
    )
    subject = pack(permuted)[0] if packed else permuted
    asked = options(array=None)
    found = compare([subject], asked)
    assert found.totals["array"] == "8x4"
    *afresh, as_it_is = found.layers
    assert tuple(afresh) == compare([model], options()).layers
    totals = simulate(subject, SimulateOptions()).totals
    assert (as_it_is["variant"], as_it_is["method"], as_it_is["fan_in"]) == ("as arranged", "first-fit", 2)
    assert {name: as_it_is[name] for name in MEASURES} == {name: report.totals[name] for name in MEASURES}
    for name in ("passes", "cycles", "speedup", "energy_pj", "energy_gain"):
        assert as_it_is[name] == totals[name]
    assert as_it_is["over_column_combine"] == afresh[2]["cycles"] / as_it_is["cycles"]


def test_an_arrangement_that_does_not_run_here_is_named() -> None:
    small = PermuteOptions(array=SMALL, fan_in=2, temp_schedule=QUICK)
    permuted, _ = permute(loaded(models.cnn()), small)
    report = compare([permuted], options(array=ArrayShape(4, 4), method=("dense",)))
    assert labels(report) == ["dense"]
    assert report.notes[1] == (
        "net is not compared as it is arranged: --array: expected 8x4, the array that the model was "
        "permuted for, got 4x4"
    )
    wide, _ = permute(loaded(models.cnn()), PermuteOptions(fan_in=4, temp_schedule=QUICK))
    report = compare([wide], options(hardware=hardware("edge-32x32"), array=None, method=("dense",)))
    assert labels(report) == ["dense"]
    assert report.notes[1].startswith(
        "net is not compared as it is arranged: --hardware edge-32x32: expected a fan-in of at least "
    )


def test_a_damaged_arrangement_is_an_error() -> None:
    permuted, _ = permute(loaded(models.gemm()), PermuteOptions(array=SMALL, temp_schedule=QUICK))
    other = permuted.with_tensors({"w": np.ones((9, 5), np.float32)})
    with pytest.raises(ModelError, match="does not fit its weights"):
        compare([other], options(method=("dense",)))


def test_several_models_have_rows_of_their_own() -> None:
    subjects = [loaded(models.cnn(), "a/one.onnx"), loaded(models.gemm(), "b/two.onnx")]
    report = compare(subjects, options(fan_in=(2, 4)))
    assert [row["model"] for row in report.layers] == ["one"] * 8 + ["two"] * 8
    for at, subject in enumerate(subjects):
        single = compare([subject], options(fan_in=(2, 4))).layers
        assert report.layers[8 * at : 8 * (at + 1)] == single
    assert [note.partition(":")[0] for note in report.notes[-2:]] == ["one", "two"]


@pytest.mark.parametrize(
    ("origins", "names"),
    [
        (["a/net.onnx", "b/net.onnx"], ["a/net.onnx", "b/net.onnx"]),
        (["net.onnx", "net.onnx"], ["net.onnx", "net.onnx (2)"]),
        (["<stdin>", "net.onnx"], ["<stdin>", "net"]),
    ],
)
def test_models_of_one_name_are_distinguished(origins: list[str], names: list[str]) -> None:
    report = compare(
        [loaded(models.gemm(), origin) for origin in origins], options(method=("dense",), array=None)
    )
    assert [row["model"] for row in report.layers] == names
    assert report.totals["array"] == "32x32"


def test_uncovered_operators_are_listed_once_for_each_model() -> None:
    report = compare([loaded(models.with_if("v")), loaded(models.attention(), "other.onnx")], options())
    assert [(row["model"], row["operator"]) for row in report.uncovered] == [
        ("net", "If"),
        ("other", "MatMul"),
    ]


def test_models_arranged_for_different_arrays_need_an_array() -> None:
    subjects = [
        permute(loaded(models.gemm()), PermuteOptions(array=array, temp_schedule=QUICK))[0]
        for array in (SMALL, ArrayShape(4, 4))
    ]
    with pytest.raises(OptionError) as fault:
        compare(subjects, options(array=None))
    assert str(fault.value) == "the models are arranged for 4x4 and 8x4; choose one with --array"
    report = compare(subjects, options(method=("dense",)))
    assert labels(report) == ["dense", "as arranged", "dense"]


# --- the rest


def test_progress_is_reported_variant_by_variant() -> None:
    reports: dict[str, list[float]] = {}
    compare(
        [loaded(models.cnn())],
        options(fan_in=(2, 3), jobs=2),
        progress=lambda task, done, _figures: reports.setdefault(task, []).append(done),
    )
    assert list(reports) == labels(compare([loaded(models.cnn())], options(fan_in=(2, 3))))
    for shares in reports.values():
        assert shares[-1] == 1.0 and all(0 <= share < 1 for share in shares[:-1])


def test_the_verb_of_the_package() -> None:
    report = tightc.compare([loaded(models.gemm())], options(method=("dense",)))
    assert labels(report) == ["dense"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"method": "magic"}, "--method: expected one of tight, first-fit, column-combine, nm, row-nm, "
         "series-nm, displace, vusa, whole-filters, structured, dense, "
         "got 'magic'; choose one of these, or install the package that adds it"),
        ({"method": ()}, "--method: expected methods to compare: .*, got \\(\\); give a non-empty list$"),
        ({"fan_in": "4,0"}, "--fan-in: expected inputs per lane, .*, got 0; give a number of at least 1$"),
        ({"fan_in": "4,x"}, "--fan-in: expected inputs per lane, .*, got '4,x'; give integers separated by commas$"),
        ({"gamma": [-1]}, "--gamma: expected .*, got -1; give a number of at least 0$"),
        ({"pattern": "2:4,4:2"}, "--pattern: expected .*, got '4:2'; give two integers N:M, "),
        ({"hardware": hardware("multiplexed-32x32"), "fan_in": (4, 16)}, "--fan-in: expected at most 8, the "
         "fan-in of multiplexed-32x32, got 16; lower it to 8 or leave it out"),
    ],
)  # fmt: skip
def test_wrong_options(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OptionError) as fault:
        CompareOptions.of(given)
    assert re.match(sentence, str(fault.value))


def test_an_array_that_the_buffers_are_too_small_for() -> None:
    asked = options(hardware=hardware("tight-32x32"), array=ArrayShape(512, 512))
    with pytest.raises(OptionError) as fault:
        compare([loaded(models.gemm())], asked)
    assert str(fault.value) == (
        "--array 512x512 on tight-32x32: weight_buffer.size: expected room for one tile (512x512 int8 weights), "
        "got half of 64 KiB; give at least 512 KiB"
    )


@pytest.mark.parametrize("text", ["4,8,16", [4, 8, 16], (4, 8, 16), ["4", " 8", "16"]])
def test_lists_in_every_form(text: object) -> None:
    assert CompareOptions.of({"fan_in": text}).fan_in == (4, 8, 16)
    assert CompareOptions.of({"fan_in": 4, "gamma": 0, "pattern": Pattern(1, 4)}).pattern == (Pattern(1, 4),)


# --- half-done and out of date


def scarce() -> Model:
    """A layer with scarce lanes: no block of its tiles meets its bound and ends early."""
    text = "net (float[1, 256] x) => (float[1, 64] y) { [one] y = MatMul(x, w) }"
    return loaded(models.build(text, w=models.sparse(256, 64, density=0.2)))


def test_a_search_that_the_limit_ended_is_named() -> None:
    endless = TemperatureSchedule(moves_per_weight=10_000_000)
    given = options(array=ArrayShape(16, 16), fan_in=(6,), temp_schedule=endless, time_limit=0.2)
    notes = compare([scarce()], given).notes
    assert "tight, fan-in 6: the time limit ended the search before all moves were tried" in notes
    assert not any("ended" in note for note in compare([loaded(models.cnn())], options()).notes)


def test_an_arrangement_of_other_layers_is_refused_before_any_search(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = permute(loaded(models.cnn()), PermuteOptions(array=SMALL, method="first-fit"))
    renamed = onnx.compose.add_prefix(model.proto, "other_")
    monkeypatch.delattr(comparison, "permute")
    with pytest.raises(ModelError, match="its packings are those of other layers"):
        compare([model.with_proto(renamed)], options())


def test_what_was_noted_when_a_model_was_read_is_noted_again() -> None:
    one, two = (
        replace(loaded(models.cnn()), origin=name, notes=("edited",)) for name in ("a.onnx", "b.onnx")
    )
    given = options(method=("dense",))
    assert compare([one], given).notes[0] == "edited"
    assert compare([one, two], given).notes[:2] == ("a: edited", "b: edited")
