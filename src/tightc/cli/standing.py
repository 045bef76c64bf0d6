"""How far a command has come: what Ctrl-C says of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import click

from tightc.names import message_text
from tightc.progress import Progress

_NOTHING_KEPT = "nothing is kept; the same command starts anew"
_COUNTS = ("epoch", "layers")  # figures that say more than a fraction


class Standing:
    """Where a command stands by its own progress, and what an interrupt leaves: `kept`.

    `explained`: whether the user has been told, or another process tells it. Reports may come from any thread.
    """

    def __init__(self) -> None:
        self.kept = _NOTHING_KEPT
        self.explained = False
        self._stage = self._work = ""
        self._counted = False
        self._lock = threading.Lock()

    def follow(self, progress: Progress) -> Progress:
        """`progress`, with the last report remembered."""

        def report(task: str, done: float, figures: Mapping[str, str], /) -> None:
            self._remember(task, done, figures)
            progress(task, done, figures)

        return report

    def explain(self) -> None:
        """Says on stderr how far the command came and what is kept, unless that is `explained` already."""
        if self.explained:
            return
        self.explained = True
        where = ", ".join(part for part in (self._stage, self._work) if part)
        where = where if where.startswith("with ") else f"in {where}"
        stopped = f"stopped {where}" if self._stage or self._work else "stopped at the start"
        click.echo(message_text(f"{stopped}; {self.kept}"), err=True)

    def _remember(self, task: str, done: float, figures: Mapping[str, str]) -> None:
        with self._lock:
            if "stage" in figures:
                self._stage = f"stage {figures['stage']}"
                self._work, self._counted = "", False
                return
            count = next((name for name in _COUNTS if name in figures), None)
            if count is not None:
                of = figures[count].replace("/", " of ")
                self._work = f"epoch {of}" if count == "epoch" else f"with {of} layers done"
            elif not self._counted:
                self._work = f"{done:.0%} done" if self._stage else f"{task}, {done:.0%} done"
            self._counted |= count is not None
