"""Graceful interrupt: the first Ctrl-C lets the current step finish."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tightc.deadline import Deadline


@contextmanager
def graceful_interrupt(*, enabled: bool) -> Iterator[Deadline]:
    """A deadline that the first Ctrl-C brings forward to now; a second Ctrl-C raises KeyboardInterrupt at once.

    The handler is installed only where `enabled`, in the main thread, and where no other handler has replaced Python's
    default one. In a process group it must not be enabled: the other processes would wait for this one.
    """
    deadline = Deadline()
    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not (enabled and default and threading.current_thread() is threading.main_thread()):
        yield deadline
        return

    def interrupt(_number: int, _frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        deadline.interrupt()

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield deadline
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
