"""Reads the blocks of commands of a page: `sh` blocks, and `console` blocks with what their commands print."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)^```$", re.MULTILINE)
_CONTINUED = "\\\n"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and where the text begins and ends in the page."""

    language: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Command:
    """A command as the shell gets it, the lines of the page that show it, and the output below them."""

    text: str
    lines: str
    shown: str


def read_blocks(page: str) -> list[Block]:
    """All fenced blocks of a page."""
    return [Block(found[1], found[2], found.start(2), found.end(2)) for found in _FENCE.finditer(page)]


def read_commands(block: Block) -> list[Command]:
    """The commands of a `console` block; one for the whole of an `sh` block, which shows no output.

    Raises:
        ValueError: A console block that begins with something else than a command.
    """
    if block.language == "sh":
        return [Command(block.text, block.text, "")]
    found: list[Command] = []
    lines = block.text.splitlines(keepends=True)
    while lines:
        line = lines.pop(0)
        if line.startswith("$ "):
            while line.endswith(_CONTINUED) and lines:
                line += lines.pop(0)
            found.append(Command(re.sub(r"^[$>] ", "", line, flags=re.MULTILINE), line, ""))
        elif found:
            last = found[-1]
            found[-1] = Command(last.text, last.lines, last.shown + line)
        else:
            raise ValueError(f"expected a console block to begin with '$ ', got {line.strip()!r}")
    return found
