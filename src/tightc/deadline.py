"""Deadline: the one object by which long work, search and training alike, learns that it is to end."""

from __future__ import annotations

import math
import threading
import time


class Deadline:
    """A time limit in seconds from now that an interrupt brings forward to now; thread-safe."""

    def __init__(self, seconds: float = math.inf) -> None:
        self._end = time.monotonic() + seconds
        self._interrupt = threading.Event()

    def interrupt(self) -> None:
        """Ends the work as soon as it looks."""
        self._interrupt.set()

    @property
    def interrupted(self) -> bool:
        """Whether the work was interrupted, whatever the time."""
        return self._interrupt.is_set()

    def remaining(self) -> float:
        """Seconds left, 0 once the deadline has passed; infinite without a limit."""
        return 0.0 if self.interrupted else max(0.0, self._end - time.monotonic())

    def passed(self) -> bool:
        """Whether the work is to end now."""
        return self.remaining() <= 0
