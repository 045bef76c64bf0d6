"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from tightc.errors import OutputError


def make_folder(folder: Path) -> None:
    """Makes `folder` and those above it, if they are missing; OutputError where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise OutputError(
            f"{folder}: cannot be made a folder ({fault.strerror})",
            "give the path of a folder, or of a new one",
        ) from None


def write_whole(path: Path, content: bytes) -> None:
    """Writes `content` to a temporary file in the same folder, flushes it to the disk and renames it to `path`.

    A link is followed; a pipe or a device is written to as it is. OutputError where that cannot be done.
    """
    write_whole_together({path: content})


def write_whole_together(contents: Mapping[Path, bytes]) -> None:
    """As `write_whole`, for files that belong together: all are there before the first is renamed.

    Should a later one fail to be renamed, the earlier ones get their old content back, or go if there was none.
    """
    staged: dict[Path, str] = {}
    backups: dict[Path, Path | None] = {}
    replaced: list[Path] = []
    path = next(iter(contents))
    try:
        for path, content in contents.items():
            target = Path(os.path.realpath(path))
            if target.exists() and not target.is_file() and not target.is_dir():
                target.write_bytes(content)
            else:
                _check_place(path, target)
                # known before it is there, so that an interrupt at any time leaves nothing behind
                staged[target] = f"{target.parent}/.{target.name}.{os.getpid()}.{secrets.token_hex(4)}"
                _stage(path, staged[target], content)
        for target, temporary in staged.items():
            path = target
            backups[target] = _backup(target) if len(staged) > 1 else None
            os.replace(temporary, target)
            replaced.append(target)
    except OSError as fault:
        for target in replaced:
            _restore(target, backups.pop(target))
        raise OutputError(
            f"{path}: cannot be written ({fault.strerror})", "free some space, or write elsewhere"
        ) from None
    finally:
        _remove(*staged.values(), *filter(None, backups.values()))


def _check_place(path: Path, target: Path) -> None:
    """OutputError where no file can be at `target`, which the user calls `path`."""
    if not target.parent.is_dir():
        raise OutputError(
            f"{path}: there is no folder {path.parent}", "make the folder first, or write elsewhere"
        )
    if target.is_dir():
        raise OutputError(f"{path}: is a folder", "give the path of a file")


def _stage(path: Path, temporary: str, content: bytes) -> None:
    """Writes a new file `temporary` that holds `content`, on the disk; `path` is what the user calls it."""
    try:
        stream = open(temporary, "xb")  # noqa: SIM115
    except OSError as fault:
        raise OutputError(
            f"{path}: cannot be written ({fault.strerror})", "write to another folder"
        ) from None
    with stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


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
