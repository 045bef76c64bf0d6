"""Files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tightc.errors import OutputError


def write_whole(path: Path, content: bytes) -> None:
    """Writes `content` to a temporary file in the same folder, flushes it to the disk and renames it to `path`."""
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"{path}: there is no folder {folder}", "make the folder first, or write elsewhere")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder", "give the path of a file")
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=folder)
    except OSError as fault:
        raise OutputError(
            f"{path}: cannot be written ({fault.strerror})", "write to another folder"
        ) from None
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as fault:
        raise OutputError(
            f"{path}: cannot be written ({fault.strerror})", "free some space, or write elsewhere"
        ) from None
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
