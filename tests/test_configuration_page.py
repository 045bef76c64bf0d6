"""docs/configuration.md has the names that there are, and the exports of docs/simulator.md are as it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tightc
from tightc.accelerator.hardware import Hardware
from tightc.config.shipped import shipped_names
from tightc.config.yaml import read_options

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
SIMULATOR = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the example as `model.onnx`, and `tightc` on the path."""
    program = tmp_path / "programs" / "tightc"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tightc "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    place = tmp_path / "place"
    place.mkdir()
    shutil.copy(tightc.examples() / "digits.onnx", place / "model.onnx")
    monkeypatch.chdir(place)
    return place


def test_the_page_has_the_names_of_all_kinds_and_all_fields(folder: Path) -> None:
    rows = dict(re.findall(r"^\| `--(energy|area|temp-schedule)` \| .* \| (.*) \|$", PAGE, re.MULTILINE))
    for flag, names in rows.items():
        kind = "schedules" if flag == "temp-schedule" else flag
        assert tuple(re.findall(r"`(.+?)`", names)) == shipped_names(kind)
    assert len(rows) == 3
    shutil.copy(tightc.configs() / "hardware" / "edge-32x32.yaml", "mine.yaml")
    assert read_options("mine.yaml", Hardware).name == "edge-32x32"


def test_the_exports_of_the_simulator_page(folder: Path) -> None:
    options = re.findall(r"^\| `(--export-\w+ \S+)`", SIMULATOR, re.MULTILINE)
    assert len(options) == 3
    pack = "tightc permute --array 16x16 --method first-fit -o permuted.onnx"
    command = f"tightc prune model.onnx --sparsity 0.9 | {pack}"
    subprocess.run(["bash", "-ec", command], check=True, capture_output=True)
    flags = " ".join(options).replace("FILE.npz", "tiles.npz").replace("DIR", "out", 1).replace("DIR", "out2")
    done = subprocess.run(
        ["bash", "-ec", f"tightc simulate permuted.onnx {flags}"], check=True, capture_output=True, text=True
    )
    assert "wrote out/topology.csv" in done.stderr and "wrote tiles.npz" in done.stderr
    (snippet,) = re.findall(r"^```python\n(import numpy.*?)^```$", SIMULATOR, re.MULTILINE | re.DOTALL)
    printed = subprocess.run([sys.executable, "-c", snippet], check=True, capture_output=True, text=True)
    rows = tightc.simulate(tightc.load("permuted.onnx"), array="16x16").layers
    assert printed.stdout.splitlines() == [
        f"{row['name']} ({row['filters']}, {row['inputs']}) {row['nonzeros']}" for row in rows
    ]
