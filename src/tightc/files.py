"""Atomic file writes: a reader sees the old content or the new, never a part."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
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
# the hidden files that a writer that was killed leaves: the name of the target, the process, what it was for
_LEFTOVER = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)\.(?P<ending>[0-9a-f]{8}|old)", re.DOTALL)


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

    `contents` gives the bytes by path. If a later rename fails or is interrupted, the files renamed before get their
    old content back, or are removed where there was none. At last, what killed writers of these files left is removed.
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
                backups[target] = _locked_backup(target, stack) if len(temporaries) > 1 else None
                os.replace(temporary, target)
                replaced.append(target)
    except BaseException as fault:
        for target in replaced:
            _restore(target, backups.pop(target))
        if not isinstance(fault, OSError):
            raise
        raise OutputError(
            f"{path}: cannot be written ({fault.strerror})", "free some space, or write elsewhere"
        ) from None
    finally:
        _remove(*filter(None, backups.values()))
    for target in temporaries:
        remove_leftovers(target)


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


def remove_leftovers(target: Path) -> None:
    """Remove the hidden files that killed writers of `target` left; those of a living process stay."""
    _sweep(
        target.parent, lambda found: _hidden(target, found["ending"], found["process"]).name == found.string
    )


def remove_leftovers_in(folder: Path, names: re.Pattern[str]) -> None:
    """As `remove_leftovers`, of all files in `folder` with a name that matches `names` as a whole."""
    _sweep(folder, lambda found: names.fullmatch(found["name"]) is not None)


def check_writable(path: Path) -> None:
    """OutputError where no file can be written at `path`, found by creating a temporary one and removing it again."""
    target = Path(os.path.realpath(path))
    if is_special(path):
        if not os.access(path, os.W_OK):
            raise OutputError(f"{path}: is not writable", "write to a file")
        return
    check_target(path, target)
    if not os.access(target.parent, os.W_OK):
        raise OutputError(f"{path}: the folder {path.parent} is not writable", "write to another folder")
    try:
        os.stat(target)  # the name of the temporary file would be cut
    except FileNotFoundError:
        pass
    except OSError as fault:
        raise _not_written(path, fault) from None
    stream = _create_temporary(path, target)
    try:
        stream.close()
    finally:
        _remove(stream.name)


def check_target(path: Path, target: Path) -> None:
    """OutputError where no file can be written at `target`; `path` is the name that the user gave for it."""
    if not target.parent.is_dir():
        raise OutputError(
            f"{path}: there is no folder {path.parent}", "make the folder first, or write elsewhere"
        )
    if os.path.isdir(target):  # Path.is_dir raises where the name is too long
        raise OutputError(f"{path}: is a folder", "give the path of a file")


def _hidden(target: Path, ending: str, process: str = "") -> Path:
    """A hidden name beside `target` for `process`, by default this one, cut where a name may not be as long."""
    start, rest = os.fsencode(f".{target.name}"), f".{process or os.getpid()}.{ending}"
    room = _LONGEST_NAME - len(rest)
    return target.parent / (
        (os.fsdecode(start) if len(start) <= room else start[:room].decode(errors="ignore")) + rest
    )


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
            raise _not_written(path, fault) from None
        except BaseException:
            _remove(name)  # an interrupt leaves no file behind
            raise
    raise AssertionError("the last attempt returns or raises")


def _not_written(path: Path, fault: OSError) -> OutputError:
    remedy = "give a shorter name" if fault.errno == errno.ENAMETOOLONG else "write to another folder"
    return OutputError(f"{path}: cannot be written ({fault.strerror})", remedy)


def _locked_backup(target: Path, stack: contextlib.ExitStack) -> Path | None:
    """A hard link to the present file at `target`, or a copy where links are not supported; None if there is none.

    It has a shared lock until `stack` ends, so that no process removes it as left behind.
    """
    if not target.exists():
        return None
    backup = _hidden(target, "old")
    for _ in range(_ATTEMPTS):
        try:
            os.link(target, backup)
        except FileExistsError:
            _remove(backup)  # of a killed process with the same number
            continue
        except OSError:
            shutil.copy2(target, backup)
        try:
            descriptor = os.open(backup, os.O_RDONLY)
        except FileNotFoundError:
            continue  # before it was locked, another process removed it
        except OSError:
            return backup  # not readable, so nobody can lock it, and nobody removes it
        stack.callback(os.close, descriptor)
        lock(descriptor, exclusive=False)
        if is_same_file(descriptor, backup):
            return backup
    return backup


def _restore(target: Path, backup: Path | None) -> None:
    """Put the old content of `target` back, then remove the backup; OutputError names the backup if that fails."""
    if backup is None:
        _remove(target)
        return
    try:
        shutil.copy2(backup, target)  # copied, since a rename has just failed
    except OSError as fault:
        kept = _hidden(target, "kept")  # a name that no other run removes
        with contextlib.suppress(OSError):
            os.replace(backup, kept)
            backup = kept
        raise OutputError(
            f"{target}: its old content cannot be put back ({fault.strerror})", f"it is kept in {backup}"
        ) from None
    _remove(backup)


def _sweep(folder: Path, is_ours: Callable[[re.Match[str]], bool]) -> None:
    """Remove the files in `folder` that look left behind, `is_ours` admits, and no process has locked."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            found = _LEFTOVER.fullmatch(name)
            if found is not None and is_ours(found):
                _remove_if_unlocked(folder / name)


def _remove_if_unlocked(file: Path) -> None:
    with contextlib.suppress(OSError):
        try:
            # on some file systems an exclusive lock needs a file that is open for writing
            descriptor = os.open(file, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except PermissionError:
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            # without file locks (None), it may be in use
            if lock(descriptor, exclusive=True) and is_same_file(descriptor, file):
                os.unlink(file)
        finally:
            os.close(descriptor)


def _remove(*paths: str | Path) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
