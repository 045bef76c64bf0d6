"""A recipe with a validation split: the accuracies are of held-out images, and evaluate alone reads the test set."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tightc.config.yaml import parse_options
from tightc.errors import ConfigError
from tightc.example import RECIPE
from tightc.recipe import stage_runner
from tightc.recipe.recipe import Recipe
from tightc.recipe.run import run_recipe
from tightc.reporting.printing import report_text

HEAD = "model: digits.onnx\ndata: {data: digits.npz, validation: 300}\nstages:\n"
STAGES = """  - evaluate
  - prune: {sparsity: 0.8}
  - permute: {array: 16x16, method: structured}
  - pack
  - evaluate
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("digits.onnx", "digits.npz"):
        shutil.copy(RECIPE.parent / name, tmp_path / name)
    (tmp_path / "r.yaml").write_text(HEAD + STAGES)
    return tmp_path


def held_out(count: int, total: int) -> np.ndarray:
    """The split as the documentation of the split defines it: the first of a permutation with seed 0."""
    which = np.zeros(total, bool)
    which[np.random.default_rng(0).permutation(total)[:count]] = True
    return which


def correct(model: Path, pixels: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy in percent of grey images (images, height, width), by onnxruntime alone."""
    session = onnxruntime.InferenceSession(model)
    name = session.get_inputs()[0].name
    (logits,) = session.run(None, {name: pixels[:, None].astype(np.float32) / 255})
    return 100 * float((logits.argmax(1) == labels).mean())


def test_accuracies_are_of_the_held_out_images_and_those_of_evaluate_of_the_test_set(place: Path) -> None:
    report = run_recipe(place / "r.yaml", place / "out")
    data = np.load(place / "digits.npz")
    which = held_out(300, len(data["y_train"]))
    validation = (data["x_train"][which], data["y_train"][which])
    rows = {row["name"]: row for row in report.layers}
    for name in ("00-dense", "01-prune", "03-pack"):
        assert rows[name]["split"] == "validation"
        assert rows[name]["accuracy"] == pytest.approx(correct(place / "out" / f"{name}.onnx", *validation))
    for name, model in (("00-evaluate", "00-dense"), ("03-evaluate", "03-pack")):
        assert rows[name]["split"] == "test"
        expected = correct(place / "out" / f"{model}.onnx", data["x_test"], data["y_test"])
        assert rows[name]["accuracy"] == pytest.approx(expected)
    for name, dense in (("03-pack", "00-dense"), ("03-evaluate", "00-evaluate")):
        assert rows[name]["accuracy_drop"] == rows[dense]["accuracy"] - rows[name]["accuracy"]
    assert rows["03-pack"]["accuracy"] != rows["03-evaluate"]["accuracy"]
    assert " split " in report_text(report).splitlines()[0]


def test_a_drop_on_the_test_set_needs_the_dense_model_there(place: Path) -> None:
    (place / "r.yaml").write_text(HEAD + STAGES.replace("  - evaluate\n", "", 1))
    *_, last = run_recipe(place / "r.yaml", place / "out").layers
    assert last["accuracy"] is not None and last["accuracy_drop"] is None


def test_without_a_split_the_rows_have_none(place: Path) -> None:
    (place / "r.yaml").write_text((HEAD + STAGES).replace(", validation: 300", ""))
    report = run_recipe(place / "r.yaml", place / "out")
    assert all("split" not in row for row in report.layers)
    assert {row["accuracy"] for row in report.layers[:2]} == {report.layers[0]["accuracy"]}
    assert " split " not in report_text(report).splitlines()[0]


def test_training_and_calibration_never_see_the_held_out_images(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    seen: dict[str, Any] = {}
    prune, finetune = stage_runner.prune, stage_runner.finetune

    def pruning(model: Any, options: Any, images: Any, **rest: Any) -> Any:
        seen["prune"] = images.images
        return prune(model, options, images, **rest)

    def training(model: Any, images: Any, normalization: Any, options: Any, **rest: Any) -> Any:
        seen["finetune"] = (len(images), options.validation)
        return finetune(model, images, normalization, options, **rest)

    monkeypatch.setattr(stage_runner, "prune", pruning)
    monkeypatch.setattr(stage_runner, "finetune", training)
    stages = "  - prune: {sparsity: 0.5, criterion: obs}\n  - finetune: {epochs: 1, batch_size: 256}\n"
    (place / "r.yaml").write_text(HEAD + stages)
    report = run_recipe(place / "r.yaml", place / "out")
    data = np.load(place / "digits.npz")
    which = held_out(300, len(data["y_train"]))
    assert np.array_equal(seen["prune"].pixels[:, 0], data["x_train"][~which])
    assert seen["finetune"] == (len(which), 300)
    trained = json.loads((place / "out" / "02-finetune.json").read_text())
    assert trained["report"]["totals"]["validation_accuracy"] == report.layers[-1]["accuracy"]


def test_another_split_runs_what_depends_on_it_again(place: Path) -> None:
    stages = "  - prune: {sparsity: 0.9}\n  - prune: {sparsity: 0.92, criterion: obs}\n"
    (place / "r.yaml").write_text(HEAD + stages)
    first = run_recipe(place / "r.yaml", place / "out").layers
    (place / "r.yaml").write_text((HEAD + stages).replace("300", "200"))
    second = run_recipe(place / "r.yaml", place / "out").layers
    assert [row["state"] for row in second] == ["unchanged", "unchanged", "done"]
    assert first[1]["accuracy"] != second[1]["accuracy"]


def test_two_splits_are_refused() -> None:
    with pytest.raises(
        ConfigError,
        match="expected one validation split, got 300 in data and 5 in finetune; keep that of data",
    ):
        parse_options(f"{HEAD}  - finetune: {{validation: 5}}\n", "r.yaml", Recipe)
