"""Atomic file writes: a reader sees the old content or the new, never a part."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from tightc.errors import OutputError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

Chunk = bytes | memoryview
Content = bytes | Iterable[Chunk]  # of a file: all bytes, or one piece after the other

# attempts at a temporary file; another process may remove one between its creation and its lock
_ATTEMPTS = 10
_LONGEST_NAME = 255  # bytes, on the usual file systems
# flock's errors where another process has the lock, or where the file has to be open for writing
_REFUSED = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EBADF)


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents where they are missing; OutputError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OutputError(
            f"{folder}: cannot be made a folder ({fault.strerror})",
            "give the path of a folder, or of a new one",
        ) from None


def write_file_atomically(path: Path, content: Content) -> None:
    """Write `content` to a temporary file in the same folder, flush it to the disk and rename it to `path`.

    A link is followed; a pipe or a device is written to directly. OutputError if writing fails.
    """
    write_files_atomically({path: content})


def write_files_atomically(contents: Mapping[Path, Content]) -> None:
    """Like `write_file_atomically`, for files that belong together: all are on disk before the first is renamed.

    `contents` gives the bytes by path. If a later rename fails, the files renamed before get their old content back,
    or are removed where there was none.
    """
    temporaries: dict[Path, str] = {}
    backups: dict[Path, Path | None] = {}
    replaced: list[Path] = []
    path = next(iter(contents))
    try:
        with contextlib.ExitStack() as stack:
            for path, content in contents.items():
                target = Path(os.path.realpath(path))
                if is_special(path):  # by its own name: where /dev/stdout is a pipe, it leads to no path
                    with open(path, "wb") as stream:
                        stream.writelines(_parts(content))
                else:
                    check_target(path, target)
                    temporaries[target] = stack.enter_context(locked_temporary(path, target, content))
            for target, temporary in temporaries.items():
                path = target
                backups[target] = _backup(target) if len(temporaries) > 1 else None
                os.replace(temporary, target)
                replaced.append(target)
    except OSError as fault:
        for target in replaced:
            _restore(target, backups.pop(target))
        raise OutputError(
            f"{path}: cannot be written ({fault.strerror})", "free some space, or write elsewhere"
        ) from None
    finally:
        _remove(*filter(None, backups.values()))


@contextlib.contextmanager
def locked_temporary(path: Path, target: Path, content: Content) -> Iterator[str]:
    """A context with the name of a temporary file beside `target` that holds `content`, flushed to the disk.

    The file has a shared lock until the context ends and removes it: one without a lock was left by a writer that
    died. `path` is the name that the user gave for `target`. OutputError if the file cannot be created.
    """
    stream = _create_temporary(path, target)
    try:
        with stream:
            stream.writelines(_parts(content))
            stream.flush()
            os.fsync(stream.fileno())
            if fcntl is None:
                stream.close()  # Windows does not rename an open file
            yield stream.name
    finally:
        _remove(stream.name)


def _parts(content: Content) -> Iterable[Chunk]:
    return [content] if isinstance(content, bytes) else content


def lock(descriptor: int, *, exclusive: bool) -> bool | None:
    """Whether an open file could be locked, `exclusive` or shared; it stays locked until it is closed.

    `descriptor` is that of the open file. Does not wait; None where the system has no file locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as fault:
        return False if fault.errno in _REFUSED else None
    return True


def is_special(path: Path) -> bool:
    """Whether `path` is a pipe, a device or a socket."""
    try:
        mode = os.stat(path).st_mode  # one call: another process may create or remove a file in between
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def is_same_file(descriptor: int, path: str | Path) -> bool:
    """Whether the open file `descriptor` is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def check_target(path: Path, target: Path) -> None:
    """OutputError where no file can be written at `target`; `path` is the name that the user gave for it."""
    if not target.parent.is_dir():
        raise OutputError(
            f"{path}: there is no folder {path.parent}", "make the folder first, or write elsewhere"
        )
    if target.is_dir():
        raise OutputError(f"{path}: is a folder", "give the path of a file")


def _hidden(target: Path, ending: str) -> Path:
    """A hidden name beside `target` that holds the process id, cut where it would be longer than a name may be."""
    rest = f".{os.getpid()}.{ending}".encode()
    start = f".{target.name}".encode()[: _LONGEST_NAME - len(rest)]
    return target.parent / (start.decode(errors="ignore") + rest.decode())


def _create_temporary(path: Path, target: Path) -> IO[bytes]:
    """A new locked file in the folder of `target`, with a hidden name that contains the process id."""
    for attempt in range(1, _ATTEMPTS + 1):
        name = str(_hidden(target, secrets.token_hex(4)))
        try:
            stream = open(name, "x+b")  # noqa: SIM115
            # before it was locked, another process may have removed it as left behind
            locked = lock(stream.fileno(), exclusive=False) is not False and is_same_file(
                stream.fileno(), name
            )
            if locked or attempt == _ATTEMPTS:
                return stream
            stream.close()
        except OSError as fault:
            remedy = "give a shorter name" if fault.errno == errno.ENAMETOOLONG else "write to another folder"
            raise OutputError(f"{path}: cannot be written ({fault.strerror})", remedy) from None
        except BaseException:
            _remove(name)  # an interrupt leaves no file behind
            raise
    raise AssertionError("the last attempt returns or raises")


def _backup(target: Path) -> Path | None:
    """A hard link to the present file at `target`, or a copy where links are not supported; None if there is none."""
    if not target.exists():
        return None
    backup = _hidden(target, "old")
    try:
        os.link(target, backup)
    except OSError:
        shutil.copy2(target, backup)
    return backup


def _restore(target: Path, backup: Path | None) -> None:
    """Put the old content of `target` back, then remove the backup; OutputError names the backup if that fails."""
    if backup is None:
        _remove(target)
        return
    try:
        shutil.copy2(backup, target)  # copied, since a rename has just failed
    except OSError as fault:
        raise OutputError(
            f"{target}: its old content cannot be put back ({fault.strerror})", f"it is kept in {backup}"
        ) from None
    _remove(backup)


def _remove(*paths: str | Path) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
