"""`tightc explore` as a command: its table, JSON, CSV, recipe and errors."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import models
from tightc.cli.main import run

GRID = ["net.onnx", "--array", "4x4", "--array", "8x4", "--fan-in", "2,4", "--temp-schedule", "quick.yaml"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models.save(models.cnn(), tmp_path / "net.onnx")
    (tmp_path / "quick.yaml").write_text("steps: 3\nmoves_per_weight: 20\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["explore", *GRID, *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_the_table_has_the_front_and_json_and_csv_all_points(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(printed(capsys, "--json", "--sparsity", "0.5"))
    assert found["schema"] == "tightc.explore/1"
    rows = found["layers"]
    assert [(row["array"], row["fan_in"]) for row in rows] == [("4x4", 2), ("4x4", 4), ("8x4", 2), ("8x4", 4)]
    front = [row for row in rows if row["status"] == "front"]
    header, *lines = printed(capsys, "--sparsity", "0.5").splitlines()
    assert header.split()[:5] == ["N", "sparsity", "method", "array", "fan"]
    assert [int(line.split()[0]) for line in lines[: len(front)]] == [row["number"] for row in front]
    assert "points: 4" in lines and "evaluated: 0" in lines and "measures: cycles, energy" in lines
    table = list(csv.DictReader(io.StringIO(printed(capsys, "--csv", "--sparsity", "0.5"))))
    assert [row["status"] for row in table] == [row["status"] for row in rows]
    assert [row["cycles"] for row in table] == [str(row["cycles"] or "") for row in rows]
    assert printed(capsys, "-q", "--sparsity", "0.5") == ""
    assert len(list(place.iterdir())) == 3


def test_a_recipe_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(printed(capsys, "--json", "--exhaustive", "--recipe", "3", "point.yaml"))["layers"]
    text = (place / "point.yaml").read_text()
    assert text.startswith("# net tight 8x4 fan-in 2: point 3 of tightc explore\n# tightc run point.yaml\n")
    assert run(["run", "point.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["layers"][-1]["cycles"] == rows[2]["cycles"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--csv", "--json"], "--csv and --json: expected one of them, got both; leave one out"),
        (
            ["--recipe", "x", "p.yaml"],
            "--recipe: expected the number of a point, got 'x'; give it as --recipe 3 FILE.yaml",
        ),
        (["--recipe", "1", "no/p.yaml"], "no/p.yaml: there is no folder no; make the folder first"),
        (["--front", "speed"], "--front: expected "),
        (["--mean", "0.5"], "--mean: expected --data too, got none; add --data"),
        (["--store", "no/such.sqlite"], "no/such.sqlite: there is no folder no; make the folder first"),
        (
            ["--store", "net.onnx"],
            "net.onnx: expected a store of tightc explore, got a damaged one or another file",
        ),
    ],
)
def test_errors(place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str) -> None:
    assert run(["explore", *GRID, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"tightc: error: {sentence}")
    assert sorted(path.name for path in place.iterdir()) == ["net.onnx", "quick.yaml"]


@pytest.mark.parametrize("number", ["0", "5"])
def test_a_recipe_of_no_point_is_refused_before_any_work(
    place: Path, capsys: pytest.CaptureFixture[str], number: str
) -> None:
    assert run(["explore", *GRID, "--recipe", number, "p.yaml"]) == 2
    assert capsys.readouterr().err == (
        f"tightc: error: --recipe: expected the number of a point, 1 to 4, got {number}; choose one of the column N\n"
    )
    assert sorted(path.name for path in place.iterdir()) == ["net.onnx", "quick.yaml"]


def test_a_recipe_of_a_piped_model(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "net.onnx").rename(place.parent / "away.onnx")
    command = [sys.executable, "-c", "from tightc.cli.main import main; main()", "explore", *GRID[1:]]
    done = subprocess.run(
        [*command, "--recipe", "1", "p.yaml"],
        input=(place.parent / "away.onnx").read_bytes(),
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.decode() == (
        "tightc: error: --recipe: expected a model in a file, got <stdin>; give the path of the model, and do not pipe "
        "it\n"
    )
    assert [path.name for path in place.iterdir()] == ["quick.yaml"]
