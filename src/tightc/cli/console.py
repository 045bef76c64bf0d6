"""The console that tables are printed on."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_PIPE_WIDTH = 1000  # tables are not folded where nobody sees their width
_TERMINAL_WIDTH = 80  # of a terminal that does not tell its own
_DIGITS = 4  # of the largest width


def table_console(stream: IO[str]) -> Console:
    """A console for tables on `stream`, as wide as COLUMNS or the terminal; very wide where there is none.

    It leaves a closed pipe to the command; that of rich ends the process with exit code 1.
    """
    from rich.console import Console

    class TableConsole(Console):
        def on_broken_pipe(self) -> None:
            """Called by rich while it handles a BrokenPipeError, which is raised again."""
            raise BrokenPipeError

    return TableConsole(file=stream, width=_width(stream))


def _width(stream: IO[str]) -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and len(columns) <= _DIGITS and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or _TERMINAL_WIDTH
    except (OSError, ValueError):  # no terminal, or no file at all
        return _PIPE_WIDTH
