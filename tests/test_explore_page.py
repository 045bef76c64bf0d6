"""The commands of docs/explore.md on the embedded example print what the page shows."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

import tightc
from tightc.cli.main import run

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```(sh|text)\n(.*?)```", (ROOT / "docs" / "explore.md").read_text(), re.DOTALL)
SHOWN = [  # commands and what they print
    (sh, text) for (kind, sh), (after, text) in pairwise(BLOCKS) if (kind, after) == ("sh", "text")
]


def test_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("digits.onnx", "digits.npz"):
        (tmp_path / name).write_bytes((tightc.examples() / name).read_bytes())
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "quick.yaml").write_text("steps: 5\nmoves_per_weight: 30\n")
    monkeypatch.chdir(tmp_path)
    assert len(SHOWN) == 4
    for commands, text in SHOWN:
        out = ""
        for command in commands.splitlines():
            program, *arguments = shlex.split(command)
            if program == "cat":
                out += Path(arguments[0]).read_text()
            else:
                assert program == "tightc" and run(arguments) == 0
        out = "\n".join(line.rstrip() for line in (capsys.readouterr().out + out).splitlines())
        assert out.strip() == text.strip()
