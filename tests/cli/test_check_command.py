"""`tightc check` as a command: exit codes, table, JSON, JUnit, annotations, and the folder of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from helpers import models
from tightc.cli.main import run

COMMAND = [sys.executable, "-c", "from tightc.cli.main import main; main()"]
RECIPE = """model: net.onnx
data: {data: images.npz, mean: [0.1], std: [0.5]}
stages:
  - prune: {sparsity: 0.5}
  - permute: {array: 8x8, fan_in: 4, method: first-fit}
  - pack
  - simulate: {array: 8x8}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models.save(models.cnn(), tmp_path / "net.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), np.uint8)
    np.savez(tmp_path / "images.npz", x=pixels, y=np.arange(20) % 4)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    return tmp_path


@pytest.fixture
def finished(place: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder of a run."""
    assert run(["run", "recipe.yaml", "-o", "out", "-q"]) == 0
    capsys.readouterr()
    return place / "out"


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["check", *arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def test_the_table_and_the_exit_code(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = check(
        capsys, "net.onnx", "--require", "speedup==1", "--require=passes<=2", "--array=8x8"
    )
    assert (code, err) == (1, "")
    header, first, second, *totals = (line.split() for line in out.splitlines())
    assert header == ["name", "value", "operator", "limit", "result"]
    assert first == ["speedup", "1", "==", "1", "ok"]
    assert second[0] == "passes" and int(second[1]) > 2 and second[2:] == ["<=", "2", "failed"]
    assert ["passed:", "no"] in totals and ["failed:", "1"] in totals
    assert check(capsys, "net.onnx", "--require", "speedup==1")[0] == 0


def test_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = check(
        capsys, "net.onnx", "--require", "speedup>=2", "--require", "accuracy>=1", "--json"
    )
    found = json.loads(out)
    assert code == 1 and found["schema"] == "tightc.check/1"
    assert found["totals"]["passed"] is False and found["totals"]["failed"] == 2
    assert [row["result"] for row in found["layers"]] == ["failed", "failed"]
    assert found["layers"][1]["value"] is None
    assert found["totals"]["measures"]["speedup"] == 1.0
    assert err.splitlines() == [
        "net.onnx: speedup: expected >= 2, got 1.0",
        "net.onnx: accuracy: expected >= 1, got no value: it needs data; add --data",
    ]


def test_quiet(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(capsys, "net.onnx", "--require", "speedup>=1", "-q") == (0, "", "")
    code, out, err = check(capsys, "net.onnx", "--require", "speedup>=2", "-q")
    assert (code, out, err) == (1, "", "net.onnx: speedup: expected >= 2, got 1.0\n")


@pytest.mark.parametrize(("value", "annotated"), [("true", True), ("false", False), ("", False)])
def test_annotations_under_github_actions(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    value: str,
    annotated: bool,
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", value)
    code, out, err = check(capsys, "net.onnx", "--require", "speedup>=2", "--require", "passes>=1")
    assert code == 1 and "::error" not in out
    line = "::error title=tightc check::net.onnx: speedup: expected >= 2, got 1.0\n"
    assert err == (line if annotated else "")
    assert check(capsys, "net.onnx", "--require", "passes>=1")[2] == ""


def test_the_junit_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["net.onnx", "--require", "speedup>=2", "--require", "passes>=1", "--junit", "junit.xml"]
    assert check(capsys, *arguments)[0] == 1
    cases = list(ElementTree.parse("junit.xml").iter("testcase"))
    assert [case.get("name") for case in cases] == ["speedup>=2", "passes>=1"]
    assert [case.find("failure") is None for case in cases] == [False, True]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing option '--require'"),
        (["--require", "speedpu>=1"], "--require: expected a measure, got 'speedpu'; did you mean speedup?"),
        (["--require", "speedup>=1", "--require", ""], "got ''; quote it in a shell, such as 'speedup>=4'"),
        (["--require", "speedup>=1", "--junit", "no/j.xml"], "no/j.xml: there is no folder no; make the folder first"),
        (["--require", "speedup>=1", "--junit", ""], "--junit: expected a path, got an empty text; give a path"),
        (["--require", "accuracy_drop<=1", "--against", ""], "--against: expected a path, got an empty text; give"),
        (["--require", "accuracy_drop<=1", "--against", "no.onnx"], "no.onnx: no such file; check the path"),
        (["--require", "accuracy>1", "--data", "no.npz"], "no.npz: expected a file or folder, got none of that name"),
        (["--require", "accuracy>1", "--mean", "0.5"], "--mean: expected --data too, got none; add --data"),
        (["--require", "speedup>1", "--data", "images.npz"], "--data: expected a requirement on accuracy or "),
        (["--require", "speedup>1", "--against", "net.onnx"], "leave --against out"),
        (["--require", "speedup>1", "--csv", "--json"], "--csv and --json: expected one of them, got both"),
        (["--require", "speedup>1", "--array", "0x1"], "--array: expected "),
        (["--require", "speedup>1", "--batch-size", "0"], "--batch-size: expected images per batch: an integer from 1"),
    ],
)  # fmt: skip
def test_wrong_usage(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    before = sorted(os.listdir())
    code, out, err = check(capsys, "net.onnx", *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert sorted(os.listdir()) == before
    if "--junit" not in arguments:  # with a JUnit file, that says so too: else CI would show nothing
        assert check(capsys, "net.onnx", *arguments, "--junit=junit.xml")[0] == 2
        root = ElementTree.parse("junit.xml").getroot()
        assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("1", "0", "1")
        (error,) = root.iter("error")
        said = error.get("message", "")
        assert words in said and said == error.text and said in err


def test_the_error_takes_the_place_of_an_earlier_verdict(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--require", "passes>=1", "--junit", "junit.xml"]
    assert check(capsys, "net.onnx", *arguments)[0] == 0
    assert check(capsys, "gone.onnx", *arguments)[0] == 2
    (case,) = ElementTree.parse("junit.xml").iter("testcase")
    error = case.find("error")
    assert case.get("classname") == "gone.onnx" and error is not None
    assert error.attrib == {
        "message": "gone.onnx: no such file; check the path of the model",
        "type": "ModelError",
    }


def test_help_writes_no_junit_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(capsys, "net.onnx", "--junit", "junit.xml", "--help")[0] == 0
    assert not (place / "junit.xml").exists()


def test_an_empty_model_is_no_folder(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = check(capsys, "", "--require", "speedup>=1")
    assert code == 2 and "MODEL: expected a path, got an empty text" in err


def test_images_without_labels_have_no_accuracy(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("unlabeled.npz", x=np.zeros((4, 3, 8, 8), np.uint8))
    code, _, err = check(capsys, "net.onnx", "--require", "accuracy>=0", "--data", "unlabeled.npz")
    assert code == 2 and "labels" in err
    arguments = ["--require", "agreement==100", "--data", "unlabeled.npz", "--against", "net.onnx"]
    assert check(capsys, "net.onnx", *arguments)[0] == 0


def test_a_model_is_piped_in(place: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "check", "--require", "speedup>=1", "--require", "passes<1"],
        input=models.cnn().SerializeToString(),
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 1 and b"<stdin>" in done.stdout


@pytest.mark.parametrize(("requirement", "code"), [("speedup>=2", 1), ("speedup>=1", 0)])
def test_a_reader_that_leaves_does_not_hide_the_verdict(place: Path, requirement: str, code: int) -> None:
    tight = " ".join(f'"{part}"' for part in COMMAND)
    script = f"{tight} check net.onnx --require '{requirement}' --json 2>&1 | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (code, b"")


# --- the folder of a run


def test_the_last_model_of_a_run_is_checked_against_its_dense_one(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require = ["--require", "accuracy_drop<=100", "--require", "accuracy>=0", "--require", "speedup>1"]
    code, out, _ = check(capsys, "out", *require, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["totals"]["model"], found["totals"]["against"]) == ("out/03-pack.onnx", "out/00-dense.onnx")
    data = ["--data", "images.npz", "--mean", "0.1", "--std", "0.5"]
    _, out, _ = check(capsys, "out/03-pack.onnx", *require, *data, "--against", "net.onnx", "--json")
    assert json.loads(out)["totals"]["measures"] == found["totals"]["measures"]
    record = json.loads((finished / "03-pack.json").read_text())["row"]
    assert found["totals"]["measures"]["accuracy"] == record["accuracy"]


def test_figures_in_a_run_are_not_believed(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in finished.glob("*.json"):
        record = json.loads(path.read_text())
        record["row"] |= {"speedup": 1000.0, "accuracy": 100.0, "accuracy_drop": 0.0}
        record["report"]["totals"] |= {"speedup": 1000.0}
        path.write_text(json.dumps(record))
    assert check(capsys, "out", "--require", "speedup>=999")[0] == 1
    assert check(capsys, "out", "--require", "accuracy>=99.9")[0] == 1


def test_another_base_and_other_data_may_be_given(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require = ["--require", "accuracy_drop==0", "--against", "out/03-pack.onnx", "--data", "images.npz"]
    assert check(capsys, "out", *require)[0] == 0
    assert check(capsys, "out", "--require", "speedup>1")[0] == 0


def test_a_run_without_stages_that_make_a_model(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "recipe.yaml").write_text("model: net.onnx\nstages: [simulate]\n")
    assert run(["run", "recipe.yaml", "-o", "out", "-q"]) == 0
    assert check(capsys, "out", "--require", "speedup==1")[0] == 0
    code, _, err = check(capsys, "out", "--require", "accuracy>=1", "-q")
    assert code == 1 and "it needs data; add --data" in err


def test_a_folder_that_is_no_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "empty").mkdir()
    code, _, err = check(capsys, "empty", "--require", "speedup>=1")
    assert (code, err) == (
        2,
        "tightc: error: empty: expected a folder of tightc run, with a recipe.yaml, got none in it; "
        "give the folder that tightc run wrote, or the path of a model\n",
    )


@pytest.mark.parametrize("missing", [["03-simulate"], ["03-pack", "03-simulate"]])
def test_a_run_that_did_not_end(
    finished: Path, capsys: pytest.CaptureFixture[str], missing: list[str]
) -> None:
    for name in missing:
        (finished / f"{name}.json").unlink()
    code, _, err = check(capsys, "out", "--require", "speedup>=1")
    assert (code, err) == (
        2,
        f"tightc: error: out: expected a run that ended, got one without {', '.join(missing)}; run tightc run again\n",
    )


def test_a_run_whose_model_is_gone(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (finished / "03-pack.onnx").unlink()
    code, _, err = check(capsys, "out", "--require", "speedup>=1")
    assert code == 2 and err.startswith("tightc: error: out/03-pack.onnx: ")


@pytest.mark.parametrize("sparsity", ["0.5", "0.7"])
def test_a_model_that_the_run_did_not_write_is_not_checked(
    finished: Path, capsys: pytest.CaptureFixture[str], sparsity: str
) -> None:
    assert run(["prune", "out/00-dense.onnx", "--sparsity", sparsity, "-q", "-o", "out/01-prune.onnx"]) == 0
    code, _, err = check(capsys, "out", "--require", "speedup>=1")
    if sparsity == "0.5":  # the same model again
        assert code == 0
    else:
        assert (code, err) == (
            2, "tightc: error: out/01-prune.onnx: expected the model that the run wrote, got another one; run the "
            "recipe again\n",
        )  # fmt: skip


def test_models_of_an_earlier_run_are_not_checked(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run from another model that was interrupted: the stages after the first are of the run before."""
    kept = {path: path.read_bytes() for path in finished.glob("0[1-3]-*")}
    assert run(["prune", "net.onnx", "--sparsity", "0.3", "-q", "-o", "net.onnx"]) == 0
    assert run(["run", "recipe.yaml", "-o", "out", "-q"]) == 0
    for path, content in kept.items():
        path.write_bytes(content)
    code, _, err = check(capsys, "out", "--require", "speedup>=1")
    assert (code, err) == (
        2, "tightc: error: out: expected a run that ended, got one without 01-prune, 02-permute, 03-pack, "
        "03-simulate; run tightc run again\n",
    )  # fmt: skip


def test_a_run_whose_data_are_code_is_not_evaluated(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = finished / "recipe.yaml"
    path.write_text(path.read_text().replace("../images.npz", "package.module:images"))
    code, _, err = check(capsys, "out", "--require", "accuracy>=1")
    assert code == 2 and err.startswith(
        "tightc: error: out/recipe.yaml: data.data: 'package.module:images' names a function, and a recipe may not run "
        "code; if you trust it, give --data package.module:images"
    )
    assert check(capsys, "out", "--require", "speedup>1")[0] == 0
