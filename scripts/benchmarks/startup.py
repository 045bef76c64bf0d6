"""What the help of each command takes to print, as a ratio to a bare click command with one pydantic model."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.page import Page
from tightc.cli.main import COMMANDS

TITLE = "Startup: the help of each command"

_BASELINE = (
    "import click\nfrom pydantic import BaseModel\nclass Options(BaseModel):\n    sparsity: float = 0.9\n"
)
_HELP = "import sys\nfrom tightc.cli.main import main\nsys.argv = ['tightc', {command!r}, '-h']\nmain()\n"


def run(page: Page) -> None:
    """One row for each command."""
    repeats = 1 if page.quick else 7
    page.text(
        f"`tightc COMMAND -h` against `python -c` that imports click and defines one pydantic BaseModel, in turn; "
        f"wall time, median of {repeats}. Target: a ratio of at most 2.5."
    )
    page.head("command", "ratio", "ms", "ms of the baseline")
    for command in COMMANDS:
        own, baseline = [], []
        for _ in range(repeats):
            baseline.append(_seconds(_BASELINE))
            own.append(_seconds(_HELP.format(command=command)))
        taken, bare = statistics.median(own), statistics.median(baseline)
        page.row(command, taken / bare, 1e3 * taken, 1e3 * bare)
    page.end()


def _seconds(script: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began
