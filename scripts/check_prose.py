"""Checks the length of sentences in README.md and docs: no file's median above 20 words, no sentence above 35.

    python scripts/check_prose.py [FILE ...]

Code blocks, tables, headings and HTML comments are left out, and so is docs/cli.md, which is generated. Inline code and
a link count by their words. Exit code 1 with FILE:LINE of each sentence that is too long.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
LONGEST, MEDIAN = 35, 20
GENERATED = ("docs/cli.md",)

_FENCE = re.compile(r"^\s*(`{3,}|~{3,})")
_BLOCK = re.compile(r"^\s*(?:[-*+]|\d+[.)]|>)\s+")
_NO_PROSE = re.compile(r"^\s*(?:#{1,6}\s|\||!\[[^\]]*\]\([^)]*\)\s*$|\[[^\]]+\]:\s|:[\w-]+:)")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_ABBREVIATIONS = re.compile(r"\b(?:e\.g|i\.e|et al|vs|cf|no|fig|sec)\.$", re.IGNORECASE)


@dataclass(frozen=True)
class Sentence:
    """A sentence, the line that it begins on, and its words."""

    line: int
    text: str

    @property
    def words(self) -> int:
        """Words, numbers and inline code, counted between spaces."""
        return sum(any(letter.isalnum() for letter in word) for word in self.text.split())


def sentences(markdown: str) -> Iterator[Sentence]:
    """The sentences of the prose in `markdown`."""
    for block in _blocks(_COMMENT.sub(_only_line_breaks, markdown)):
        yield from _split(block)


def problems(name: str, markdown: str) -> list[str]:
    """What is too long in `markdown`, each with file and line."""
    found = list(sentences(markdown))
    lines = [
        f"{name}:{one.line}: {one.words} words, permitted {LONGEST}: {one.text[:60]} ..."
        for one in found
        if one.words > LONGEST
    ]
    middle = median(one.words for one in found) if found else 0
    if middle > MEDIAN:
        longest = max(found, key=lambda one: one.words)
        lines.append(f"{name}:{longest.line}: median of {middle:g} words a sentence, permitted {MEDIAN}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every sentence is short enough, else 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, help="default: README.md and docs")
    files = parser.parse_args(arguments).files or pages()
    lines = [line for file in files for line in problems(_name(file), file.read_text(encoding="utf-8"))]
    for line in lines:
        print(line)
    return 1 if lines else 0


def pages() -> list[Path]:
    """README.md and what people wrote in docs."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path for path in found if _name(path) not in GENERATED]


def _name(path: Path) -> str:
    resolved = path.resolve()
    return str(resolved.relative_to(ROOT) if resolved.is_relative_to(ROOT) else path)


def _only_line_breaks(comment: re.Match[str]) -> str:
    return "\n" * comment[0].count("\n")


def _blocks(markdown: str) -> Iterator[list[tuple[int, str]]]:
    """Paragraphs and list items, as numbered lines without their marks."""
    fence, block = "", list[tuple[int, str]]()
    for number, line in enumerate(markdown.splitlines(), start=1):
        mark = _FENCE.match(line)
        if fence or mark:
            fence = _after(fence, line, mark)
            yield block
            block = []
        elif not line.strip() or _NO_PROSE.match(line) or (not block and line.startswith("    ")):
            yield block
            block = []
        else:
            if _BLOCK.match(line):
                yield block
                block = []
            block.append((number, _BLOCK.sub("", line).strip()))
    yield block


def _after(fence: str, line: str, mark: re.Match[str] | None) -> str:
    """The fence that is open after `line`, empty for none."""
    if not fence:
        return mark[1] if mark else ""
    closes = mark is not None and mark[1].startswith(fence) and line.strip() == mark[1]
    return "" if closes else fence


def _split(block: Sequence[tuple[int, str]]) -> Iterator[Sentence]:
    words: list[str] = []
    begins = 0
    for number, line in block:
        for word in _plain(line).split():
            begins = begins if words else number
            words.append(word)
            if re.search(r"[.!?][\"')*_]*$", word) and not _ABBREVIATIONS.search(" ".join(words[-2:])):
                yield Sentence(begins, " ".join(words))
                words = []
    if words:
        yield Sentence(begins, " ".join(words))


def _plain(line: str) -> str:
    """Links and images by their text, inline code without the marks; its dots end no sentence."""
    line = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", line)
    return re.sub(r"`([^`]*)`", lambda code: re.sub(r"[.!?]", "_", code[1]), line)


if __name__ == "__main__":
    sys.exit(main())
