"""`tightc report` as a command: where the page goes, what is printed, and errors."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

import tightc
from helpers import models
from helpers.report_pages import QUICK, save
from tightc.cli.main import run

pytest.importorskip("altair", reason="needs altair: pip install 'tightc[report]'")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    save(models.cnn(), tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["report", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("tightc: error: ") and err.count("\n") == 1
    return err.removeprefix("tightc: error: ").rstrip("\n")


def test_the_page_and_what_is_printed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "net.onnx", "-o", "page.html"]) == 0
    out, err = capsys.readouterr()
    assert "layers_with_tiles: first, second, last" in out
    assert err == "wrote page.html\n"
    assert (place / "page.html").read_bytes().startswith(b"<!doctype html>")


def test_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "net.onnx", "--json", "-o", "page.html", "--layer", "last"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert err == "" and report["schema"] == "tightc.report/1"
    assert report["totals"] == {
        "models": ["net.onnx"],
        "layers": 3,
        "layers_with_tiles": ["last"],
        "bytes": (place / "page.html").stat().st_size,
    }


def test_quiet(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "net.onnx", "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert (place / "report.html").exists()


def test_the_page_of_a_run_goes_into_its_folder(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "r.yaml").write_text("model: net.onnx\nstages:\n  - prune: {sparsity: 0.5}\n")
    assert run(["run", "r.yaml", "-o", "out", "-q"]) == 0
    assert run(["report", "out"]) == 0
    assert capsys.readouterr().err == "wrote out/report.html\n"
    assert (place / "out" / "report.html").exists()
    assert run(["report", "out", "net.onnx", "-q"]) == 0
    assert (place / "report.html").exists()


def test_stdin_and_stdout(
    place: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    piped = io.TextIOWrapper(io.BytesIO((place / "net.onnx").read_bytes()))
    monkeypatch.setattr(sys, "stdin", piped)
    assert run(["report", "-o", "-"]) == 0
    out = capfdbinary.readouterr().out
    assert out.startswith(b"<!doctype html>") and out.endswith(b"</html>")


def test_it_is_the_verb_of_python(place: Path) -> None:
    assert run(["report", "net.onnx", "-q", "-o", "command.html", "--layer", "last"]) == 0
    report = tightc.write_report(tightc.load("net.onnx"), "verb.html", layer=["last"])
    assert (place / "command.html").read_bytes() == (place / "verb.html").read_bytes()
    assert report.totals["layers_with_tiles"] == ["last"]


def test_both_on_stdout(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert error(capsys, "net.onnx", "--json", "-o", "-") == (
        "--json: stdout would hold both the page and the JSON object; add -o FILE"
    )


def test_where_the_page_cannot_go(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "folder").mkdir()
    assert error(capsys, "net.onnx", "-o", "no/page.html").startswith("no/page.html: there is no folder no;")
    assert error(capsys, "net.onnx", "-o", "folder") == "folder: is a folder; give the path of a file"
    assert error(capsys, "net.onnx", "-o", "") == (
        "--output: expected a file, got an empty text; give a name or leave it out"
    )


def test_a_folder_that_is_no_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "folder").mkdir()
    assert error(capsys, "folder") == (
        "folder: expected a folder of tightc run, with a recipe.yaml, got none in it; "
        "give the folder that tightc run wrote, or the path of a model"
    )
    assert not list((place / "folder").iterdir())


def test_three_models(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert error(capsys, "net.onnx", "net.onnx", "net.onnx") == (
        "expected one or two models or runs, got 3; write a page for each two of them"
    )


def test_without_the_extra(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    assert error(capsys, "net.onnx") == (
        "report needs altair, jinja2 and vl-convert-python, which are not installed; pip install 'tightc[report]'"
    )


def test_a_page_is_kept_where_the_next_one_fails(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert QUICK["array"] == "8x4"
    (place / "page.html").write_text("kept")
    error(capsys, "net.onnx", "-o", "page.html", "--array", "16x16")
    assert (place / "page.html").read_text() == "kept"
