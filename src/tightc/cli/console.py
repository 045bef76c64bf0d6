"""The console that tables are printed on."""

from __future__ import annotations

from rich.console import Console


class TableConsole(Console):
    """A console of rich that leaves a closed pipe to the command; that of rich ends the process with exit code 1."""

    def on_broken_pipe(self) -> None:
        """Called by rich while it handles a BrokenPipeError, which is raised again."""
        raise BrokenPipeError
