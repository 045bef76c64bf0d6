"""Deadline: the one object that tells long work, search and training alike, when it must end."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass


class Deadline:
    """A time limit in seconds from now, which an interrupt moves to now; thread-safe."""

    def __init__(self, seconds: float = math.inf) -> None:
        self._end = time.monotonic() + seconds
        self._interrupt = threading.Event()

    def interrupt(self) -> None:
        """Ends the work at its next check."""
        self._interrupt.set()

    @property
    def interrupted(self) -> bool:
        """Whether the work was interrupted, whatever the time."""
        return self._interrupt.is_set()

    def remaining(self) -> float:
        """Seconds left, 0 once the deadline has passed; infinite without a limit."""
        return 0.0 if self.interrupted else max(0.0, self._end - time.monotonic())

    def passed(self) -> bool:
        """Whether the work must end now."""
        return self.remaining() <= 0

    def within(self, seconds: float) -> Deadline:
        """A deadline for a part of the work: `seconds` from now, or this one if it is earlier.

        An interrupt of one interrupts both.
        """
        part = Deadline(seconds)
        part._end = min(part._end, self._end)
        part._interrupt = self._interrupt
        return part


@dataclass(frozen=True)
class TimeShare:
    """The time that a part of the work may take once it starts: `seconds`, but never beyond the `deadline` of all."""

    deadline: Deadline
    seconds: float = math.inf

    def start(self) -> Deadline:
        """The deadline of this part, if it starts now."""
        return self.deadline.within(self.seconds)

    def fraction(self, fraction: float) -> TimeShare:
        """A share of `fraction` times these seconds."""
        return TimeShare(self.deadline, fraction * self.seconds)
