"""Progress of a compression: which trial runs, and the time left where it is known."""

from __future__ import annotations

import time
from collections.abc import Mapping

from tightc.compression.target import Target
from tightc.progress import Progress


class TrialProgress:
    """Passes the tasks of a trial on with its name, and tells how far all of them are.

    `planned`: epochs of all trainings that may still come, the present one included.
    """

    def __init__(self, progress: Progress, planned: int) -> None:
        self._progress = progress
        self._planned = planned
        self._number = 0
        self._name = ""
        self._done = 0
        self._seconds = 0.0
        self._trained = 0
        self._start = 0.0

    def begin(self, target: Target, epochs: int) -> None:
        """A training of so many `epochs` to `target` begins."""
        self._number += 1
        self._name = f"trial {self._number}"
        self._start = time.monotonic()
        wanted = {
            name: f"{value:g}" if isinstance(value, float) else value for name, value in target.figure.items()
        }
        figures = {"trial": str(self._number), **wanted, "epochs": str(epochs)}
        if self._trained:
            left = (self._planned - self._done) * self._seconds / self._trained
            figures["left"] = f"at most {_duration(left)}"
        self._progress("compress", min(0.999, self._done / self._planned), figures)

    def end(self, epochs: int, *, trained: bool) -> None:
        """It ended; `trained` if it was not taken from an earlier run."""
        self._done += epochs
        if trained:
            self._trained += epochs
            self._seconds += time.monotonic() - self._start

    def finish(self) -> None:
        """All trials have ended."""
        self._name = "result"
        self._progress("compress", 1.0, {})

    def __call__(self, task: str, done: float, figures: Mapping[str, str], /) -> None:
        """A task of the present trial."""
        self._progress(f"{self._name}, {task}", done, figures)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
