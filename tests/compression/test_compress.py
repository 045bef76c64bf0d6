"""Compress, on a network that trains in a second: what chooses, what is measured, and what repeats it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from PIL import Image

import tightc
from helpers import quadrants
from tightc.compression.outcome import check_goal
from tightc.compression.splits import Reference
from tightc.errors import DataError, GoalError
from tightc.evaluation.drop import Drop
from tightc.recipe import stage_runner
from tightc.report import Report


def compressed(folder: str = "out", **options: Any) -> Report:
    given = {"data": "data.npz", "max_drop": 90, **quadrants.QUICK, **options}
    return tightc.compress("net.onnx", folder, **given)


@pytest.fixture
def drops(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The drops that are measured, in order, each with an error of a tenth; to be filled."""
    points: list[float] = []
    monkeypatch.setattr(Reference, "drop", lambda *_: Drop("accuracy", points.pop(0), 0.1, 32))
    return points


def test_the_result_is_measured_on_the_test_set_and_the_choice_on_held_out_images(place: Path) -> None:
    report = compressed()
    data = quadrants.arrays()
    which = quadrants.held_out(32, 160)  # a fifth
    packed = place / "out" / "03-pack.onnx"
    for name, pixels, labels in (
        ("validation_drop", data["x_train"][which], data["y_train"][which]),
        ("drop", data["x_test"], data["y_test"]),
    ):
        dense, right = (quadrants.classes(file, pixels) == labels for file in (place / "net.onnx", packed))
        assert report.totals[name] == pytest.approx(100 * (dense.mean() - right.mean()))
    assert report.accuracy == pytest.approx(100 * right.mean())
    assert report.accuracy_drop == report.totals["drop"]
    assert (report.totals["validation_images"], report.totals["images"]) == (32, 120)
    assert report.totals["met"] and report.totals["packed"] == str(Path("out", "03-pack.onnx"))
    simulated = tightc.simulate(tightc.load(packed))
    assert (report.cycles, report.passes, report.speedup) == (
        simulated.cycles, simulated.passes, simulated.speedup,
    )  # fmt: skip
    assert report.density == tightc.inspect(tightc.load(packed)).density
    assert {row["epochs"] for row in report.layers} == {1, 2}
    check_goal(report)


def test_photos_of_any_size_are_resized_and_cropped(place: Path) -> None:
    for name, pixels in quadrants.arrays().items():
        if not name.startswith("x_"):
            continue
        labels = quadrants.arrays()[name.replace("x_", "y_")]
        for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            folder = place / "photos" / name.removeprefix("x_") / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.kron(image, np.ones((2, 3), np.uint8))).save(folder / f"{number}.png")
    options: dict[str, Any] = {"data": "photos", "trials": 1, "max_drop": 100, "margin": 0}
    report = compressed(**options, resize=10, crop=8)
    assert report.totals["images"] == 120
    written = yaml.safe_load((place / "out" / "recipe.yaml").read_text())["data"]
    assert (written["resize"], written["crop"]) == (10, 8)
    with pytest.raises(DataError, match="expected 8x8 pixels"):
        compressed("other", **options)


def test_what_stays_dense_is_named(place: Path) -> None:
    """Else the speedup of one small layer looks like that of the network."""
    proto = onnx.load("net.onnx")
    convolution = next(node for node in proto.graph.node if node.op_type == "Conv")
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == convolution.input[1])
    proto.graph.node.add(op_type="Abs", input=[weight.name], output=["read"], name="other")
    onnx.save(proto, "net.onnx")
    report = compressed()
    (row,) = report.uncovered
    assert row["reason"] == f"its weight {weight.name} also feeds other"
    assert report.macs_covered == tightc.inspect(tightc.load("net.onnx")).macs_covered < 1


def test_its_recipe_gives_the_same_bytes(place: Path) -> None:
    report = compressed()
    again = tightc.run_recipe(report.totals["recipe"], "again")
    assert [row["state"] for row in again.layers] == ["done"] * 7
    assert [row["stage"] for row in again.layers] == [
        "dense", "evaluate", "finetune", "permute", "pack", "simulate", "evaluate",
    ]  # fmt: skip
    files = [path.name for path in (place / "again").iterdir() if path.suffix in (".onnx", ".json", ".yaml")]
    assert "03-pack.onnx" in files and "recipe.yaml" in files
    for name in files:
        assert (place / "again" / name).read_bytes() == (place / "out" / name).read_bytes(), name


def test_the_test_set_chooses_nothing(place: Path) -> None:
    found = compressed()
    data = quadrants.arrays()
    np.savez(place / "data.npz", **{**data, "y_test": (data["y_test"] + 1) % 4})
    other = compressed("other")
    assert other.accuracy != found.accuracy
    assert other.layers == found.layers
    assert (place / "other/03-pack.onnx").read_bytes() == (place / "out/03-pack.onnx").read_bytes()


def test_trials_do_not_read_the_test_set(place: Path) -> None:
    compressed()
    for recipe in (place / "out" / "trials").glob("*/recipe.yaml"):
        assert [next(iter(stage)) for stage in yaml.safe_load(recipe.read_text())["stages"]] == [
            "finetune", "permute", "pack", "simulate",
        ]  # fmt: skip


def test_the_same_call_trains_nothing_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compressed()
    written = {path: path.read_bytes() for path in (place / "out").rglob("*") if path.is_file()}

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it was trained")

    monkeypatch.setattr(stage_runner, "finetune", refuse)
    monkeypatch.setattr(stage_runner, "permute", refuse)
    assert compressed() == first
    assert {path: path.read_bytes() for path in (place / "out").rglob("*") if path.is_file()} == written


def test_it_steps_back_where_the_full_training_is_beyond_the_drop(place: Path, drops: list[float]) -> None:
    drops += [0.5, 2.0, 1.2, 0.95, 0.8, 0.6]  # 0.9, 0.9684, then in full 0.9, 0.875, 0.8438; the test set
    report = compressed(max_drop=1)
    assert [row["sparsity"] for row in report.layers] == [0.9, 0.9684, 0.9, 0.875, 0.8438]
    assert [row["within"] for row in report.layers] == [True, False, False, False, True]
    assert report.totals["met"] and report.totals["sparsity"] == 0.8438
    assert report.notes == (
        "after the full training to sparsity 0.9 the drop on the held-out images is 1.20 ± 0.10 points: stepped back "
        "to sparsity 0.875",
        "after the full training to sparsity 0.875 the drop on the held-out images is 0.95 ± 0.10 points: stepped "
        "back to sparsity 0.8438",
    )
    first, last = (
        place / "out" / "trials" / f"sparsity-{sparsity}-epochs-2" for sparsity in ("0.9", "0.8438")
    )
    packed = (place / "out" / "03-pack.onnx").read_bytes()
    assert packed == (last / "03-pack.onnx").read_bytes() != (first / "03-pack.onnx").read_bytes()


def test_without_a_margin_a_drop_need_only_be_within(place: Path, drops: list[float]) -> None:
    drops += [1.0, 1.01, 1.0, 1.01, 1.0]
    report = compressed(max_drop=1, margin=0)
    assert [row["within"] for row in report.layers] == [True, False, True, False]
    assert report.totals["met"]


def test_a_full_training_that_stays_beyond_the_drop_is_no_success(place: Path, drops: list[float]) -> None:
    drops += [0.5, 2.0, *[1.5] * 5, 0.1]
    report = compressed(max_drop=1)
    assert [row["epochs"] for row in report.layers] == [1, 1, 2, 2, 2, 2, 2]
    assert not report.totals["met"]
    with pytest.raises(GoalError) as missed:
        check_goal(report)
    assert str(missed.value) == (
        "--max-drop 1: the result, to sparsity 0.7559, loses 1.50 ± 0.10 points on the held-out images; raise "
        "--max-drop, --epochs or --validation"
    )
    assert missed.value.exit_code == 1


def test_a_drop_on_the_test_set_beyond_the_limit_is_no_success(place: Path, drops: list[float]) -> None:
    drops += [0.5, 2.0, 0.4, 1.1, 1.25]
    report = compressed(max_drop=1)
    assert not report.totals["met"] and report.totals["validation_drop"] == 0.4
    with pytest.raises(GoalError) as missed:
        check_goal(report)
    assert str(missed.value) == (
        "--max-drop 1: the result, to sparsity 0.9, loses 1.25 ± 0.10 points on the test set; raise --max-drop, "
        "--epochs or --validation, or --margin"
    )


def test_a_drop_that_is_no_number_is_no_success(place: Path, drops: list[float]) -> None:
    drops += [0.5, 2.0, 0.4, 1.1, math.nan]  # outputs that overflow on the test set
    report = compressed(max_drop=1)
    assert report.totals["met"] is False
    with pytest.raises(GoalError, match=r"loses nan ± 0\.10 points on the test set"):
        check_goal(report)


@pytest.mark.parametrize(
    ("measured", "tried", "nearest", "remedy"),
    [
        ([3.0, 2.0], [0.9, 0.0], "sparsity 0, loses 2.00",
         "if MODEL was trained on these images, add --validation-from test; else raise --trial-epochs, or lower "
         "--learning-rate"),
        ([3.0, 0.95], [0.9, 0.0], "sparsity 0, loses 0.95",
         "hold out more images with --validation, or lower --margin"),
        ([3.0, -0.5, 1.4], [0.9, 0.0, 0.6838], "sparsity 0.6838, loses 1.40",
         "raise --max-drop, --trials or --trial-epochs"),
    ],
)  # fmt: skip
def test_no_trial_within_the_drop(
    place: Path, drops: list[float], measured: list[float], tried: list[float], nearest: str, remedy: str
) -> None:
    drops += measured
    report = compressed(max_drop=1)
    assert [row["sparsity"] for row in report.layers] == tried
    assert not report.totals["met"] and report.totals["recipe"] is None
    assert not (place / "out" / "recipe.yaml").exists()
    with pytest.raises(GoalError) as missed:
        check_goal(report)
    assert str(missed.value) == (
        f"--max-drop 1: no trial {'that prunes ' * (measured[1] <= 0)}was within it; the nearest, "
        f"to {nearest} ± 0.10 points on 32 held-out images; {remedy}"
    )


def test_where_the_last_trial_is_within_it_says_so(place: Path, drops: list[float]) -> None:
    drops += [0.0] * 6
    report = compressed(max_drop=1)
    assert [row["sparsity"] for row in report.layers] == [0.9, 0.9684, 0.9684, 0.9747, 0.9798]
    assert report.totals["sparsity"] == 0.9798
    assert report.notes == (
        "the full training to sparsity 0.9798, the furthest tried, is within the drop too: more --trials or "
        "--trial-epochs may go further",
    )


def test_it_steps_on_while_the_full_training_is_within_the_drop(place: Path, drops: list[float]) -> None:
    drops += [0.5, 2.0, 0.2, 0.8, 1.2, 0.9]
    report = compressed(max_drop=1)
    assert [row["sparsity"] for row in report.layers] == [0.9, 0.9684, 0.9, 0.92, 0.936]
    assert report.totals["sparsity"] == 0.92 and report.totals["met"] and not report.notes
    last = place / "out" / "trials" / "sparsity-0.92-epochs-2"
    assert (place / "out" / "03-pack.onnx").read_bytes() == (last / "03-pack.onnx").read_bytes()


def test_for_energy_the_gain_of_a_budget_is_searched(place: Path, drops: list[float]) -> None:
    drops += [0.5, 2.0, 0.2, 1.2, 0.9]
    report = compressed(max_drop=1, goal="energy", energy=tightc.configs() / "energy" / "nangate45.yaml")
    budgets = [row["budget"] for row in report.layers]
    gains = [float(budget.removeprefix("energy=")) for budget in budgets]
    most = gains[0] ** 2  # the first trial is the root of the largest gain that the layers permit
    assert 1 < most < 100
    expected = [most**0.5, most**0.75, most**0.5, 1.25 * most**0.5]
    assert gains == pytest.approx(expected, rel=0.01)
    assert report.totals["budget"] == budgets[0] and "sparsity" not in report.totals
    finetune = yaml.safe_load(Path(report.totals["recipe"]).read_text())["stages"][1]["finetune"]
    assert (finetune["budget"], finetune["criterion"]) == (budgets[0], "balanced")
    assert (finetune["tile_heights"], finetune["fan_in"], finetune["align"]) == ([8, 4, 2], 4, "8x8")
    assert finetune["energy"]["name"] == "nangate45"
    assert (place / "out" / "trials" / f"energy-{gains[1]:g}-epochs-1").is_dir()


def test_the_largest_gain_is_not_exceeded(place: Path, drops: list[float]) -> None:
    """Just below it a budget is met, just above it is refused; no further training follows."""
    drops += [0.0] * 9
    report = compressed(max_drop=1, goal="energy", trials=9)
    gains = [float(row["budget"].removeprefix("energy=")) for row in report.layers]
    assert not report.notes and report.totals["budget"] == report.layers[-1]["budget"]
    model = tightc.load(place / "net.onnx")
    budget: dict[str, Any] = {"align": "8x8", "tile_heights": "8,4,2", "fan_in": 4, "criterion": "balanced"}
    assert tightc.prune(model, budget=f"energy={max(gains)}", **budget).report.density < 0.5
    with pytest.raises(tightc.OptionError, match="expected an energy gain of at most"):
        tightc.prune(model, budget=f"energy={1.06 * max(gains):.2f}", **budget)


def test_for_energy_too_nothing_is_pruned_where_no_budget_is_within_the_drop(
    place: Path, drops: list[float]
) -> None:
    drops += [3.0, 0.2, 2.0, 1.5]
    report = compressed(max_drop=1, goal="energy", trials=3)
    assert [row["budget"] for row in report.layers][1] == "energy=1"
    with pytest.raises(
        GoalError,
        match=r"no trial that prunes was within it; the nearest, to \S+, loses 1\.50 ± 0\.10 points",
    ):
        check_goal(report)


def test_images_held_out_of_the_test_set(place: Path) -> None:
    report = compressed(validation_from="test", validation=50)
    data = quadrants.arrays()
    which = quadrants.held_out(50, 120)
    for name, part in (("validation_drop", which), ("drop", ~which)):
        dense, right = (
            quadrants.classes(file, data["x_test"][part]) == data["y_test"][part]
            for file in (place / "net.onnx", place / "out" / "03-pack.onnx")
        )
        assert report.totals[name] == pytest.approx(100 * (dense.mean() - right.mean()))
    assert (report.totals["validation_images"], report.totals["images"]) == (50, 70)
    assert report.accuracy == pytest.approx(100 * right.mean())
    *_, last = tightc.run_recipe(report.totals["recipe"], "again").layers
    assert last["accuracy"] == report.accuracy
    assert (place / "again/03-pack.onnx").read_bytes() == (place / "out/03-pack.onnx").read_bytes()


def test_by_default_half_of_the_test_images_are_held_out_of_it(place: Path) -> None:
    assert compressed(validation_from="test", trials=1).totals["validation_images"] == 60


def test_a_network_that_knows_the_held_out_images(place: Path, drops: list[float]) -> None:
    """The labels of the training images are what the network says; those of the test images are not."""
    drops += [0.0] * 6
    data = quadrants.arrays()
    data["y_train"] = quadrants.classes(place / "net.onnx", data["x_train"])
    data["y_test"] = (data["y_test"] + 1) % 4
    np.savez(place / "data.npz", **data)
    accuracy = 100 * (quadrants.classes(place / "net.onnx", data["x_test"]) == data["y_test"]).mean()
    assert compressed().notes[-1] == (
        f"the dense network has 100.00 % on the held-out images and {accuracy:.2f} % on the test set: it was trained "
        "on the former, so their drop is too large; try --validation-from test"
    )


def test_without_labels_the_drop_is_the_disagreement_with_the_teacher(place: Path) -> None:
    data = quadrants.arrays()
    np.savez(place / "data.npz", x_train=data["x_train"], x_test=data["x_test"])
    report = compressed(teacher="net.onnx")
    same = quadrants.classes(place / "net.onnx", data["x_test"]) == quadrants.classes(
        place / "out" / "03-pack.onnx", data["x_test"]
    )
    assert report.totals["drop_of"] == "agreement"
    assert report.totals["drop"] == pytest.approx(100 * (1 - same.mean()))
    assert report.totals["accuracy"] is report.totals["accuracy_drop"] is None
    tightc.run_recipe(report.totals["recipe"], "again")
    assert (place / "again/03-pack.onnx").read_bytes() == (place / "out/03-pack.onnx").read_bytes()
    agreement = tightc.run_recipe(report.totals["recipe"], "again").layers[-1]
    assert agreement["stage"] == "evaluate" and agreement["state"] == "unchanged"


def test_another_network_teaches(place: Path) -> None:
    tightc.save(tightc.prune(tightc.load("net.onnx"), sparsity=0.5).model, "teacher.onnx")
    recipes = []
    for teacher in ("net.onnx", "teacher.onnx"):
        report = compressed(f"by-{teacher}", teacher=teacher, trials=1)
        recipes.append(yaml.safe_load(Path(report.totals["recipe"]).read_text()))
        assert report.totals["drop_of"] == "accuracy"  # the labels measure
    assert [recipe["teacher"] for recipe in recipes] == ["../net.onnx", "../teacher.onnx"]
    trained = [
        (place / f"by-{name}" / "01-finetune.onnx").read_bytes() for name in ("net.onnx", "teacher.onnx")
    ]
    assert trained[0] != trained[1]


@pytest.mark.parametrize(
    ("goal", "objective", "align", "strip"),
    [
        ("cycles", "cycles", "8x8", False),
        ("energy", "energy", "8x8", False),
        ("area", "area", "2x8", False),
        ("bytes", "passes", None, True),
    ],
)
def test_each_goal_has_its_chain(
    place: Path, goal: str, objective: str, align: str | None, strip: bool
) -> None:
    report = compressed(goal=goal, trials=1, replicate_tiles=True, skip="last")
    finetune, permute, pack, simulate = (
        next(iter(stage.values()))
        for stage in yaml.safe_load(Path(report.totals["recipe"]).read_text())["stages"]
        if "evaluate" not in stage
    )
    assert (permute["objective"], finetune.get("align"), pack["strip"]) == (objective, align, strip)
    assert ("budget" in finetune, finetune.get("replicate_tiles")) == (
        (True, True) if goal == "energy" else (False, None)
    )
    assert permute["fan_in"] == 4 and permute["array"] == "8x8"
    assert permute["replicate_tiles"] is simulate["replicate_tiles"] is True
    assert finetune["skip"] == ["last"] and finetune["epochs"] == 2


def test_the_hardware_gives_array_and_fan_in(place: Path) -> None:
    options = {name: value for name, value in quadrants.QUICK.items() if name not in ("array", "fan_in")}
    hardware = tightc.configs() / "hardware" / "edge-32x32.yaml"
    report = tightc.compress(
        "net.onnx", "out", data="data.npz", max_drop=90, hardware=hardware, **{**options, "trials": 1}
    )
    assert report.totals["array"] == "32x32"
    recipe = yaml.safe_load(Path(report.totals["recipe"]).read_text())
    assert recipe["stages"][1]["finetune"]["align"] == "32x32"


def test_code_for_the_data_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "ours.py").write_text(
        "import numpy as np\n"
        "def data(split):\n"
        "    found = np.load('data.npz')\n"
        "    return list(zip(found[f'x_{split}'][:, None], found[f'y_{split}']))\n"
    )
    monkeypatch.syspath_prepend(str(place))
    report = compressed(data="ours:data", trials=1)
    assert "the recipe names a function for its data: repeat it with tightc run --allow-code" in report.notes


@pytest.fixture
def reported(place: Path) -> Iterator[list[tuple[str, float, dict[str, str]]]]:
    tasks: list[tuple[str, float, dict[str, str]]] = []
    compressed(progress=lambda task, done, figures: tasks.append((task, done, dict(figures))))
    yield tasks


def test_progress_says_which_trial_runs_and_what_is_left(
    reported: list[tuple[str, float, dict[str, str]]],
) -> None:
    overall = [(done, figures) for task, done, figures in reported if task == "compress"]
    assert [figures.get("sparsity") for _, figures in overall][:3] == ["0.9", "0.9684", "0.9684"]
    assert [round(done, 3) for done, _ in overall][:3] == [0, 0.125, 0.25] and overall[-1] == (1.0, {})
    assert "left" not in overall[0][1] and overall[1][1]["left"].startswith("at most ")
    named = {task.partition(",")[0] for task, _, _ in reported}
    assert named == {"compress", "result", *(f"trial {number + 1}" for number in range(len(overall) - 1))}
    assert any(task.startswith("trial 2, 01-finetune") for task, _, _ in reported)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"y_train": None, "y_test": None}, tightc.DataError,
            "data.npz: expected a class label for each image, got none for this network; add teacher MODEL, whose "
            "outputs take the place of labels",
        ),
        (
            {"x": "x_test", "y": "y_test", "x_train": None, "y_train": None, "x_test": None, "y_test": None},
            tightc.DataError,
            "data.npz: expected a train and a test split, got the same images for both; name them: folders train and "
            "test, or arrays x_train, y_train, x_test and y_test",
        ),
    ],
)  # fmt: skip
def test_data_that_do_not_suffice(
    place: Path, change: dict[str, str | None], error: type[Exception], message: str
) -> None:
    data = quadrants.arrays()
    changed = {name: data[source] for name, source in {**{n: n for n in data}, **change}.items() if source}
    np.savez(place / "data.npz", **changed)
    with pytest.raises(error) as refused:
        compressed()
    assert str(refused.value) == message
    assert not (place / "out").exists()


def test_the_remedy_for_splits_names_the_inputs(place: Path) -> None:
    data = quadrants.arrays()
    np.savez(place / "data.npz", image=data["x_test"][:, None].astype(np.float32), y=data["y_test"])
    with pytest.raises(tightc.DataError) as refused:
        options = {name: value for name, value in quadrants.QUICK.items() if name not in ("mean", "std")}
        tightc.compress("net.onnx", "out", data="data.npz", max_drop=90, **options)
    assert str(refused.value) == (
        "data.npz: expected a train and a test split, got the same samples for both; name them: arrays image_train and "
        "image_test, and so on"
    )


def test_more_images_held_out_than_there_are(place: Path) -> None:
    with pytest.raises(tightc.OptionError, match="validation: expected at most 158 of 160 images, got 159"):
        compressed(validation=159)
