"""Ctrl-C, noted so that the step at hand can end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Stop:
    """Whether the training was asked to stop."""

    asked = False


@contextmanager
def noted(alone: bool) -> Iterator[Stop]:
    """Notes the first Ctrl-C; any further one interrupts at once.

    Only where the process trains `alone`, since the others of a team would wait for it, in its main thread, and where
    nobody else has taken Ctrl-C over.
    """
    stop = Stop()
    own = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not (alone and own and threading.current_thread() is threading.main_thread()):
        yield stop
        return

    def note(number: int, frame: Any) -> None:
        if stop.asked:
            signal.default_int_handler(number, frame)
        stop.asked = True

    signal.signal(signal.SIGINT, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
