"""Names of a model never reach a terminal as they are: tables, -v, errors, progress, CSV, files."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import onnx
import pytest
from onnx import helper

import tightc
from helpers import models
from tightc.cli.main import run
from tightc.cli.progress import progress_display

EVIL = "\x1b[2J\x1b]0;owned\x07\u202e\nconv"
SHOWN = "\\x1b[2J\\x1b]0;owned\\x07\\u202e\\nconv"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    save(models.cnn(), EVIL, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(proto: onnx.ModelProto, name: str, place: Path) -> None:
    proto.graph.node[0].name = name
    models.save(proto, place / "net.onnx")


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    """stdout and stderr of a command, which hold no control characters but line breaks."""
    assert run(list(arguments)) == code
    out, err = capsys.readouterr()
    assert all(line.isprintable() for line in (out + err).split("\n"))
    return out, err


@pytest.mark.usefixtures("place")
def test_tables(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = shown(capsys, "inspect", "net.onnx")
    assert SHOWN in out


def test_operators_that_are_not_covered(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proto = models.cnn()
    output = proto.graph.output[0].name
    proto.graph.node.append(
        helper.make_node("Einsum", [output, output], ["extra"], name=EVIL, equation="ij,ij->i")
    )
    save(proto, "first", place)
    for arguments in (
        ["inspect", "net.onnx", "-v"],
        ["prune", "net.onnx", "--sparsity", "0.5", "-o", "p.onnx"],
    ):
        assert f"Einsum {SHOWN}" in "".join(shown(capsys, *arguments))


@pytest.mark.usefixtures("place")
def test_errors(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = shown(capsys, "simulate", "net.onnx", "--trace", "t", "--layer", EVIL + "x", code=2)
    assert SHOWN in err and err.count("\n") == 1


@pytest.mark.usefixtures("place")
def test_csv_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = shown(capsys, "simulate", "net.onnx", "--csv")
    assert next(csv.DictReader(io.StringIO(out)))["name"] == SHOWN.replace("\\n", "\n")
    out, _ = shown(capsys, "inspect", "net.onnx", "--json")
    assert json.loads(out)["layers"][0]["name"] == EVIL


@pytest.mark.usefixtures("place")
def test_html_and_text_of_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    report = tightc.inspect(tightc.load("net.onnx"))
    for text in (str(report), report._repr_html_()):
        assert SHOWN in text and all(line.isprintable() for line in text.split("\n"))


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_display(quiet=False, verbose=True) as report:
        report(EVIL, 0.5, {"cost": "\x1b"})
    assert capsys.readouterr().err == f"{SHOWN}:  50%  cost \\x1b\n"


def test_names_that_reading_changed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proto = models.cnn()
    proto.graph.node[1].name = EVIL
    save(proto, EVIL, place)
    _, err = shown(capsys, "inspect", "net.onnx")
    assert f"node names that several nodes had are numbered: {SHOWN}" in err


@pytest.mark.parametrize(("command", "lines"), [(["inspect"], 40), (["simulate"], 60)])
def test_a_name_of_a_million_letters_is_cut(
    place: Path, capsys: pytest.CaptureFixture[str], command: list[str], lines: int
) -> None:
    save(models.cnn(), "a" * 10**6, place)
    out, err = shown(capsys, *command, "net.onnx")
    assert len(out) + len(err) < 1000 * lines
    out, _ = shown(capsys, *command, "net.onnx", "--json")
    assert json.loads(out)["layers"][0]["name"] == "a" * 10**6


@pytest.mark.usefixtures("place")
def test_a_name_of_ten_thousand_letters_becomes_a_file(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(models.cnn(), "../" + "a" * 10_000, place)
    shown(capsys, "simulate", "net.onnx", "--trace", "t")
    shown(capsys, "simulate", "net.onnx", "--export-scalesim", "s")
    (trace,) = os.listdir("t")
    assert trace.startswith("aaaa") and len(trace) == 104
    assert sorted(os.listdir()) == ["net.onnx", "s", "t"]
    assert max(map(len, Path("s/topology.csv").read_text().splitlines())) < 200
