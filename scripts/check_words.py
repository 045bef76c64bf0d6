"""Checks that names and help texts use the words of the field: none of those that scripts/words.toml lists.

Names are those of modules, classes, functions, parameters, variables, attributes, options, flags, choices and keys.
Help texts are descriptions of options, `help=` of flags, docstrings of commands and messages of errors.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_name("words.toml")
NAME = re.compile(r"-{0,2}[A-Za-z_][A-Za-z0-9_-]*")
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


@dataclass(frozen=True)
class Found:
    """A word in a file that is not used here, and what to use instead."""

    file: Path
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        """As compilers print it."""
        return f"{self.file}:{self.line}: {self.word!r} is not used: say {self.instead}"


def parts(name: str) -> list[str]:
    """The words in a name: `keep_rows`, `KeepRows` and `--keep-rows` are keep and rows."""
    return [part.lower() for part in PART.findall(name)]


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, name) of all that a module names, and of its strings that look like names: flags, choices and keys."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.Attribute(attr=name) | ast.Name(id=name):
                yield node.lineno, name
            case ast.alias(name=name, asname=asname):
                yield node.lineno, asname or name
            case ast.keyword(arg=str(name)):
                yield node.value.lineno, name
            case ast.Constant(value=str(text)) if NAME.fullmatch(text):
                yield node.lineno, text


def texts(tree: ast.AST, *, docstrings: bool) -> Iterator[tuple[int, str]]:
    """(line, text) of descriptions, helps and messages of errors; of docstrings too where wanted."""
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="description" | "help", value=value):
                yield value.lineno, _text(value)
            case ast.Raise(exc=ast.Call(args=arguments)):
                yield from ((one.lineno, _text(one)) for one in arguments)
            case ast.FunctionDef() | ast.ClassDef() | ast.Module() if docstrings:
                if text := ast.get_docstring(node):
                    yield getattr(node, "lineno", 1), text


def _text(node: ast.expr) -> str:
    """The literal text in an expression, formatted values left out."""
    return "".join(
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )


def check(file: Path, root: Path, words: dict[str, dict[str, str]]) -> Iterator[Found]:
    """What in a Python file is not used here."""
    shown = file.relative_to(root)
    for part in parts(file.stem):
        if part in words["names"]:
            yield Found(shown, 1, part, words["names"][part])
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for line, name in names(tree):
        if name in words["kept"] or name.startswith("test_"):  # names of tests are sentences
            continue
        for part in parts(name):
            if part in words["names"]:
                yield Found(shown, line, f"{part} in {name}" if part != name else part, words["names"][part])
    if "src" in shown.parts:
        for line, text in texts(tree, docstrings=file.name == "options.py" or file.parent.name == "cli"):
            plain = " ".join(text.lower().split())
            for phrase, instead in words["help"].items():
                if re.search(rf"\b{re.escape(phrase)}\b", plain):
                    yield Found(shown, line, phrase, instead)


def main(root: Path = ROOT) -> int:
    """Prints what is found, and gives the exit status."""
    words = tomllib.loads(LIST.read_text(encoding="utf-8"))
    files = sorted(file for folder in ("src", "tests", "scripts") for file in (root / folder).rglob("*.py"))
    found = [one for file in files for one in check(file, root, words)]
    for one in found:
        print(one)
    print(f"words: {len(files)} files, {len(found)} words that are not used here", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
