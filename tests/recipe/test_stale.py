"""A stage is run again when the content that it reads has changed, not because of names or times."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from helpers import models
from tightc.errors import DataError
from tightc.example import RECIPE
from tightc.permutation.permute import permute
from tightc.recipe import stage_runner
from tightc.recipe.run import run_recipe
from tightc.recipe.stage_runner import StageRunner
from tightc.recipe.workspace import hash_data

CHAIN = """model: net.onnx
stages:
  - prune: {sparsity: 0.8}
  - permute: {array: 8x8, fan_in: 3, temp_schedule: {steps: 5, moves_per_weight: 30}}
  - simulate: {inputs: in.npz}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    models.save(models.cnn(), tmp_path / "net.onnx")
    np.savez(tmp_path / "in.npz", **models.feeds(models.cnn(), batch=1))
    (tmp_path / "r.yaml").write_text(CHAIN)
    return tmp_path


def states(place: Path) -> dict[str, str]:
    report = run_recipe(place / "r.yaml", place / "out")
    return {row["stage"]: row["state"] for row in report.layers}


def test_a_result_is_kept_when_its_measurement_is_interrupted(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []

    def searched(*arguments: object, **settings: object) -> object:
        found.append("permute")
        return permute(*arguments, **settings)

    def interrupt(work: StageRunner, _model: object) -> dict[str, object]:
        if work.models_made < 2:
            return measure(work, _model)
        raise KeyboardInterrupt

    measure = StageRunner._measure
    monkeypatch.setattr(stage_runner, "permute", searched)
    with monkeypatch.context() as patch:
        patch.setattr(StageRunner, "_measure", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_recipe(place / "r.yaml", place / "out")
    whole, again = (run_recipe(place / "r.yaml", place / folder) for folder in ("whole", "out"))
    assert found == ["permute", "permute"]  # once for each folder
    assert [row["state"] for row in again.layers] == ["unchanged"] * 3 + ["done"]
    for one, other in zip(whole.layers, again.layers, strict=True):
        assert {**one, "state": ""} == {**other, "state": ""}


def test_a_trained_model_is_kept_when_its_measurement_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("digits.onnx", "digits.npz"):
        (tmp_path / name).write_bytes((RECIPE.parent / name).read_bytes())
    (tmp_path / "r.yaml").write_text(
        "model: digits.onnx\ndata: {data: digits.npz}\nstages: [finetune: {epochs: 1, device: cpu}]\n"
    )
    trained, tune, measure = [], stage_runner.finetune, StageRunner._measure

    def interrupt(work: StageRunner, model: object) -> dict[str, object]:
        if trained and not again:
            raise KeyboardInterrupt
        return measure(work, model)

    def tuned(*arguments: object, **settings: object) -> object:
        trained.append(1)
        return tune(*arguments, **settings)

    again = False
    monkeypatch.setattr(stage_runner, "finetune", tuned)
    monkeypatch.setattr(StageRunner, "_measure", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(tmp_path / "r.yaml", tmp_path / "out")
    again = True
    assert run_recipe(tmp_path / "r.yaml", tmp_path / "out").layers[-1]["accuracy"] > 50
    assert len(trained) == 1
    assert not list((tmp_path / "out").glob("*.checkpoint"))


def test_inputs_are_relative_to_the_recipe_and_hashed_by_content(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert set(states(place).values()) == {"done"}
    monkeypatch.chdir(place)
    assert set(states(place).values()) == {"unchanged"}
    np.savez(place / "in.npz", **models.feeds(models.cnn(), batch=1, seed=5))
    assert states(place)["simulate"] == "done"
    assert set(states(place).values()) == {"unchanged"}
    (place / "in.npz").unlink()
    with pytest.raises(DataError, match="No such file"):
        states(place)


# --- hashes of data


def test_the_hash_of_data_follows_its_content(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"1")
    before = hash_data(str(tmp_path / "a"))
    assert hash_data(str(tmp_path / "a")) == before
    (tmp_path / "a" / "2.png").write_bytes(b"2")
    assert hash_data(str(tmp_path / "a")) != before
    (tmp_path / "x.npz").write_bytes(b"1")
    one = hash_data(str(tmp_path / "x.npz"))
    (tmp_path / "x.npz").write_bytes(b"2")
    assert hash_data(str(tmp_path / "x.npz")) != one


def test_the_hash_of_an_image_file_includes_its_labels(tmp_path: Path) -> None:
    images, labels = (tmp_path / f"train-{name}-ubyte" for name in ("images-idx3", "labels-idx1"))
    images.write_bytes(b"images")
    alone = hash_data(str(images))
    labels.write_bytes(b"1")
    one = hash_data(str(images))
    labels.write_bytes(b"2")
    assert len({alone, one, hash_data(str(images))}) == 3


def test_the_hash_of_a_function_includes_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    assert hash_data("made_here:images") == "made_here:images"
    (tmp_path / "made_here.py").write_text("def images(): return []\n")
    one = hash_data("made_here:images")
    assert one != hash_data("made_here:others")
    (tmp_path / "made_here.py").write_text("def images(): return [1]\n")
    assert hash_data("made_here:images") not in (one, "made_here:images")
    assert hash_data("no.such.package:images") == "no.such.package:images"
    assert sys.path == path and "made_here" not in sys.modules
