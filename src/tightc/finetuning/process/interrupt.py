"""Graceful interrupt: the first Ctrl-C lets the current step finish."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tightc.deadline import Deadline

# SIGHUP is missing on Windows
_ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def graceful_interrupt(*, enabled: bool) -> Iterator[Deadline]:
    """A deadline that the first KeyboardInterrupt of a signal moves to now; the second one is raised.

    Of SIGINT, SIGTERM and SIGHUP those count whose handler raises KeyboardInterrupt: in Python that is Ctrl-C. A
    handler that does anything else keeps its effect. Only where `enabled`, and in the main thread. In a process group
    it must not be enabled: the other processes would wait for this one.
    """
    deadline = Deadline()
    if not enabled or threading.current_thread() is not threading.main_thread():
        yield deadline
        return
    handlers = {number: signal.getsignal(number) for number in _ENDING}

    def restore() -> None:
        for number, handler in handlers.items():
            if signal.getsignal(number) is interrupt:
                signal.signal(number, handler)

    def interrupt(number: int, frame: Any) -> None:
        handler = handlers[number]
        assert callable(handler), "only callable handlers are replaced"
        try:
            handler(number, frame)
        except KeyboardInterrupt:
            restore()
            deadline.interrupt()

    try:
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, interrupt)
        yield deadline
    finally:
        restore()
