"""Reads Liberty files (.lib, .lib.gz): groups, attributes and lists as they stand, and the units."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass, field
from pathlib import Path

_TOKEN = re.compile(
    r'/\*.*?\*/|//[^\n]*|\\\s*\n|"((?:[^"\\]|\\.)*)"|([(){};:,])|([^\s(){};:,"\\]+)', re.DOTALL
)
_PREFIXES = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "": 1.0}


class LibertyError(Exception):
    """The file is not Liberty, or lacks what is needed."""


@dataclass
class Group:
    """One group: `kind (arguments) { ... }`. `lists` holds the complex attributes, such as values."""

    kind: str
    arguments: list[str]
    attributes: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The first argument, "" where there is none."""
        return self.arguments[0] if self.arguments else ""

    def of(self, *kinds: str) -> list[Group]:
        """The groups within, of these kinds, in order."""
        return [group for group in self.groups if group.kind in kinds]


def read_liberty(path: Path) -> Group:
    """The library group of the file at `path`, gzipped or not; LibertyError where it has none."""
    packed = path.read_bytes()
    text = (gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed).decode("utf-8", "replace")
    return parse_liberty(text, str(path))


def parse_liberty(text: str, origin: str) -> Group:
    """As `read_liberty`, from text."""
    root = Group("", [])
    try:
        _read_statement(_Tokens(text), root)
    except IndexError:
        root.groups.clear()
    if [group.kind for group in root.groups] != ["library"]:
        raise LibertyError(
            f"{origin}: expected a Liberty library, got another file; give a .lib or .lib.gz file"
        )
    return root.groups[0]


class _Tokens:
    """The tokens of a file, (text, whether it is punctuation), without comments; IndexError at the end."""

    def __init__(self, text: str) -> None:
        self._all = [token for match in _TOKEN.finditer(text) for token in _token(match)]
        self._place = 0

    def next(self) -> tuple[str, bool]:
        """The next token."""
        self._place += 1
        return self._all[self._place - 1]

    def skip(self, mark: str) -> bool:
        """Whether the next token is the `mark`, which is then read."""
        found = self._all[self._place] == (mark, True)
        self._place += found
        return found


def _token(match: re.Match[str]) -> list[tuple[str, bool]]:
    string, mark, word = match.groups()
    if mark is not None:
        return [(mark, True)]
    if string is not None:
        return [(re.sub(r"\\\s*\n\s*", " ", string), False)]
    return [] if word is None else [(word, False)]


def _read_statement(tokens: _Tokens, into: Group) -> None:
    """Reads one statement into a group: an attribute, a list, or a group. Semicolons may lack."""
    name, _ = tokens.next()
    if tokens.skip(":"):
        into.attributes[name] = tokens.next()[0]
    elif tokens.skip("("):
        arguments = []
        while not tokens.skip(")"):
            if not tokens.skip(","):
                arguments.append(tokens.next()[0])
        if tokens.skip("{"):
            group = Group(name, arguments)
            into.groups.append(group)
            while not tokens.skip("}"):
                if not tokens.skip(";"):
                    _read_statement(tokens, group)
        else:
            into.lists[name] = arguments
    elif into.kind == "":
        raise IndexError


def unit(library: Group, name: str, default: str) -> float:
    """A unit in SI: `name` is an attribute such as time_unit, or the list capacitive_load_unit."""
    if name in library.lists:
        number, symbol = library.lists[name]
        return float(number) * _PREFIXES[symbol.strip().lower()[:-1]]
    match = re.fullmatch(r"([\d.]+)\s*([fpnumk]?)(s|V|W|A|F|ohm)", library.attributes.get(name, default))
    if match is None:
        raise LibertyError(f"{name}: expected a unit such as {default}, got {library.attributes[name]}")
    return float(match[1]) * _PREFIXES[match[2]]
