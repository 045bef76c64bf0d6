"""The page at the end of a run: what it is, where it is, and that a run is not lost with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import tightc
from helpers import models
from helpers.recipes import CHAIN
from helpers.report_pages import save
from tightc.cli.main import run
from tightc.errors import InternalError, OutputError
from tightc.model.file import Model
from tightc.recipe.workspace import Workspace
from tightc.report_page import run_page

pytest.importorskip("altair", reason="needs altair: pip install 'tightc[report]'")

COMMAND = ["run", "r.yaml", "-o", "w"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    save(models.cnn(), tmp_path / "net.onnx")
    (tmp_path / "r.yaml").write_text(CHAIN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ended(capsys: pytest.CaptureFixture[str]) -> tuple[str | None, list[str]]:
    """(its page, its notes) of a run, which has to end well, with all of its models."""
    assert run([*COMMAND, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert Path("w/03-pack.onnx").is_file() and Path("w/03-simulate.json").is_file()
    return report["totals"]["report"], report["notes"]


def test_a_run_ends_with_its_model_and_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(COMMAND) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-2:] == ["packed model: w/03-pack.onnx", "report: w/report.html"] and err == ""
    page = Path("w/report.html").read_bytes()
    assert run(["report", "w", "-q", "-o", "other.html"]) == 0
    assert page == Path("other.html").read_bytes()
    assert ended(capsys) == ("w/report.html", [])
    assert page == Path("w/report.html").read_bytes()


def test_a_run_that_does_not_end_leaves_no_page_of_an_earlier_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(capsys)
    write = Workspace.write_model

    def full(workspace: Workspace, name: str, model: Model) -> Model:
        if name == "03-pack":
            raise OutputError(f"{name}: cannot be written", "free some space")
        return write(workspace, name, model)

    monkeypatch.setattr(Workspace, "write_model", full)
    Path("r.yaml").write_text(CHAIN.replace("0.8", "0.7"))
    assert run(COMMAND) == 2
    assert not Path("w/report.html").exists()


def test_in_python_too() -> None:
    report = tightc.run_recipe("r.yaml", "w")
    assert report.totals["report"] == "w/report.html" and "<h1>w</h1>" in Path("w/report.html").read_text()


def test_a_recipe_that_only_measures_has_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    Path("r.yaml").write_text("model: net.onnx\nstages: [simulate]\n")
    assert run(COMMAND) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "report: w/report.html"


def test_without_the_packages_that_draw_a_note_says_how_to_get_the_page(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("w").mkdir()
    Path("w/report.html").write_text("of an earlier run")
    monkeypatch.setitem(sys.modules, "altair", None)
    page, notes = ended(capsys)
    assert page is None and not Path("w/report.html").exists()
    assert notes == [
        "no report page: report needs altair, jinja2 and vl-convert-python, which are not installed; pip install "
        "'tightc[report]', then tightc report w"
    ]


def test_a_page_that_cannot_be_written_does_not_lose_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    Path("w/report.html").mkdir(parents=True)
    page, notes = ended(capsys)
    assert page is None and Path("w/report.html").is_dir()
    (note,) = notes
    assert note.startswith("no report page: w/report.html: ") and note.endswith(", then tightc report w")


def test_a_run_in_the_same_folder_is_not_read_while_it_writes() -> None:
    tightc.run_recipe("r.yaml", "w")
    with Workspace.locked(Path("w")):
        (note,) = run_page.write_page(Path("w"))
    assert note.startswith("no report page: w: another run works in this folder; ")


def test_a_fault_of_the_page_itself_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise InternalError("expected a chart, got none", "report it")

    monkeypatch.setattr(run_page, "report_page", fail)
    with pytest.raises(InternalError):
        tightc.run_recipe("r.yaml", "w")


def test_what_a_killed_run_left_of_a_page_is_removed() -> None:
    tightc.run_recipe("r.yaml", "w")
    left = Path("w/.report.html.99999.0123abcd")
    left.write_text("half")
    tightc.run_recipe("r.yaml", "w")
    assert not left.exists()
