"""The records of a run, read without running it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tightc
from helpers import models
from tightc.errors import ConfigError, ModelError
from tightc.example import RECIPE
from tightc.recipe.run_folder import read_run

STEPS = """\
  - evaluate
  - prune: {sparsity: 0.5}
  - simulate
  - simulate: {arrays: 2}
  - prune: {sparsity: 0.6}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    example = RECIPE.parent
    (tmp_path / "r.yaml").write_text(
        f"model: {example / 'digits.onnx'}\ndata: {{data: {example / 'digits.npz'}, validation: 100}}\nstages:\n{STEPS}"
    )
    return tmp_path / "run"


def test_rows_are_those_of_the_report(folder: Path) -> None:
    report = tightc.run_recipe(folder.parent / "r.yaml", folder)
    found = read_run(folder)
    rows = [{name: value for name, value in row.items() if name != "state"} for row in report.layers]
    assert list(found.rows) == rows
    assert found.missing == ()
    assert found.last.origin.endswith("02-prune.onnx")
    assert [row["name"] for row in rows] == [
        "00-dense",
        "00-evaluate",
        "01-prune",
        "01-simulate",
        "01-simulate-again",
        "02-prune",
    ]


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    models.save(models.cnn(), tmp_path / "net.onnx")
    (tmp_path / "r.yaml").write_text("model: net.onnx\nstages:\n  - prune: {sparsity: 0.5}\n  - simulate\n")
    tightc.run_recipe(tmp_path / "r.yaml", tmp_path / "run")
    return tmp_path / "run"


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"expected a folder of tightc run, with a recipe\.yaml, got none in it"
    ):
        read_run(tmp_path)


def test_a_run_without_a_record(plain: Path) -> None:
    (plain / "00-dense.json").unlink()
    with pytest.raises(ConfigError, match="expected a record of a stage, got none; run the recipe first"):
        read_run(plain)


def test_a_stage_that_was_not_measured_has_not_ended(plain: Path) -> None:
    path = plain / "01-prune.json"
    record = json.loads(path.read_text())
    del record["row"]
    path.write_text(json.dumps(record))
    assert read_run(plain).missing == ("01-prune", "01-simulate")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("{", "not JSON"),
        ("[]", "it holds no report"),
        ('{"report": {}, "row": []}', "its row is not one"),
        ('{"report": {}, "row": {"accuracy": "99"}}', "accuracy is not a number"),
        ('{"report": {}, "row": {"accuracy": NaN}}', "accuracy is not a number"),
        ('{"report": {}, "row": {"accuracy": true}}', "accuracy is not a number"),
    ],
)
def test_damaged_records(plain: Path, change: str, words: str) -> None:
    (plain / "01-prune.json").write_text(change)
    with pytest.raises(ConfigError, match="expected a record of tightc run, got a damaged one") as raised:
        read_run(plain)
    assert words in raised.value.sentence


def test_another_model_than_the_run_wrote(plain: Path) -> None:
    models.save(models.gemm(), plain / "01-prune.onnx")
    with pytest.raises(ModelError, match="expected the model that the run wrote, got another one"):
        read_run(plain)


def test_a_stage_of_an_earlier_run_has_not_ended(plain: Path) -> None:
    found = read_run(plain)
    kept = {path: path.read_bytes() for path in plain.glob("01-*")}
    tightc.save(tightc.prune(found.dense, sparsity=0.3).model, plain.parent / "net.onnx")
    tightc.run_recipe(plain.parent / "r.yaml", plain)
    assert read_run(plain).missing == ()
    for path, content in kept.items():
        path.write_bytes(content)
    found = read_run(plain)
    assert found.missing == ("01-prune", "01-simulate")
    assert found.last == found.dense and len(found.rows) == 1
