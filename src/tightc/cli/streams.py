"""The standard streams of a command: closed ones are replaced, and what stderr cannot take never ends the work."""

from __future__ import annotations

import io
import os
import stat
import sys
from pathlib import Path
from typing import IO, Any

_STDOUT = 1
_NAMES_OF_STDOUT = {"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}


def prepare_streams() -> None:
    """Give the command three usable streams, whichever the caller has closed.

    A closed stream becomes the null device, so that no file that is opened later gets its number, and with it the
    messages of libraries. What stderr cannot take, since its reader has left or its disk is full, is dropped.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    else:
        sys.stderr = _Messages(
            sys.stderr.buffer,
            sys.stderr.encoding,
            sys.stderr.errors,
            line_buffering=bool(sys.stderr.line_buffering),
        )


def stdout_is_closed() -> bool:
    """Whether the caller had closed stdout when the command was started."""
    return sys.__stdout__ is None


def is_stdout(path: Path) -> bool:
    """Whether `path` is another name of stdout: by its own name, or where both are the same pipe."""
    if str(path) in _NAMES_OF_STDOUT:
        return True
    try:
        found, stdout = os.stat(path), os.fstat(_STDOUT)
    except OSError:
        return False
    return stat.S_ISFIFO(found.st_mode) and os.path.samestat(found, stdout)


def abandon(stream: IO[Any]) -> None:
    """Discard what `stream` still holds, and all that is written to it later."""
    try:
        descriptor = stream.fileno()
    except io.UnsupportedOperation:  # a stream in memory, put in place by a caller
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


class _Messages(io.TextIOWrapper):
    """A text stream that drops what cannot be written."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError:
            abandon(self)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            abandon(self)
