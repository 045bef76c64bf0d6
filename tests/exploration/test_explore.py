"""The exploration against the full grid, against separate runs of the stages, and what its store spares."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import yaml

import tightc
from helpers import models
from helpers.loading import loaded
from tightc.data.images import NormalizedImages
from tightc.example import RECIPE
from tightc.exploration import explore as exploring
from tightc.exploration.explore import explore
from tightc.exploration.options import ExploreOptions
from tightc.exploration.recipe import write_recipe
from tightc.model.file import Model
from tightc.model.file_format.headers import read_headers, tensor_names
from tightc.model.onnx_proto.stored_tensors import tensor_values
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.report import Report

QUICK = TemperatureSchedule(steps=3, moves_per_weight=20)
AREA = tightc.configs() / "area" / "nangate45.yaml"
SMALL = {"array": "4x4,8x4", "fan_in": (2, 4), "temp_schedule": QUICK, "jobs": 1}


@pytest.fixture
def model() -> Model:
    return loaded(models.cnn())


@pytest.fixture(scope="module")
def digits() -> Model:
    return tightc.load(RECIPE.parent / "digits.onnx")


def rows_of(report: Report, *statuses: str) -> list[dict[str, Any]]:
    return [dict(row) for row in report.layers if row["status"] in statuses]


def front_of(report: Report) -> list[tuple[Any, ...]]:
    """The points of the front with their figures, without the time that they took."""
    names = ("number", "cycles", "energy_pj", "packed_bytes", "area_mm2", "accuracy", "passes")
    return [tuple(row.get(name) for name in names) for row in rows_of(report, "front")]


def by_hand(rows: list[dict[str, Any]], keys: list[str], groups: bool = True) -> set[int]:
    """The numbers of the rows that no other one of their network dominates, by plain loops."""
    front = set()
    for row in rows:
        rivals = [one for one in rows if not groups or one["sparsity"] == row["sparsity"]]
        beaten = any(
            all(one[key] <= row[key] for key in keys) and any(one[key] < row[key] for key in keys)
            for one in rivals
        )
        if not beaten:
            front.add(row["number"])
    return front


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("own", "keys"),
    [
        ({}, ["cycles", "energy_pj"]),
        ({"area": AREA}, ["cycles", "energy_pj", "area_mm2"]),
        ({"front": "cycles,energy,bytes"}, ["cycles", "energy_pj", "packed_bytes"]),
    ],
)
def test_the_front_is_that_of_the_full_grid(
    digits: Model, seed: int, own: dict[str, Any], keys: list[str]
) -> None:
    grid = {"array": "8x8,16x16", "fan_in": (4, 8), "sparsity": (0.9, 0.95), "temp_schedule": QUICK, **own}
    found, whole = (
        explore([digits], ExploreOptions(**grid, exhaustive=every), seed=seed).report
        for every in (False, True)
    )
    assert whole.totals["skipped_points"] == 0
    assert front_of(found) == front_of(whole)
    assert {row["number"] for row in rows_of(found, "front")} == by_hand(
        rows_of(whole, "front", "dominated"), keys
    )
    values = {row["number"]: row for row in whole.layers}
    for row in rows_of(found, "skipped"):  # a bound holds, and what is said to dominate it does
        actual, best = values[row["number"]], values[row["by"]]
        for key in keys:
            assert best[key] <= row["bound"][key] <= actual[key]
        assert any(best[key] < row["bound"][key] for key in keys)
    if keys == ["cycles", "energy_pj"]:
        assert rows_of(found, "skipped")


def test_the_front_of_all_measures_is_that_of_the_full_grid(digits: Model) -> None:
    """With accuracies there is one front for all sparsities."""
    images = tightc.load_images(RECIPE.parent / "digits.npz", digits, split="train")
    front = ("cycles", "energy", "area", "bytes", "accuracy")
    grid = {"array": "4x4,16x16", "fan_in": (4, 16), "sparsity": (0.9, 0.95), "temp_schedule": QUICK}
    found, whole = (
        explore([digits], ExploreOptions(**grid, area=AREA, front=front, exhaustive=every), images).report
        for every in (False, True)
    )
    assert front_of(found) == front_of(whole)
    rows = [{**row, "loss": -row["accuracy"]} for row in rows_of(whole, "front", "dominated")]
    keys = ["cycles", "energy_pj", "area_mm2", "packed_bytes", "loss"]
    assert {row["number"] for row in rows_of(found, "front")} == by_hand(rows, keys, groups=False)
    assert 0 < len(rows_of(found, "front")) < len(rows)
    values = {row["number"]: row for row in whole.layers}
    for row in rows_of(found, "skipped"):
        actual = values[row["number"]]
        assert all(row["bound"][key] <= actual[key] for key in keys[:-1])
        assert row["bound"]["accuracy"] == actual["accuracy"]


def test_of_a_model_given_twice_each_has_its_own_front(digits: Model) -> None:
    """Both are the same points in the store, and each names a point of its own."""
    grid = {"array": "8x8,16x16", "fan_in": (4, 8), "temp_schedule": QUICK}
    pruned = tightc.prune(digits, sparsity=0.93).model
    once = explore([pruned], ExploreOptions(**grid)).report
    twice = explore([pruned, pruned], ExploreOptions(**grid)).report
    expected = [(row["number"], row["status"], row["by"]) for row in once.layers]
    found = [(row["number"], row["status"], row["by"]) for row in twice.layers]
    assert any(status == "skipped" for _, status, _ in expected)
    assert found[: len(expected)] == expected
    copied = [(number + len(expected), status, by and by + len(expected)) for number, status, by in expected]
    assert found[len(expected) :] == copied


def test_points_are_skipped_alike_for_any_number_of_workers(digits: Model) -> None:
    grid = {"array": "8x8,16x16", "fan_in": (4, 8), "sparsity": 0.93, "temp_schedule": QUICK}
    reports = [explore([digits], ExploreOptions(**grid, jobs=jobs)).report for jobs in (1, 3)]
    timeless = [[{**row, "seconds": None} for row in report.layers] for report in reports]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize(
    "given", [{}, {"hardware": "edge-32x32"}, {"accumulator_bypass": True, "area": AREA}]
)
def test_figures_are_those_of_the_stages(model: Model, given: dict[str, Any]) -> None:
    if "hardware" in given:
        given = {"hardware": tightc.configs() / "hardware" / f"{given['hardware']}.yaml"}
    options = ExploreOptions(
        **{**SMALL, **given}, sparsity=0.7, exhaustive=True, method="tight,first-fit,column-combine,nm,dense"
    )
    found = explore([model], options, seed=3)
    assert len(found.report.layers) == 2 * (3 * 2 + 2)
    for row in found.report.layers:
        pruned = tightc.prune(model, sparsity=0.7).model
        point = found.points[row["number"]]
        permuted = tightc.permute(pruned, point.permute, seed=3)
        own = {**given, **({"hardware": point.permute.hardware} if "hardware" in given else {})}
        whole = tightc.simulate(
            pruned if row["method"] == "dense" else permuted.model, array=row["array"], **own
        ).totals
        for key in ("cycles", "passes"):
            assert row[key] == whole[key]
        for key in ("energy_pj", "speedup", "energy_gain"):
            assert row[key] == pytest.approx(whole[key], rel=1e-12)
        assert row["dropped_weights"] == permuted.report.dropped_weights
        if "area" in given and row["method"] != "nm":
            assert row["area_mm2"] == pytest.approx(whole["area_mm2"], rel=1e-12)


@pytest.mark.parametrize("form", ["cnn", "grouped", "gemm", "quantized"])
def test_bytes_are_those_of_the_packed_tensors(form: str) -> None:
    proto = models.FORMS[form]() if form in models.FORMS else getattr(models, form)()
    model = loaded(proto)
    for row, fan_in in zip(
        explore([model], ExploreOptions(**{**SMALL, "array": "4x4"}, exhaustive=True)).report.layers,
        (2, 4),
        strict=True,
    ):
        permuted = tightc.permute(model, array="4x4", fan_in=fan_in, alpha=fan_in, temp_schedule=QUICK).model
        packed = tightc.pack(permuted).model
        tensors = {tensor.name: tensor_values(tensor) for tensor in packed.proto.graph.initializer}
        names = [
            name
            for weight, header in read_headers(packed.proto, "").items()
            if "tiles" not in header
            for name in tensor_names(weight, header)
        ]
        stored = [tensors[name].nbytes for name in names if name.endswith(("values", "index"))]
        assert len(stored) >= 2 and row["packed_bytes"] == sum(stored)


def test_without_accuracies_each_network_has_its_front(digits: Model) -> None:
    grid = {"array": "16x16", "fan_in": 8, "sparsity": (0.5, 0.9), "temp_schedule": QUICK}
    report = explore([digits], ExploreOptions(**grid)).report
    assert [row["status"] for row in report.layers] == ["front", "front"]
    assert report.layers[0]["cycles"] > report.layers[1]["cycles"]
    assert any("each network has a front of its own" in note for note in report.notes)


def test_accuracy_is_one_shot_and_a_measure(digits: Model) -> None:
    images = tightc.load_images(RECIPE.parent / "digits.npz", digits, split="train")
    grid = {"array": "16x16", "fan_in": 8, "sparsity": (0.3, 0.8, 0.97), "temp_schedule": QUICK}
    report = explore([digits], ExploreOptions(**grid), images).report
    for row in report.layers:
        pruned = tightc.prune(digits, sparsity=row["sparsity"]).model
        assert row["accuracy"] == tightc.evaluate(pruned, images).accuracy
    rows = [{**row, "loss": -row["accuracy"]} for row in report.layers]
    keys = ["cycles", "energy_pj", "loss"]
    assert {row["number"] for row in rows_of(report, "front")} == by_hand(rows, keys, groups=False)
    assert any("one-shot" in note and "not finetuned" in note for note in report.notes)
    assert report.totals["measures"] == ["cycles", "energy", "accuracy"]


def test_a_lossy_method_has_the_accuracy_of_what_it_leaves(digits: Model) -> None:
    images = tightc.load_images(RECIPE.parent / "digits.npz", digits, split="train")
    report = explore(
        [digits], ExploreOptions(array="16x16", method="nm", pattern="1:8", temp_schedule=QUICK), images
    ).report
    [row] = report.layers
    assert row["dropped_weights"] > 0 and row["fan_in"] == 8
    left = tightc.permute(
        digits, array="16x16", method="nm", pattern="1:8", fan_in=8, temp_schedule=QUICK
    ).model
    assert (
        row["accuracy"] == tightc.evaluate(left, images).accuracy < tightc.evaluate(digits, images).accuracy
    )


def test_pruned_models_stand_in_place_of_the_sparsity(digits: Model) -> None:
    pruned = [tightc.prune(digits, sparsity=sparsity).model for sparsity in (0.8, 0.9)]
    grid = {"array": "8x8,16x16", "fan_in": (4, 8), "temp_schedule": QUICK}
    given = explore(pruned, ExploreOptions(**grid)).report
    axis = explore([digits], ExploreOptions(**grid, sparsity=(0.8, 0.9))).report
    names = ("number", "array", "fan_in", "status", "cycles", "energy_pj")
    assert [[row[name] for name in names] for row in given.layers] == [
        [row[name] for name in names] for row in axis.layers
    ]
    assert all(row["sparsity"] is None for row in given.layers)


def test_nothing_is_computed_twice_with_a_store(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "points.sqlite"
    first = explore([model], ExploreOptions(**SMALL), store=store).report
    assert first.totals["evaluated"] > 0
    monkeypatch.setattr(exploring, "Evaluation", None)  # no point may be evaluated
    again = explore([model], ExploreOptions(**SMALL), store=store).report
    assert again.totals["evaluated"] == 0
    assert again.layers == first.layers


def test_grids_add_up_in_a_store(model: Model, tmp_path: Path) -> None:
    store = tmp_path / "points.sqlite"
    halves = [
        explore([model], ExploreOptions(**{**SMALL, "array": array}, exhaustive=True), store=store).report
        for array in ("4x4", "8x4")
    ]
    assert [half.totals["evaluated"] for half in halves] == [2, 2]
    both = explore([model], ExploreOptions(**SMALL, exhaustive=True), store=store).report
    assert both.totals["evaluated"] == 0
    assert front_of(both) == front_of(explore([model], ExploreOptions(**SMALL)).report)


@pytest.mark.parametrize(
    "change",
    [
        {"front": "cycles,energy,bytes"},
        {"exhaustive": True},
        {"area": AREA},
        {"array": "8x8", "fan_in": (2,)},
    ],
)
def test_a_skipped_point_is_looked_at_again_where_its_reason_no_longer_holds(
    digits: Model, tmp_path: Path, change: dict[str, Any]
) -> None:
    grid = {"array": "8x8,16x16", "fan_in": (4, 8), "sparsity": 0.93, "temp_schedule": QUICK}
    store = tmp_path / "points.sqlite"
    assert explore([digits], ExploreOptions(**grid), store=store).report.totals["skipped_points"]
    changed = ExploreOptions(**{**grid, **change})
    assert front_of(explore([digits], changed, store=store).report) == front_of(
        explore([digits], changed).report
    )


def test_a_skipped_point_is_looked_at_again_with_other_labels(digits: Model, tmp_path: Path) -> None:
    """The store has the accuracy of a skipped point on the images of the call that skipped it."""
    images = tightc.load_images(RECIPE.parent / "digits.npz", digits, split="train")
    of_sparse, of_dense = (
        NormalizedImages(
            replace(images.images, labels=classes_of(digits, sparsity, images)), images.normalization
        )
        for sparsity in (0.97, 0.5)
    )
    grid = ExploreOptions(array="8x8,16x16", fan_in=8, sparsity=(0.97, 0.5), temp_schedule=QUICK)
    store = tmp_path / "points.sqlite"
    assert explore([digits], grid, of_sparse, store=store).report.totals["skipped_points"] >= 2
    again, alone = (explore([digits], grid, of_dense, store=place).report for place in (store, None))
    assert front_of(again) == front_of(alone)
    assert {row["sparsity"] for row in rows_of(again, "front")} == {0.97, 0.5}


def classes_of(model: Model, sparsity: float, images: NormalizedImages) -> np.ndarray:
    """The classes that the pruned model gives the images, by onnxruntime alone."""
    session = onnxruntime.InferenceSession(tightc.prune(model, sparsity=sparsity).model.to_bytes())
    [name] = [value.name for value in session.get_inputs()]
    mean, std = images.normalization.mean[0], images.normalization.std[0]
    pixels = (np.asarray(images.images.pixels, np.float32) / 255 - mean) / std
    found: np.ndarray = session.run(None, {name: pixels.astype(np.float32)})[0].argmax(axis=1)
    return found


@pytest.mark.parametrize(
    "change",
    [
        {"temp_schedule": TemperatureSchedule(steps=4, moves_per_weight=20)},
        {"accumulator_bypass": True},
        {"batch": 2},
    ],
)
def test_other_options_are_other_points(model: Model, tmp_path: Path, change: dict[str, Any]) -> None:
    store = tmp_path / "points.sqlite"
    explore([model], ExploreOptions(**SMALL, exhaustive=True), store=store)
    other = explore([model], ExploreOptions(**{**SMALL, **change}, exhaustive=True), store=store).report
    assert other.totals["evaluated"] == 4
    assert (
        explore([model], ExploreOptions(**SMALL, exhaustive=True), store=store, seed=1).report.totals[
            "evaluated"
        ]
        == 4
    )


def test_hardware_without_room_for_an_array_is_named(model: Model) -> None:
    hardware = tightc.configs() / "hardware" / "edge-32x32.yaml"
    report = explore([model], ExploreOptions(**{**SMALL, "array": "8x4,4096x4096"}, hardware=hardware)).report
    unfit = rows_of(report, "unfit")
    assert [row["array"] for row in unfit] == ["4096x4096"] * 2
    assert all("expected room for one tile" in row["reason"] for row in unfit)
    assert len(rows_of(report, "front", "dominated", "skipped")) == 2


def test_a_recipe_repeats_its_point(tmp_path: Path) -> None:
    tightc.save(loaded(models.cnn()), tmp_path / "net.onnx")
    model = tightc.load(tmp_path / "net.onnx")
    hardware = tightc.configs() / "hardware" / "edge-32x32.yaml"
    for given, sparsity in itertools.product(({}, {"hardware": hardware}), ((), (0.5,))):
        found = explore([model], ExploreOptions(**SMALL, **given, sparsity=sparsity, exhaustive=True), seed=5)
        for row in found.report.layers[:2]:
            path = tmp_path / "sub" / "point.yaml"
            path.parent.mkdir(exist_ok=True)
            write_recipe(found, row["number"], path)
            last = tightc.run_recipe(path, tmp_path / f"run-{row['number']}").layers[-1]
            assert last["cycles"] == row["cycles"] and last["passes"] == row["passes"]
            assert last["energy_gain"] == pytest.approx(row["energy_gain"], rel=1e-9)


def test_a_recipe_keeps_the_tables_of_energy_and_area(tmp_path: Path) -> None:
    """Those that come with tightc by name, others in full."""
    tightc.save(loaded(models.cnn()), tmp_path / "net.onnx")
    model = tightc.load(tmp_path / "net.onnx")
    text = (tightc.configs() / "area" / "nangate45.yaml").read_text()
    (tmp_path / "own.yaml").write_text(text.replace("name: nangate45", "name: own"))
    for area, shown in (("nangate45", "nangate45"), (str(tmp_path / "own.yaml"), None)):
        options = ExploreOptions(**{**SMALL, "energy": "nangate45", "area": area})
        found = explore([model], options)
        (row, *_) = rows_of(found.report, "front")
        write_recipe(found, row["number"], tmp_path / "point.yaml")
        simulated = yaml.safe_load((tmp_path / "point.yaml").read_text())["stages"][-1]["simulate"]
        assert simulated["energy"] == "nangate45"
        assert simulated["area"] == shown if shown else simulated["area"]["name"] == "own"
        last = tightc.run_recipe(tmp_path / "point.yaml", tmp_path / "run").layers[-1]
        assert last["energy_gain"] == pytest.approx(row["energy_gain"], rel=1e-9)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"front": "accuracy"}, "--front: expected images beside accuracy, got none; add --data"),
        ({"front": "area"}, "front: expected an area table beside area, got none; add area"),
        ({"sparsity": 1.0}, "sparsity"),
        ({"fan_in": "4,x"}, "fan_in: expected inputs per lane"),
        ({"array": "8by8"}, "array.0: expected sizes of the array"),
        ({"temp_schedule": {"time_limit": "3s"}}, "temp_schedule: expected a schedule without time_limit"),
    ],
)
def test_errors_name_the_remedy(model: Model, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(tightc.OptionError) as raised:
        explore([model], ExploreOptions(**given))
    assert sentence in str(raised.value)


def test_the_verb(model: Model, tmp_path: Path) -> None:
    report = tightc.explore(
        model, array=[(4, 4), "8x4"], fan_in=4, temp_schedule=QUICK, store=tmp_path / "a.sqlite"
    )
    assert [row["array"] for row in report.layers] == ["4x4", "8x4"]
    assert report.stage == "explore" and "4x4" in str(report) and (tmp_path / "a.sqlite").exists()
    with pytest.raises(tightc.OptionError, match="models: expected at least one Model, got none"):
        tightc.explore([])
    assert all(np.isfinite(row["energy_pj"]) for row in report.layers if row["status"] == "front")
    assert rows_of(report, "front")


def test_what_no_recipe_can_be_of_is_named(model: Model, tmp_path: Path) -> None:
    hardware = tightc.configs() / "hardware" / "edge-32x32.yaml"
    found = explore([model], ExploreOptions(**{**SMALL, "array": "4096x4096"}, hardware=hardware))
    with pytest.raises(
        tightc.OptionError, match=r"expected a point that runs, got 1: .*; choose another point"
    ):
        write_recipe(found, 1, tmp_path / "point.yaml")
    piped = explore([model], ExploreOptions(**SMALL))
    sentence = r"--recipe: expected a model in a file, got .*; give the path of the model, and do not pipe it"
    with pytest.raises(tightc.OptionError, match=sentence):
        write_recipe(piped, 1, tmp_path / "point.yaml")
    assert not (tmp_path / "point.yaml").exists()


def test_the_area_of_fp32_hardware_is_not_known(model: Model, tmp_path: Path) -> None:
    path = tightc.configs() / "hardware" / "edge-32x32.yaml"
    (tmp_path / "fp32.yaml").write_text(path.read_text().replace("operands: int8", "operands: fp32"))
    options = ExploreOptions(**SMALL, hardware=tmp_path / "fp32.yaml", area=AREA)
    with pytest.raises(
        tightc.OptionError, match=r"--area: expected hardware with int8 operands, .* leave --area out"
    ):
        explore([model], options)
