"""Files of input: the one place that opens them. Regular files and, for text, pipes; never a device."""

from __future__ import annotations

import os
import re
import select
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from tightc.errors import DataError, MemoryLimitError, TightcError
from tightc.memory import available_memory, memory_text, require_memory

_CHUNK = 2**20
_WAIT = 5.0  # seconds for a writer to open a named pipe
# Content may become this many times larger than the file: zeros deflate to 1/1000, images and weights to 1/10.
_EXPANSION = 200
_SMALL = 2**29  # what is not larger than this may expand as it likes

# a scheme has two letters or more: c:/ is a drive
_URL = re.compile(r"(?:^|/)([a-z][a-z0-9+.-]+):/{1,2}(.*)$")

Kind = type[TightcError]


class Readable(Protocol):
    """What can be read from the start, such as a file or a decompressor."""

    def read(self, size: int, /) -> bytes:
        """The next `size` bytes, fewer at the end."""


def refuse_url(path: str | Path, kind: Kind) -> None:
    """An error of `kind`, with the command that downloads the file, where `path` is a URL.

    A path that went through pathlib has lost a slash, and may begin with the folder of a recipe.
    """
    found = _URL.search(str(path))
    if not found:
        return
    scheme, rest = found.groups()
    if scheme == "file":
        rest = f"/{rest.lstrip('/')}"
    url = f"{scheme}://{rest}"
    name = rest.rstrip("/").rpartition("/")[2] or "FILE"
    commands = {
        "hf": f"hf download {_on_hugging_face(rest)} --local-dir .",
        "s3": f"aws s3 cp {url} .",
        "gs": f"gcloud storage cp {url} .",
        "file": f"leave out file:// and give {rest}",
    }
    fetch = commands.get(scheme, f"curl -L -o {name} {url.replace('/blob/', '/resolve/')}")
    remedy = fetch if scheme == "file" else f"download it first ({fetch}), and give the path of the file"
    raise kind(f"{url}: URLs are not supported", remedy)


def _on_hugging_face(rest: str) -> str:
    """OWNER/NAME and the path of the file within the repository, as `hf download` takes them."""
    owner, _, within = rest.partition("/")
    name, _, file = within.partition("/")
    return f"{owner}/{name} {file or 'FILE'}" if name else "OWNER/NAME FILE"


def open_regular(path: str | Path, kind: Kind = DataError) -> BinaryIO:
    """The regular file at `path`, opened; an error of `kind` where it is a folder, pipe or device.

    OSError where it cannot be opened.
    """
    _require_regular(path, os.stat(path).st_mode, kind)  # before it is opened: that alone may start a device
    # without waiting: between the two calls a pipe may take the place of the file
    stream = os.fdopen(os.open(path, os.O_RDONLY | _flags()), "rb")
    try:
        _require_regular(path, os.fstat(stream.fileno()).st_mode, kind)
    except BaseException:
        stream.close()
        raise
    return stream


def file_size(stream: BinaryIO) -> int:
    """The size of an open regular file, in bytes."""
    return os.fstat(stream.fileno()).st_size


def read_regular(path: str | Path, most: int, kind: Kind = DataError) -> bytes:
    """The content of the regular file at `path`; an error of `kind` where it has more than `most` bytes.

    MemoryLimitError where it does not fit into memory, OSError where it cannot be read.
    """
    with open_regular(path, kind) as stream:
        size = file_size(stream)
        _require_at_most(size, most, path, kind)
        require_memory(size, str(path))
        return _read(stream, most, path, kind)


def read_stream(path: str | Path, most: int, kind: Kind) -> bytes:
    """The content of a regular file, a pipe or the own terminal; an error of `kind` where that is above `most` bytes.

    A named pipe has to be opened by its writer within a few seconds. OSError where `path` cannot be read.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISFIFO(mode):
        return _read_pipe(path, most, kind)
    if _is_own_terminal(path):
        with open(path, "rb") as stream:
            content = stream.read(most + 1)  # once: after its end, a terminal would be read on
        _require_at_most(len(content), most, path, kind)
        return content
    return read_regular(path, most, kind)


def check_expansion(size: int, compressed: int, what: str, kind: Kind = DataError) -> None:
    """Checks content of `size` bytes that a file of `compressed` bytes claims to hold, before any of it is read.

    `what` begins the sentence. An error of `kind` where images, weights and labels do not expand so far.
    """
    if size > max(_SMALL, _EXPANSION * compressed):
        raise kind(
            f"{what}: expected content of at most {_EXPANSION} times its compressed size, {memory_text(compressed)}, "
            f"got {memory_text(size)}",
            "do not trust this file, or store it uncompressed",
        )


@contextmanager
def foreign_errors(sentence: str, remedy: str, kind: Kind = DataError) -> Iterator[None]:
    """While another library decodes a file: an error of `kind` in place of whatever it raises on corrupt content.

    `sentence` and `remedy` are those of the error. Errors of tightc and of the file system pass.
    """
    try:
        yield
    except TightcError:
        raise
    except MemoryError:
        raise not_enough_memory(sentence.partition(": ")[0]) from None
    except Exception as fault:
        if isinstance(fault, OSError) and fault.errno is not None:
            raise
        reason = next(
            (line.strip() for line in str(fault).splitlines() if line.strip()), type(fault).__name__
        )
        raise kind(f"{sentence} ({reason})", remedy) from None


def not_enough_memory(what: str) -> MemoryLimitError:
    """The error for a MemoryError that came while `what`, such as a file, was read."""
    return MemoryLimitError(
        f"{what}: expected to fit into memory, got more than the {memory_text(available_memory())} that are left",
        "raise the limit of memory, or take a smaller input",
    )


def _flags() -> int:
    """Flags that keep `open` from waiting and from becoming the owner of a terminal, where the system has them."""
    return getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


def _is_own_terminal(path: str | Path) -> bool:
    """Whether `path` is the terminal at which tightc was started; no other device is opened, not even to ask it."""
    try:
        return os.isatty(0) and os.path.samestat(os.stat(path), os.fstat(0))
    except OSError:  # without a standard input
        return False


def _require_regular(path: str | Path, mode: int, kind: Kind) -> None:
    if not stat.S_ISREG(mode):
        found = (
            "a folder"
            if stat.S_ISDIR(mode)
            else "a pipe"
            if stat.S_ISFIFO(mode)
            else "a socket"
            if stat.S_ISSOCK(mode)
            else "a device"
        )
        raise kind(f"{path}: expected a regular file, got {found}", "give the path of a file")


def _read_pipe(path: str | Path, most: int, kind: Kind) -> bytes:
    """The content of a pipe; a named one that nobody opens for writing does not block for ever."""
    descriptor = os.open(path, os.O_RDONLY | _flags())
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        end = time.monotonic() + _WAIT
        start = b""
        while not start:
            try:
                start = os.read(descriptor, _CHUNK)
            except BlockingIOError:  # a writer has it open, and takes its time
                break
            # empty: no writer yet, or one that has closed it again
            if not start and (_is_anonymous(path) or _was_closed(descriptor)):
                return b""
            if not start and time.monotonic() > end:
                raise kind(
                    f"{path}: expected a pipe that another process writes to, got one without a writer",
                    "start the writer, or give the path of a file",
                )
            time.sleep(0 if start else 0.02)
        os.set_blocking(descriptor, True)
        _require_at_most(len(start), most, path, kind)
        return _read(stream, most, path, kind, start)


def _is_anonymous(path: str | Path) -> bool:
    """Whether a pipe has no name of its own, as those of `<(command)` and of /dev/stdin: its writer came first."""
    return not os.path.exists(os.path.realpath(path))


def _was_closed(descriptor: int) -> bool:
    """Whether a pipe had a writer since it was opened, and has none now."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


def _read(stream: Readable, most: int, path: str | Path, kind: Kind, start: bytes = b"") -> bytes:
    """`start` and what is left in `stream`, in chunks: what the file system says of a size need not hold."""
    chunks = [start]
    size = len(start)
    while chunk := stream.read(_CHUNK):
        size += len(chunk)
        _require_at_most(size, most, path, kind)
        chunks.append(chunk)
    return b"".join(chunks)


def _require_at_most(size: int, most: int, path: str | Path, kind: Kind) -> None:
    if size > most:
        raise kind(f"{path}: expected at most {memory_text(most)}, got more", "give a smaller file")
