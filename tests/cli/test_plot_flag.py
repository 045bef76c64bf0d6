"""`--plot FILE` of permute, simulate, compare and explore: checked before the work, written next to everything else."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from helpers import models
from tightc.cli.main import run

COMMANDS = {
    "permute": [
        "permute", "net.onnx", "--array", "8x4", "--fan-in", "3", "--temp-schedule", "quick.yaml", "-o", "p.onnx",
    ],
    "simulate": ["simulate", "net.onnx", "--array", "8x4"],
    "compare": [
        "compare", "net.onnx", "--array", "8x4", "--fan-in", "3", "--alpha", "3", "--temp-schedule", "quick.yaml",
        "--method", "dense,structured",
    ],
    "explore": [
        "explore", "net.onnx", "--array", "4x4,8x4", "--fan-in", "3", "--temp-schedule", "quick.yaml",
        "-o", "points.sqlite",
    ],
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models.save(models.cnn(), tmp_path / "net.onnx")
    (tmp_path / "quick.yaml").write_text("steps: 2\nmoves_per_weight: 5\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_draws_its_report(place: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    assert run([*COMMANDS[command], "--plot", "chart.svg", "--json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert "wrote chart.svg" in err
    text = (place / "chart.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(text)
    for row in report["layers"]:
        assert row.get("name", row.get("variant", row.get("array"))) in text or row.get("status") == "skipped"
    assert run([*COMMANDS[command], "--plot", "chart.svg", "-q"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "chart.gif",
            "chart.gif: expected the suffix .svg, .png or .pdf, got .gif; end the name of the file in one",
        ),
        ("", "--plot: expected a file, got an empty text; give a name or leave it out"),
    ],
)
def test_a_wrong_name_is_refused_before_the_work(
    place: Path, capsys: pytest.CaptureFixture[str], command: str, name: str, message: str
) -> None:
    assert run([*COMMANDS[command], "--plot", name]) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err
    assert sorted(path.name for path in place.iterdir()) == ["net.onnx", "quick.yaml"]


def test_without_the_extra_nothing_is_done(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    assert run([*COMMANDS["permute"], "--plot", "chart.svg"]) == 2
    assert "pip install 'tightc[report]'" in capsys.readouterr().err
    assert not (place / "p.onnx").exists()
