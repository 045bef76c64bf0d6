"""What is not covered is named by the commands, with its share of the MACs, on stderr and in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from helpers import models
from tightc.cli.main import run
from tightc.report import Report

PERMUTE = ["--array", "8x8", "--fan-in", "4", "--method", "first-fit"]
OPERATORS = "is not among the operators that are packed"
COMPUTED = "it has no constant weight: both sides are computed at run time"
ATTENTION = f"not covered: MatMul scores (38.5% of the MACs, 150): {COMPUTED}"
LSTM = f"not covered: LSTM rnn (an unknown share of the MACs): LSTM {OPERATORS}"
NETS = {
    "attention": (models.attention, ATTENTION, 240 / 390),
    "lstm": (models.with_lstm, LSTM, None),
}
COMMANDS = {
    "prune": ["--sparsity", "0.5", "-o", "out.onnx"],
    "permute": [*PERMUTE, "-o", "out.onnx"],
    "pack": ["-o", "out.onnx"],
    "simulate": ["--array", "8x8"],
    "compare": ["--array", "8x8", "--method", "dense,structured"],
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def saved(proto: onnx.ModelProto, command: str) -> str:
    """A file that a command takes."""
    models.save(proto, Path("net.onnx"))
    if command != "pack":
        return "net.onnx"
    assert run(["permute", "net.onnx", *PERMUTE, "-q", "-o", "q.onnx"]) == 0
    return "q.onnx"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["attention", "lstm"])
def test_a_layer_that_is_not_covered_is_named_by_every_command(
    place: Path, command: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make, line, covered = NETS[name]
    source = saved(make(), command)
    assert run([command, source, *COMMANDS[command], "--json"]) == 0
    out, err = capsys.readouterr()
    named = line
    assert [row for row in err.splitlines() if "not covered" in row] == [named]
    report = json.loads(out)
    (row,) = report["uncovered"]
    assert row["name"] == {"attention": "scores", "lstm": "rnn"}[name]
    assert row["macs"] == {"attention": 150, "lstm": None}[name]
    assert row["macs_share"] == (None if name == "lstm" else pytest.approx(1 - covered))
    if command != "compare":
        assert report["totals"]["macs_covered"] == (None if covered is None else pytest.approx(covered))


@pytest.mark.parametrize("command", COMMANDS)
def test_quiet_says_it_in_json_alone(place: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    source = saved(models.attention(), command)
    assert run([command, source, *COMMANDS[command], "--json", "-q"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert len(json.loads(out)["uncovered"]) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_where_all_is_covered_nothing_is_said(
    place: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = saved(models.cnn(), command)
    assert run([command, source, *COMMANDS[command], "--json"]) == 0
    out, err = capsys.readouterr()
    assert "not covered" not in err
    assert json.loads(out)["uncovered"] == []


def test_a_model_of_open_size_has_shares_unknown(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proto = models.build(
        """net (float[B, L, 8] x) => (float[B, L, M] y) {
            [project] q = MatMul(x, w) k = Transpose<perm = [0, 2, 1]>(q) [scores] y = MatMul(q, k) }""",
        w=models.sparse(8, 6),
    )
    source = saved(proto, "prune")
    assert run(["prune", source, *COMMANDS["prune"], "--json"]) == 0
    out, err = capsys.readouterr()
    assert "not covered: MatMul scores (an unknown share of the MACs): " in err
    report = json.loads(out)
    assert report["totals"]["macs_covered"] is None
    assert report["uncovered"][0]["macs"] is None and report["uncovered"][0]["macs_share"] is None


def test_two_models_compared_are_distinguished(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models.save(models.attention(), Path("one.onnx"))
    models.save(models.attention(), Path("two.onnx"))
    assert run(["compare", "one.onnx", "two.onnx", *COMMANDS["compare"], "--json"]) == 0
    err = capsys.readouterr().err.splitlines()
    named = [line for line in err if "not covered" in line]
    assert [line.partition(": ")[0] for line in named] == ["one", "two"]


def test_a_long_list_is_cut_by_share() -> None:
    from tightc.reporting.uncovered import uncovered_lines

    rows = tuple(
        {"name": f"n{i}", "operator": "MatMul", "reason": "why", "macs": 10 * i, "macs_share": i / 100}
        for i in range(12)
    )
    report = Report("prune", {}, uncovered=rows)
    lines = list(uncovered_lines(report, whole=False))
    assert [line.split()[3] for line in lines[:8]] == [f"n{i}" for i in range(11, 3, -1)]
    assert lines[8] == "not covered: 4 more operators (6.0% of the MACs); -v or --json lists them all"
    assert len(list(uncovered_lines(report, whole=True))) == 12


def test_a_list_that_is_cut_does_not_count_what_is_unknown_as_nothing() -> None:
    from tightc.reporting.uncovered import uncovered_lines

    row = {"name": "n", "operator": "FusedConv", "reason": "why", "macs": None, "macs_share": None}
    *_, last = uncovered_lines(Report("prune", {}, uncovered=(row,) * 12), whole=False)
    assert last == "not covered: 4 more operators (an unknown share of the MACs); -v or --json lists them all"
