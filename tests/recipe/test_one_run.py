"""One run at a time works in a folder, and a record counts only with the model that its run wrote."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from helpers import models
from helpers.recipes import HEAD
from tightc.errors import DataError, ModelError, OutputError
from tightc.example import RECIPE
from tightc.model.file import load_model, load_model_bytes, save_model
from tightc.recipe import stage_runner
from tightc.recipe import workspace as recipe_workspace
from tightc.recipe.run import run_recipe
from tightc.recipe.workspace import Workspace
from tightc.report import Report

PATIENCE = 60  # seconds to wait for what takes a few
SCRIPT = "from tightc.cli.main import main; main()"
# stops itself right after the rename of 01-prune.onnx
STOPPING = """
import os, signal
from tightc.cli.main import main
real = os.replace
def replace(source, target, **more):
    real(source, target, **more)
    if str(target).endswith("01-prune.onnx"):
        os.kill(os.getpid(), signal.SIGSTOP)
os.replace = replace
main()
"""
BUSY = (
    "tightc: error: w: another run works in this folder; wait for it to end, or give another folder with -o\n"
)


def recipe(sparsity: float, *stages: str) -> str:
    return HEAD + "".join(f"  - {stage}\n" for stage in (f"prune: {{sparsity: {sparsity}}}", *stages))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models.save(models.cnn(), tmp_path / "net.onnx")
    for name, sparsity in (("a", 0.9), ("b", 0.8)):
        (tmp_path / f"{name}.yaml").write_text(recipe(sparsity))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(name: str, script: str = SCRIPT) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", script, "run", f"{name}.yaml", "-o", "w", "--json"]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def stopped_in_the_first_stage() -> Iterator[subprocess.Popen[str]]:
    process = command("a", STOPPING)
    try:
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        yield process
    finally:
        process.kill()
        process.communicate()


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def densities(out: str) -> list[float]:
    return [row["density"] for row in json.loads(out)["layers"]]


def test_a_second_run_is_refused_and_the_first_one_ends(place: Path) -> None:
    with stopped_in_the_first_stage() as first:
        before = {path.name: path.read_bytes() for path in (place / "w").iterdir()}
        assert finished(command("b")) == (2, "", BUSY)
        assert {path.name: path.read_bytes() for path in (place / "w").iterdir()} == before
        first.send_signal(signal.SIGCONT)
        code, out, _ = finished(first)
    assert code == 0 and densities(out)[1] == pytest.approx(0.1, abs=0.01)
    record = json.loads((place / "w" / "01-prune.json").read_text())
    assert record["row"]["density"] == record["report"]["totals"]["density"]
    assert record["model_sha256"] == load_model(place / "w" / "01-prune.onnx").sha256
    code, out, _ = finished(command("b"))  # once it has ended
    assert code == 0 and densities(out)[1] == pytest.approx(0.2, abs=0.01)


def test_a_run_that_is_killed_leaves_the_folder_free(place: Path) -> None:
    with stopped_in_the_first_stage() as first:
        first.kill()
        first.wait()
    for name, density in (("a", 0.1), ("b", 0.2), ("a", 0.1)):
        code, out, err = finished(command(name))
        assert code == 0, err
        assert densities(out)[1] == pytest.approx(density, abs=0.01)


def test_what_a_killed_run_left_is_removed(place: Path) -> None:
    run_recipe(place / "a.yaml", place / "w")
    whole = {path.name: path.read_bytes() for path in (place / "w").iterdir()}
    key = json.loads(whole["01-prune.json"])["key"]
    left = (
        ".01-prune.onnx.99999.0123abcd",
        ".01-prune.onnx.0123456789abcdef.data.99999.0123abcd",
        ".02-permute-again.json.7.deadbeef",
        ".recipe.yaml.1.old",
        f".{key[:16]}.checkpoint.5.00000000",
        f"{key[:16]}.checkpoint",
    )
    others = (".notes.99999.0123abcd", "0123456789abcdef.checkpoint", ".01-prune.onnx.99999.0123abcd.txt")
    for name in (*left, *others):
        (place / "w" / name).write_text(name)
    with open(place / "w" / ".03-pack.onnx.99999.0123abcd", "x") as living:
        fcntl.flock(living, fcntl.LOCK_SH)
        run_recipe(place / "a.yaml", place / "w")
        found = {path.name for path in (place / "w").iterdir()}
    assert found == {*whole, *others, Path(living.name).name}
    assert all((place / "w" / name).read_bytes() == content for name, content in whole.items())


def test_two_runs_in_one_process_are_two_runs(place: Path) -> None:
    with Workspace.locked(place / "w"), pytest.raises(OutputError, match="another run works in this folder"):
        run_recipe(place / "a.yaml", place / "w")
    run_recipe(place / "a.yaml", place / "w")
    assert (place / "w" / ".lock").read_bytes() == b""


def test_a_folder_that_cannot_be_locked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "w" / ".lock").mkdir(parents=True)
    words = r"w: cannot be locked \(Is a directory\); give another folder with -o"
    with pytest.raises(OutputError, match=words):
        run_recipe(place / "a.yaml", place / "w")

    def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(recipe_workspace.FileLock, "acquire", refuse)
    with pytest.raises(
        OutputError, match=r"cannot be locked \(FileSystem does not appear to support flock\)"
    ):
        run_recipe(place / "a.yaml", place / "w")


@pytest.mark.skipif(os.geteuid() == 0, reason="everything is writable for root")
def test_a_folder_that_is_read_only(place: Path) -> None:
    (place / "w").mkdir(mode=0o555)
    with pytest.raises(OutputError, match=r"w: cannot be locked \(Permission denied\); give another folder"):
        run_recipe(place / "a.yaml", place / "w")


# --- records and models


def write_another_once(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """A program that ignores the lock replaces 01-prune.onnx immediately."""
    real = recipe_workspace.save_model

    def save(model: object, path: Path) -> str:
        digest = real(model, path)
        if path.name == "01-prune.onnx":
            path.write_bytes((place / "net.onnx").read_bytes())
        return digest

    monkeypatch.setattr(recipe_workspace, "save_model", save)


def test_a_model_that_another_program_replaced_is_made_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "a.yaml").write_text(recipe(0.9, "permute: {array: 8x8, fan_in: 3}"))
    whole = run_recipe(place / "a.yaml", place / "whole").layers
    with monkeypatch.context() as patch:
        write_another_once(patch, place)
        rows = run_recipe(place / "a.yaml", place / "w").layers
    assert rows == whole
    for name in ("00-dense", "02-permute"):
        one, other = (place / folder / f"{name}.onnx" for folder in ("whole", "w"))
        assert one.read_bytes() == other.read_bytes()
    again = run_recipe(place / "a.yaml", place / "w").layers
    assert [row["state"] for row in again] == ["unchanged", "done", "unchanged"]


@pytest.mark.parametrize("external_data", [False, True])
def test_a_resumed_run_gives_the_same_bytes(
    place: Path, monkeypatch: pytest.MonkeyPatch, external_data: bool
) -> None:
    models.save(models.cnn(), place / "net.onnx", external_data)
    stages = ["permute: {array: 8x8, fan_in: 3}", "pack", "simulate"]
    (place / "a.yaml").write_text(recipe(0.5, *stages))
    whole = run_recipe(place / "a.yaml", place / "whole").layers

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for stage in ("prune", "permute", "pack", "simulate"):
        with monkeypatch.context() as patch:
            patch.setattr(stage_runner, stage, interrupt)
            with pytest.raises(KeyboardInterrupt):
                run_recipe(place / "a.yaml", place / "w")
    rows = run_recipe(place / "a.yaml", place / "w").layers
    assert [{**row, "state": ""} for row in rows] == [{**row, "state": ""} for row in whole]
    for path in (place / "whole").iterdir():
        assert path.read_bytes() == (place / "w" / path.name).read_bytes(), path


@pytest.mark.parametrize("external_data", [False, True])
def test_a_written_model_equals_the_one_read_back(place: Path, external_data: bool) -> None:
    models.save(models.cnn(), place / "net.onnx", external_data)
    with Workspace.locked(place / "w") as workspace:
        kept = workspace.write_model("00-dense", load_model(place / "net.onnx"))
    back = load_model(place / "w" / "00-dense.onnx")
    assert (kept.origin, kept.sha256, kept.external_data) == (back.origin, back.sha256, back.external_data)
    assert kept.to_bytes() == back.to_bytes()


def test_the_result_of_a_stage_is_checked_before_it_is_written(place: Path) -> None:
    model = load_model(place / "net.onnx")
    weight = next(tensor for tensor in model.proto.graph.initializer if tensor.name == "first_w")
    broken = model.with_tensors({"first_w": np.full(list(weight.dims), np.nan, np.float32)})
    with (
        Workspace.locked(place / "w") as workspace,
        pytest.raises(ModelError, match="tensor first_w holds NaN"),
    ):
        workspace.write_model("01-prune", broken)
    assert not (place / "w" / "01-prune.onnx").exists()


@pytest.mark.parametrize("external_data", [False, True])
def test_the_digest_of_a_written_model_is_that_of_the_one_read(place: Path, external_data: bool) -> None:
    model = load_model(models.save(models.cnn(), place / "net.onnx", external_data))
    assert save_model(model, place / "out.onnx") == load_model(place / "out.onnx").sha256


def test_a_stage_that_only_reports_has_no_model(place: Path) -> None:
    (place / "a.yaml").write_text(recipe(0.9, "simulate", "permute: {array: 8x8, fan_in: 3}"))
    whole = run_recipe(place / "a.yaml", place / "whole").layers
    (place / "w").mkdir()
    (place / "w" / "01-simulate.onnx").write_bytes((place / "net.onnx").read_bytes())
    for state in ("done", "unchanged"):
        rows = run_recipe(place / "a.yaml", place / "w").layers
        assert [row["state"] for row in rows] == [state] * 4
        assert [{**row, "state": ""} for row in rows] == [{**row, "state": ""} for row in whole]


@pytest.mark.parametrize("change", [{"row": {}}, {"row": {"density": 0.5}}, {"model_sha256": None}])
def test_an_incomplete_record_is_ignored(place: Path, change: dict[str, object]) -> None:
    whole = run_recipe(place / "a.yaml", place / "w").layers
    path = place / "w" / "01-prune.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, **change}))
    rows = run_recipe(place / "a.yaml", place / "w").layers
    assert [{**row, "state": ""} for row in rows] == [{**row, "state": ""} for row in whole]
    assert json.loads(path.read_text()) == record


def test_data_that_changes_during_a_run_is_an_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("digits.onnx", "digits.npz"):
        (place / name).write_bytes((RECIPE.parent / name).read_bytes())
    text = (
        "model: digits.onnx\ndata: {data: digits.npz}\n"
        "stages: [quantize: {activations: true, calibration_images: 16}]\n"
    )
    (place / "a.yaml").write_text(text)
    real = stage_runner.evaluate

    def edited(*arguments: object, **settings: object) -> Report:
        with np.load(RECIPE.with_name("digits.npz")) as arrays:
            np.savez(place / "digits.npz", **{name: array[::-1] for name, array in arrays.items()})
        return real(*arguments, **settings)

    monkeypatch.setattr(stage_runner, "evaluate", edited)
    with pytest.raises(DataError, match=r"digits.npz: it changed while the recipe ran; run the recipe again"):
        run_recipe(place / "a.yaml", place / "w")
    assert not (place / "w" / "01-quantize.json").exists()


def test_the_digest_of_one_file_is_that_of_its_bytes(place: Path) -> None:
    model = load_model(place / "net.onnx")
    assert save_model(model, place / "out.onnx") == load_model_bytes((place / "out.onnx").read_bytes()).sha256
