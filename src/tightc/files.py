"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from tightc.errors import OutputError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

# how many new files may be lost to other processes, each of which would have to come in the same moment
_FRESH = 9
# locked by another process, or one that has to be writable for that
_REFUSED = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EBADF)


def make_folder(folder: Path) -> None:
    """Makes `folder` and those above it, if they are missing; OutputError where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OutputError(
            f"{folder}: cannot be made a folder ({fault.strerror})",
            "give the path of a folder, or of a new one",
        ) from None


def write_file_atomically(path: Path, content: bytes) -> None:
    """Writes `content` to a temporary file in the same folder, flushes it to the disk and renames it to `path`.

    A link is followed; a pipe or a device is written to as it is. OutputError where that cannot be done.
    """
    write_files_atomically({path: content})


def write_files_atomically(contents: Mapping[Path, bytes]) -> None:
    """As `write_file_atomically`, for files that belong together: all are there before the first is renamed.

    Should a later one fail to be renamed, the earlier ones get their old content back, or go if there was none.
    """
    temporaries: dict[Path, str] = {}
    backups: dict[Path, Path | None] = {}
    replaced: list[Path] = []
    path = next(iter(contents))
    try:
        with contextlib.ExitStack() as stack:
            for path, content in contents.items():
                target = Path(os.path.realpath(path))
                if is_special(target):
                    target.write_bytes(content)
                else:
                    check_place(path, target)
                    temporaries[target] = stack.enter_context(staged(path, target, content))
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
def staged(path: Path, target: Path, content: bytes) -> Iterator[str]:
    """The name of a new file in the folder of `target` with `content`, on the disk; it goes with the context.

    It is locked, shared, until then: without a lock it is of a writer that died. `path` is what the user
    calls `target`. OutputError where it cannot be made.
    """
    stream = _new_file(path, target)
    try:
        with stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
            if fcntl is None:
                stream.close()  # or it could not be renamed there
            yield stream.name
    finally:
        _remove(stream.name)


def lock(descriptor: int, *, alone: bool) -> bool | None:
    """Locks an open file, `alone` or shared, until it is closed: whether that was granted, which it is at once or not.

    None where there are no locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as fault:
        return False if fault.errno in _REFUSED else None
    return True


def is_special(path: Path) -> bool:
    """Whether a pipe, a device or a socket is at `path`, and no file or folder."""
    try:
        mode = os.stat(path).st_mode  # one look: another process may make or remove a file there
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def is_at(descriptor: int, path: str | Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def check_place(path: Path, target: Path) -> None:
    """OutputError where no file can be at `target`, which the user calls `path`."""
    if not target.parent.is_dir():
        raise OutputError(
            f"{path}: there is no folder {path.parent}", "make the folder first, or write elsewhere"
        )
    if target.is_dir():
        raise OutputError(f"{path}: is a folder", "give the path of a file")


def _new_file(path: Path, target: Path) -> IO[bytes]:
    """A new file in the folder of `target`, locked, under a hidden name that says the process."""
    for last in (False,) * _FRESH + (True,):
        name = f"{target.parent}/.{target.name}.{os.getpid()}.{secrets.token_hex(4)}"
        try:
            stream = open(name, "x+b")  # noqa: SIM115
            # until it was locked, another process may have taken it for one that was left behind
            locked = lock(stream.fileno(), alone=False) is not False and is_at(stream.fileno(), name)
            if locked or last:
                return stream
            stream.close()
        except OSError as fault:
            raise OutputError(
                f"{path}: cannot be written ({fault.strerror})", "write to another folder"
            ) from None
        except BaseException:
            _remove(name)  # an interrupt at any time leaves nothing behind
            raise
    raise AssertionError("the last try returns or raises")


def _backup(target: Path) -> Path | None:
    """A second name for what `target` holds now, a copy where the disk knows no links; None where there is nothing."""
    if not target.exists():
        return None
    backup = target.with_name(f".{target.name}.{os.getpid()}.old")
    try:
        os.link(target, backup)
    except OSError:
        shutil.copy2(target, backup)
    return backup


def _restore(target: Path, backup: Path | None) -> None:
    """Gives `target` its old content; the backup goes only once that has worked, and OutputError names it if not."""
    if backup is None:
        _remove(target)
        return
    try:
        shutil.copy2(backup, target)  # not renamed: renaming is what has just failed
    except OSError as fault:
        raise OutputError(
            f"{target}: its old content cannot be put back ({fault.strerror})", f"it is kept in {backup}"
        ) from None
    _remove(backup)


def _remove(*paths: str | Path) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
