"""Progress on stderr: lines with -v, bars on a terminal; when they come and what they hold."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from helpers import models
from tightc.cli import progress
from tightc.cli.main import run

IN_PROGRESS = re.compile(
    r"(first|second|last): +\d+%  left \d+s  bound \d+ passes  gap \d+, trying \d+  cost \d+\.\d\d"
    r"  temperature [0-9.e-]+  accepted \d+\.\d%  moves/s \d+[kM]?"
)
AT_THE_END = re.compile(r"(first|second|last): 100%  passes (\d+)  gap (\d+)")


def test_lines_come_first_for_every_quarter_and_after_a_while(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    shown = {}
    with progress.progress_display(quiet=False, verbose=True) as report:
        for clock.now, done in (
            (0, 0.01), (1, 0.02), (5, 0.26), (6, 0.3), (14.9, 0.31), (15.1, 0.32), (16, 0.9), (17, 1.0), (18, 1.0),
        ):  # fmt: skip
            report("conv", done, {"cost": "3.25", "left": "2s"})
            shown[clock.now] = capsys.readouterr().err
        report("other", 0.0, {})
    assert {now for now, text in shown.items() if text} == {0, 5, 15.1, 16, 17}
    assert shown[5] == "conv:  26%  cost 3.25  left 2s\n"
    assert capsys.readouterr().err == "other:   0%  \n"


def test_every_line_of_a_search_has_every_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    models.save(models.cnn(), tmp_path / "net.onnx")
    (tmp_path / "quick.yaml").write_text("steps: 5\nmoves_per_weight: 30\n")
    arguments = ["--array", "4x4", "--fan-in", "3", "--temp-schedule", "quick.yaml", "-v", "-o", "out.onnx"]
    assert run(["permute", "net.onnx", *arguments]) == 0
    lines = capsys.readouterr().err.splitlines()
    for layer in ("first", "second", "last"):
        own = [line for line in lines if line.startswith(f"{layer}: ")]
        assert len(own) > 1
        assert all(IN_PROGRESS.fullmatch(line) for line in own[:-1]), own
        end = AT_THE_END.fullmatch(own[-1])
        assert end, own
        assert int(end[2]) >= int(end[3])


def on_a_terminal(columns: int, *arguments: str) -> str:
    """What a command draws on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-c", "from tightc.cli.main import main; main()", *arguments]
    environment = {**os.environ, "TERM": "xterm"}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, env=environment)
    os.close(theirs)
    drawn = b""
    try:
        while part := os.read(ours, 65536):
            drawn += part
    except OSError:  # Linux: the other side is closed
        pass
    finally:
        os.close(ours)
    assert process.wait(timeout=60) == 0, drawn.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode())


@pytest.mark.parametrize("columns", [60, 200])
def test_a_bar_has_the_name_and_every_figure_whatever_the_width(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "net (float[1, 256] x) => (float[1, 64] y) { y = MatMul(x, w) }"
    proto = models.build(text, w=models.sparse(256, 64, density=0.2))
    proto.graph.node[0].name = "conv[/b]"  # rich would take that for markup
    models.save(proto, tmp_path / "net.onnx")
    Path("endless.yaml").write_text("moves_per_weight: 10000000\n")
    flags = ["--fan-in", "6", "--temp-schedule", "endless.yaml", "--time-limit", "1s", "-o", "out.onnx"]
    lines = on_a_terminal(columns, "permute", "net.onnx", *flags).replace("\r", "\n").splitlines()
    assert max(map(len, lines)) <= columns
    drawn = " ".join("\n".join(lines).split())
    assert re.search(r"conv\[/b\] \S+ left \d+s", drawn), drawn
    for figure in (
        "bound \\d+ passes",
        "gap \\d+, trying \\d+",
        "cost \\d",
        "temperature \\d",
        "accepted \\d",
        "moves/s \\d",
    ):
        assert re.search(figure, drawn), drawn
