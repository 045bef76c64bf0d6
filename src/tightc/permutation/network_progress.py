"""Network progress: beside the progress of each layer that of all of them, with the time left."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping

from tightc.permutation.methods.tight.progress import ROUND, duration
from tightc.progress import Progress

WHOLE = "permute"  # the task that stands for all layers
_LEAST_DONE = 0.01  # before that, nothing is known of the time
_MOST = 0.99  # only a network that is packed reports more


class NetworkProgress:
    """Passes on the reports of the layers, and adds a task for the whole network; thread-safe.

    `moves`: planned for the first round of each layer, by name. The time left is at least that of the moves that these
    rounds have not done, at the pace so far. How many rounds follow is not known before: once all first ones are done,
    the rest is taken to last as long as the search has lasted since. It is at most what is left of the time limit,
    `seconds`.
    """

    def __init__(self, progress: Progress, moves: Mapping[str, int], seconds: float) -> None:
        self._progress = progress
        self._moves = {name: max(1, count) for name, count in moves.items()}
        self._done = dict.fromkeys(moves, 0.0)
        self._end = time.monotonic() + seconds
        self._start: tuple[float, float] | None = (
            None  # time and part of the first rounds at the first report
        )
        self._later: float | None = None  # when the first rounds were done
        self._lock = threading.Lock()

    def __call__(self, task: str, done: float, figures: Mapping[str, str], /) -> None:
        """Passes a report on, and adds one of the whole network."""
        self._progress(task, done, figures)
        if task not in self._done:
            return
        with self._lock:
            self._done[task] = max(self._done[task], done)
            finished = sum(part >= 1 for part in self._done.values())
            packed = finished == len(self._done)
            whole = 1.0 if packed else min(_MOST, self._mean(self._done))
            left = "" if packed else self._left()
        of_all = {"layers": f"{finished}/{len(self._done)}", "left": left}
        self._progress(WHOLE, whole, {label: value for label, value in of_all.items() if value})

    def _mean(self, parts: Mapping[str, float]) -> float:
        return sum(self._moves[name] * part for name, part in parts.items()) / sum(self._moves.values())

    def _left(self) -> str:
        """The time until all is done, and how sure it is; empty while it is unknown."""
        now = time.monotonic()
        first = self._mean({name: min(1.0, part / ROUND) for name, part in self._done.items()})
        self._start = self._start or (now, first)
        began, before = self._start
        if first < 1 and first - before < _LEAST_DONE:
            word, seconds = "", math.inf
        elif first < 1:
            word, seconds = "at least", (now - began) * (1 - first) / (first - before)
        else:
            self._later = self._later or now
            word, seconds = "about", now - self._later
        limit = max(0.0, self._end - now)
        if limit <= seconds:
            word, seconds = "at most", limit
        return "" if math.isinf(seconds) else f"{word} {duration(seconds)}"
