"""docs/simulator.md: its commands draw the pictures in docs/images and print the sentences that it shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tightc.cli.main import run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
EXAMPLE = "src/tightc/example/digits.onnx"


def labels(path: Path) -> list[str]:
    """What the marks of a picture say; places and fonts may differ from one machine to the next."""
    elements = ElementTree.fromstring(path.read_text(encoding="utf-8")).iter()
    return [label for element in elements if (label := element.get("aria-label"))]


def test_the_commands_of_the_page_draw_its_pictures_and_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    (commands,) = (block for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "--why" in block)
    monkeypatch.chdir(tmp_path)
    for line in commands.splitlines():
        words = shlex.split(line.replace(EXAMPLE, str(ROOT / EXAMPLE)))
        assert words[0] == "tightc" and run(words[1:]) == 0
    printed = capsys.readouterr().out
    (sentences,) = (
        block for block in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL) if "in place" in block
    )
    shown = re.split(r" (?=conv\d:)", " ".join(sentences.split()))
    assert len(shown) == 2 and set(shown) <= set(printed.splitlines())
    for name in ("permute", "simulate"):
        assert labels(tmp_path / f"{name}.svg") == labels(ROOT / "docs" / "images" / f"plot-{name}.svg")
