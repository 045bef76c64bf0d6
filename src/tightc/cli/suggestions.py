"""What shells complete: names and files, beside the flags and choices that click knows of itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem
from click.types import StringParamType

# words in the metavar of an option or argument that takes the path of a file or folder
_PATHS = re.compile(r"MODEL|RECIPE|FILE|DIR|FOLDER|PATH|DATA")


class Suggested(StringParamType):
    """Any text, for which shells offer `names`, also after a comma where it is a list, and files where it is a path."""

    def __init__(self, names: Sequence[str] = (), *, listed: bool = False, files: bool = False) -> None:
        self._names = tuple(names)
        self._listed = listed
        self._files = files

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[Any]]:
        """The names that begin so, then a request for files."""
        head, comma, last = incomplete.rpartition(",") if self._listed else ("", "", incomplete)
        found = [CompletionItem(f"{head}{comma}{name}") for name in self._names if name.startswith(last)]
        return [*found, CompletionItem(incomplete, type="file")] if self._files else found


def suggest_files(params: Sequence[click.Parameter]) -> None:
    """Makes shells offer files for those of `params` that are paths by their metavar, and have no type of their own."""
    for param in params:
        if param.type is click.STRING and param.metavar and _PATHS.search(param.metavar):
            param.type = Suggested(files=True)
