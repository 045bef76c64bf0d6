"""A page of docs/benchmarks: printed as it comes, written when it is complete."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from tightc.files import write_file_atomically
from tightc.parallel import available_cores

SEED = 0
FOLDER = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
_PACKAGES = ("tightc", "numpy", "numba", "onnxruntime")

_INDEX = """\
# Benchmarks

Written by `make bench`; one page alone by the command beside it. Times depend on the machine and on what else it does.
Ratios within a page depend on that less.

| page | command |
|---|---|"""

Cell = str | int | float | None


@dataclass
class Page:
    """One section; `figures` are SVG files that go with it, by their names."""

    section: str
    title: str
    quick: bool = False
    figures: dict[str, bytes] = field(default_factory=dict)
    _lines: list[str] = field(default_factory=list)
    _rows: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._say(f"## {self.title}", "")
        self.text(f"```sh\n.venv/bin/python scripts/bench.py {self.section}\n```")
        self.text(surroundings())

    def text(self, paragraph: str) -> None:
        """A paragraph, with the empty line after it."""
        self._say(paragraph, "")

    def head(self, *names: str) -> None:
        """Starts a table with its head."""
        self._rows = []
        self.row(*names)
        print("|" + "---|" * len(names), flush=True)

    def row(self, *cells: Cell) -> None:
        """One more line of the table."""
        self._rows.append([shown(cell) for cell in cells])
        widths = [max(len(name), 6) for name in self._rows[0]]
        print(_line(self._rows[-1], widths), flush=True)

    def end(self) -> None:
        """Ends a table; the widths of its columns are known now."""
        widths = [max(3, *map(len, column)) for column in zip(*self._rows, strict=True)]
        head, *rows = (_line(row, widths) for row in self._rows)
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        self._lines += [head, rule, *rows, ""]
        print()

    def figure(self, name: str, what: str, svg: bytes) -> None:
        """A drawing, kept as docs/benchmarks/`name`.svg; `what` says what it shows."""
        self.figures[name] = svg
        self.text(f"![{what}]({name}.svg)")

    def write(self) -> None:
        """The page and its figures, then the list of all pages."""
        FOLDER.mkdir(exist_ok=True)
        for name, svg in self.figures.items():
            write_file_atomically(FOLDER / f"{name}.svg", svg)
        page = re.sub(r"^#(#+ )", r"\1", "\n".join(self._lines), flags=re.MULTILINE)
        write_file_atomically(FOLDER / f"{self.section}.md", (page.rstrip() + "\n").encode())

    def _say(self, *lines: str) -> None:
        self._lines.extend(lines)
        print(*lines, sep="\n", flush=True)


def write_index(sections: Sequence[str]) -> None:
    """docs/benchmarks/README.md: the pages of `sections` that have been written, with the command of each."""
    rows = []
    for section in sections:
        page = FOLDER / f"{section}.md"
        if page.exists():
            title = page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
            rows.append(f"| [{title}]({section}.md) | `python scripts/bench.py {section}` |")
    write_file_atomically(FOLDER / "README.md", "\n".join([_INDEX, *rows, ""]).encode())


def surroundings() -> str:
    """Seed, processor and versions of the measurement."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    python = ".".join(map(str, sys.version_info[:3]))
    cores = available_cores()
    unit = "core" if cores == 1 else "cores"
    return f"Seed {SEED}; {cores} {unit} of {processor()}; Python {python}, {packages}."


def processor() -> str:
    """The name of the processor, or the machine type where the system gives no name."""
    if os.path.exists("/proc/cpuinfo"):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _line(texts: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)) + " |"


def shown(cell: Cell) -> str:
    """A cell as text: thousands separated, floats with four digits and at most three decimals."""
    if cell is None or isinstance(cell, str):
        return cell or ""
    if isinstance(cell, int):
        return f"{cell:,}"
    whole = len(str(int(abs(cell))))
    return f"{cell:,.{max(0, 4 - whole)}f}"
