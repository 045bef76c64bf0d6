"""Writes docs/cli.md from the help of every command; with --check it only says whether it is up to date.

python scripts/make_reference.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import click

from tightc.cli.command import full_help
from tightc.cli.main import tightc

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
HEAD = (
    "# Command reference\n\nWritten by `python scripts/make_reference.py` from `tightc COMMAND --help-all`.\n"
)


def reference() -> str:
    """The page: the help of tightc, then the full help of each command."""
    group = click.Context(tightc, info_name="tightc", terminal_width=100, help_option_names=["-h", "--help"])
    parts = [HEAD, _block("tightc", tightc.get_help(group))]
    for name in tightc.list_commands(group):
        command = tightc.get_command(group, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=group)
        parts.append(_block(f"tightc {name}", full_help(context)))
    return "\n".join(parts)


def _block(title: str, text: str) -> str:
    return f"## {title}\n\n```text\n{text}\n```\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="only say whether the file is up to date")
    only_check = parser.parse_args().check
    page = reference()
    if only_check and PAGE.read_text(encoding="utf-8") != page:
        sys.exit(f"{PAGE.name} is out of date: run python scripts/make_reference.py")
    if not only_check:
        PAGE.write_text(page, encoding="utf-8")
