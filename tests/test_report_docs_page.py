"""The commands that docs/report.md shows run, and its pictures are there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tightc
from helpers.report_pages import Page

pytest.importorskip("altair", reason="needs altair: pip install 'tightc[report]'")

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_commands_run(tmp_path: Path) -> None:
    shutil.copy(tightc.examples() / "digits.onnx", tmp_path / "model.onnx")
    (tmp_path / "tightc").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tightc "$@"\n')
    (tmp_path / "tightc").chmod(0o755)
    path = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    commands = "".join(block for block in BLOCKS if "pip install" not in block)
    subprocess.run(["bash", "-ec", commands], cwd=tmp_path, capture_output=True, check=True, env=path)
    two, one = (
        Page((tmp_path / name).read_text(encoding="utf-8")) for name in ("two.html", "baselines.html")
    )
    assert two.all("span", _class="badge badge-A")[0]["text"] == "A"
    section = one.all("section", id="baselines")[0]["text"]
    assert "column-combine 0.5" in section and not one.all("p", _class="warning")


def test_the_pictures_are_there() -> None:
    named = re.findall(r"!\[[^\]]+\]\(images/([\w-]+\.png)\)", TEXT)
    assert sorted(named) == sorted(path.name for path in (ROOT / "docs" / "images").glob("report-*.png"))


def test_the_page_has_the_sections_that_are_listed() -> None:
    rows = re.findall(r"^\| (\w[\w ]*) \| .* \|$", TEXT.partition("## Why")[0], re.MULTILINE)
    navigation = (ROOT / "src/tightc/report_page/templates/page.html.jinja").read_text(encoding="utf-8")
    assert rows[1:] == re.findall(r'<a href="#\w+">([\w ]+)</a>', navigation)
