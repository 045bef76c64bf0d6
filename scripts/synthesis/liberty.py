"""Reads Liberty files (.lib, .lib.gz): groups, attributes and lists as they stand, and the units."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|\\\s*\n|"((?:[^"\\]|\\.)*)"|([(){};:,])|([^\s(){};:,"\\]+)', re.DOTALL)
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
    tokens = _tokens(text)
    try:
        library = _statement(next(tokens), tokens, Group("", []))
    except (StopIteration, RuntimeError):
        library = None
    if library is None or library.kind != "library":
        raise LibertyError(f"{origin}: expected a Liberty library, got another file; give a .lib or .lib.gz file")
    return library


def _tokens(text: str) -> Iterator[tuple[str, bool]]:
    """(token, whether it is punctuation), without comments."""
    for match in _TOKEN.finditer(text):
        string, mark, word = match.groups()
        if mark is not None:
            yield mark, True
        elif string is not None or word is not None:
            yield (re.sub(r"\\\s*\n\s*", " ", string) if word is None else word), False


def _statement(token: tuple[str, bool], tokens: Iterator[tuple[str, bool]], into: Group) -> Group | None:
    """One statement that begins with `token`, added to `into`; returned where it is a group."""
    name, _ = token
    mark, _ = next(tokens)
    if mark == ":":
        into.attributes[name] = next(tokens)[0]
        return None
    if mark != "(":
        raise StopIteration
    arguments: list[str] = []
    while (token := next(tokens)) != (")", True):
        if token != (",", True):
            arguments.append(token[0])
    return _after_arguments(name, arguments, tokens, into)


def _after_arguments(
    name: str, arguments: list[str], tokens: Iterator[tuple[str, bool]], into: Group
) -> Group | None:
    token = next(tokens)
    if token != ("{", True):
        into.lists[name] = arguments
        # a list may lack its semicolon, so that the next statement or the end of the group is read already
        if token == ("}", True):
            raise _Closed
        if token != (";", True):
            _statement(token, tokens, into)
        return None
    group = Group(name, arguments)
    into.groups.append(group)
    while (token := next(tokens)) != ("}", True):
        if token == (";", True):
            continue
        try:
            _statement(token, tokens, group)
        except _Closed:
            break
    return group


class _Closed(Exception):
    """The brace that closes the group was read as part of its last statement."""


def unit(library: Group, name: str, default: str) -> float:
    """A unit in SI: `name` is an attribute such as time_unit, or the list capacitive_load_unit."""
    if name in library.lists:
        number, symbol = library.lists[name]
        return float(number) * _PREFIXES[symbol.strip().lower()[:-1]]
    match = re.fullmatch(r"([\d.]+)\s*([fpnumk]?)(s|V|W|A|F|ohm)", library.attributes.get(name, default))
    if match is None:
        raise LibertyError(f"{name}: expected a unit such as {default}, got {library.attributes[name]}")
    return float(match[1]) * _PREFIXES[match[2]]
