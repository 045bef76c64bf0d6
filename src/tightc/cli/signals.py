"""Signals that end a command: SIGTERM and SIGHUP act as Ctrl-C does, with exit codes of their own.

Handlers are installed by the entry point alone, never by `import tightc`.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tightc.errors import TightcError

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

# the signals and what Python does with them where the caller does not ignore them; SIGHUP is missing on Windows
_UNCHANGED = {
    number: signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if (number := getattr(signal, name, None)) is not None
}
INTERRUPTED = frozenset(128 + number for number in _UNCHANGED)  # exit codes, as shells give them

_SOON = 0.05  # seconds
_received: list[int] = []  # the signals that came, oldest first


def with_ending_signals(command: Callable[[], int]) -> int:
    """The exit code of `command`, in which SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt in the main thread.

    Signals that the caller ignores, as nohup does, stay ignored. A signal after the command ends the process at once.
    """
    _received.clear()
    hook = sys.unraisablehook
    sys.unraisablehook = _raise_again(hook)
    try:
        for number, handler in _UNCHANGED.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, _end)
        return command()
    except KeyboardInterrupt:  # between the end of the command and here
        return report_interrupt()
    finally:
        for number in _UNCHANGED:
            if signal.getsignal(number) is _end:
                signal.signal(number, signal.SIG_DFL)
        sys.unraisablehook = hook


def report_interrupt() -> int:
    """Says on stderr how the command was ended, and gives its exit code: that of Ctrl-C without a signal."""
    number = next(iter(_received), signal.SIGINT)
    click.echo("tightc: interrupted" if number == signal.SIGINT else "tightc: terminated", err=True)
    return 128 + number


@contextmanager
def odd_errors_as_interrupts() -> Iterator[None]:
    """Raises KeyboardInterrupt in place of the errors that a signal causes, such as a failed import or a lost terminal.

    Libraries turn an interrupt at some moments into an error of their own.
    """
    try:
        yield
    except (TightcError, click.ClickException, click.exceptions.Exit):
        raise
    except Exception:
        if not _received:
            raise
        raise KeyboardInterrupt from None


def _end(number: int, _frame: object) -> None:
    _received.append(number)
    raise KeyboardInterrupt


def _repeat(number: int) -> None:
    """Raises the signal unless the command has ended, another interrupt having come through."""
    if signal.getsignal(number) is not signal.SIG_DFL:
        signal.raise_signal(number)


def _raise_again(hook: Callable[[UnraisableHookArgs], Any]) -> Callable[[UnraisableHookArgs], Any]:
    """A hook that repeats an interrupt which Python ignored, since it came in a finalizer or a callback."""

    def handle(ignored: UnraisableHookArgs) -> None:
        if _received and issubclass(ignored.exc_type, KeyboardInterrupt):
            # soon, since a hook cannot raise, and by another thread, since this one would handle it here
            threading.Timer(_SOON, _repeat, [_received[0]]).start()
        else:
            hook(ignored)

    return handle
