"""Runs the commands of a page, and says where the page is not what they print."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pages.blocks import Block, Command, read_blocks, read_commands
from pages.exceptions import PageRules, read_rules
from pages.folder import ROOT, Ended, make_folder, run_commands

RUN = ("sh", "console")
_NOT_WALKED = (
    Path("docs/cli.md"),  # written by scripts/make_reference.py
    Path("docs/results/runs"),  # records
)
_BENCH = ".venv/bin/python scripts/bench.py "  # writes the page that shows it, from hours of measurements
_NUMBER = re.compile(r"\d[\d,]*(\.\d+)?")


@dataclass
class PageRun:
    """What came of a page.

    `text` is the page with the output of this run, `failures` are wrong exit codes, `differences` other outputs than
    the page shows, and `missing` programs that are not installed.
    """

    text: str = ""
    failures: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)


def find_pages(root: Path = ROOT) -> list[str]:
    """All pages with commands that are to be run, as paths from the root of the project."""
    found = [Path("README.md"), *sorted(path.relative_to(root) for path in (root / "docs").rglob("*.md"))]
    walked = (path for path in found if not any(path.is_relative_to(other) for other in _NOT_WALKED))
    return [path.as_posix() for path in walked if command_blocks((root / path).read_text(encoding="utf-8"))]


def command_blocks(page: str) -> list[Block]:
    """The blocks of commands of a page, without those of scripts/bench.py."""
    return [
        block for block in read_blocks(page) if block.language in RUN and not block.text.startswith(_BENCH)
    ]


def run_page(name: str, folder: Path, root: Path = ROOT) -> PageRun:
    """Runs the commands of page `name`, each block from the same folder inside `folder`."""
    page, rules = (root / name).read_text(encoding="utf-8"), read_rules().get(name, PageRules())
    place, found = make_folder(folder, rules.small), PageRun()
    if rules.prepare:
        (prepared,) = run_commands([rules.prepare], place, stop=True)
        if prepared.code:
            found.failures.append(f"what comes before the page: exit code {prepared.code}: {prepared.output}")
    end = 0
    for block in command_blocks(page):
        missing = {
            program
            for program, text in rules.needs.items()
            if text in block.text and not shutil.which(program)
        }
        found.missing |= missing
        if missing or rules.reason_not_to_run(block.text):
            continue
        found.text += page[end : block.start]
        for command, ended in _run_block(block, rules, place):
            found.text += command.lines + (ended.output if block.language == "console" else "")
            if ended.code != rules.exit_code(command.text):
                found.failures.append(f"{command.text}exit code {ended.code}: {ended.output}")
            if block.language == "console" and not _same(
                command.shown, ended.output, rules.is_trained(block.text)
            ):
                found.differences.append(f"{command.text}expected\n{command.shown}got\n{ended.output}")
        end = block.end
    found.text += page[end:]
    return found


def _run_block(block: Block, rules: PageRules, place: Path) -> Iterator[tuple[Command, Ended]]:
    commands = read_commands(block)
    texts = [rules.as_run(command.text) for command in commands]
    return zip(commands, run_commands(texts, place, stop=block.language == "sh"), strict=True)


def _same(shown: str, printed: str, trained: bool) -> bool:
    """Whether a page shows what was printed; `trained` leaves numbers and the widths of their columns out."""
    if trained:
        shown, printed = (" ".join(_NUMBER.sub("0", text).split()) for text in (shown, printed))
    return shown == printed
