"""`tightc diff` and `tightc verify` as commands: exit codes, tables, JSON, CSV and errors."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from helpers import models
from tightc.cli.main import run

COMMAND = [sys.executable, "-c", "from tightc.cli.main import main; main()"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """net.onnx; half.onnx, where one layer is pruned; packed.onnx, the same packed."""
    monkeypatch.chdir(tmp_path)
    proto = models.cnn()
    models.save(proto, tmp_path / "net.onnx")
    (tensor,) = (entry for entry in proto.graph.initializer if entry.name == "second_w")
    values = numpy_helper.to_array(tensor).copy()
    values.flat[np.flatnonzero(values)[:3]] = 0
    tensor.CopyFrom(numpy_helper.from_array(values, "second_w"))
    onnx.save(proto, tmp_path / "half.onnx")
    first_fit = ["--array", "8x8", "--fan-in", "4", "--method", "first-fit", "-q", "-o", "permuted.onnx"]
    assert run(["permute", "half.onnx", *first_fit]) == 0
    assert run(["pack", "permuted.onnx", "-q", "-o", "packed.onnx"]) == 0
    capsys.readouterr()
    return tmp_path


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(list(arguments))
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def test_diff_ends_as_diff_does(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "diff", "net.onnx", "net.onnx", "-q") == (0, "", "")
    assert call(capsys, "diff", "net.onnx", "half.onnx", "-q") == (1, "", "")
    code, out, err = call(capsys, "diff", "net.onnx", "none.onnx")
    assert (code, out) == (2, "") and "none.onnx: no such file" in err


def test_the_table_of_diff_has_the_layers_that_differ(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(capsys, "diff", "net.onnx", "half.onnx")
    lines = out.splitlines()
    assert code == 1 and lines[0].split() == ["name", "weights", "changed", "largest", "change", "density"]
    assert lines[1].split()[:2] == ["second", "3"] and "->" in lines[1]
    assert lines[2].startswith("a: net.onnx") and "first" not in out
    assert "equal: no" in lines and "layers_changed: 1" in lines and "passes: 5" in lines
    _, whole, _ = call(capsys, "diff", "net.onnx", "half.onnx", "-v")
    assert [line.split()[:2] for line in whole.splitlines()[1:4]] == [
        ["first", "same"], ["second", "changed"], ["last", "same"]
    ]  # fmt: skip
    _, out, _ = call(capsys, "diff", "half.onnx", "packed.onnx")
    assert "passes: 14 -> 8" in out.splitlines()
    assert out.splitlines()[0].split() == ["name", "passes", "cycles", "energy", "bytes", "method"]


def test_the_table_of_diff_fits_a_terminal(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tightc import diff as compared
    from tightc import load

    monkeypatch.setenv("COLUMNS", "80")
    lines = str(compared(load("net.onnx"), load("packed.onnx"))).splitlines()
    table = lines[: next(number for number, line in enumerate(lines) if line.startswith("a: "))]
    assert all(len(line) <= 80 and "…" not in line for line in table)
    assert all(title in " ".join(table) for title in ("name", "density", "passes", "cycles", "bytes"))


def test_json_and_csv_of_diff_have_all_layers(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = call(capsys, "diff", "half.onnx", "packed.onnx", "--json")
    found = json.loads(out)
    assert found["schema"] == "tightc.diff/1" and found["totals"]["equal"] is False
    assert [row["name"] for row in found["layers"]] == ["first", "second", "last"]
    code, out, _ = call(capsys, "diff", "half.onnx", "packed.onnx", "--csv")
    table = list(csv.DictReader(io.StringIO(out)))
    assert code == 1
    for row, own in zip(table, found["layers"], strict=True):
        assert row["passes.a"] == str(own["passes"]["a"]) and row["passes.b"] == str(own["passes"]["b"])
        assert row["method.b"] == "first-fit"


def test_verify(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "verify", "half.onnx", "packed.onnx")
    assert (code, err) == (0, "") and out.startswith("a: half.onnx\nb: packed.onnx\npassed: yes\nlayers: 3\n")
    code, out, _ = call(capsys, "verify", "half.onnx", "packed.onnx", "-v", "--batch", "3", "--seed", "5")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[1:5]] == [
        ["first", "weight"], ["second", "weight"], ["last", "weight"], ["logits", "output"]
    ]  # fmt: skip
    assert call(capsys, "verify", "half.onnx", "packed.onnx", "-q") == (0, "", "")


def test_verify_says_what_differs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "verify", "net.onnx", "packed.onnx")
    assert code == 1
    assert out.splitlines()[1].split()[:5] == ["second", "weight", "float32", "576", "3"]
    assert "weights_differing: 3" in out and "passed: no" in out
    code, out, _ = call(capsys, "verify", "net.onnx", "packed.onnx", "--json")
    found = json.loads(out)
    assert code == 1 and found["schema"] == "tightc.verify/1"
    assert next(row["name"] for row in found["layers"] if row["result"] == "failed") == "second"
    assert found["totals"]["input_shapes"] == {"image": [1, 3, 8, 8]}


def test_verify_on_given_inputs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("inputs.npz", image=np.ones((2, 3, 8, 8), np.float32))
    arguments = ["verify", "half.onnx", "packed.onnx", "--inputs", "inputs.npz"]
    code, _, err = call(capsys, *arguments)
    assert code == 2 and "expected 1x3x8x8 for image, got 2x3x8x8" in err
    code, out, _ = call(capsys, *arguments, "--batch", "2")
    assert code == 0 and "inputs: inputs.npz" in out


@pytest.mark.parametrize("command", ["diff", "verify"])
def test_one_of_the_models_may_be_piped_in(place: Path, command: str) -> None:
    packed = (place / "packed.onnx").read_bytes()
    done = subprocess.run(
        [*COMMAND, command, "packed.onnx", "-"], input=packed, capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert b"b: <stdin>" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["diff", "-", "-"], "A and B: expected one of them from stdin, got both; give the path of one."),
        (["verify", "-", "-"], "A and B: expected one of them from stdin, got both; give the path of one."),
        (["diff", "net.onnx"], "Missing argument 'B'"),
        (["verify"], "Missing argument 'A'"),
        (["diff", "net.onnx", "net.onnx", "--csv", "--json"], "--csv and --json: expected one of them, got both"),
        (["verify", "net.onnx", "net.onnx", "--tolerance", "-1"], "--tolerance: expected largest difference of an "),
        (["verify", "net.onnx", "net.onnx", "--tolerance", "nan"], "--tolerance: expected largest difference of an "),
        (["verify", "net.onnx", "net.onnx", "--inputs", "no.npz"], "no.npz"),
        (["verify", "net.onnx", "net.onnx", "--input-shape", "image=1x3x8"], "image"),
        (["diff", "net.onnx", "packed.onnx", "--array", "4x4"], "--array: expected 8x8, the array that the model "),
    ],
)  # fmt: skip
def test_wrong_usage(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (2, "") and words in err, err


@pytest.mark.parametrize(("other", "code"), [("net.onnx", 0), ("half.onnx", 1)])
@pytest.mark.parametrize("command", ["diff", "verify"])
def test_a_reader_that_leaves_does_not_hide_the_verdict(
    place: Path, command: str, other: str, code: int
) -> None:
    tight = " ".join(f'"{part}"' for part in COMMAND)
    script = f"{tight} {command} net.onnx {other} --json | true; exit ${{PIPESTATUS[0]}}"
    assert subprocess.run(["bash", "-c", script], capture_output=True, timeout=120).returncode == code
