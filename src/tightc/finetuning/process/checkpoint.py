"""Checkpoints: the training state on disk, so that an ended run resumes where it was."""

from __future__ import annotations

import io
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251 - the exception alone
from time import monotonic
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch

from tightc.errors import OptionError, OutputError
from tightc.files import check_writable, write_file_atomically

# what reading arbitrary bytes may raise
_BROKEN = (
    OSError,
    ValueError,
    RuntimeError,
    EOFError,
    LookupError,
    TypeError,
    UnpicklingError,
    BadZipFile,
    zlib.error,
)


def check_checkpoint(path: Path) -> None:
    """OptionError where no checkpoint can be written at `path`: a training finds that before it starts."""
    remedy = "give another file with --checkpoint"
    if not path.parent.is_dir():
        raise OptionError(
            f"--checkpoint: expected an existing folder, got {path.parent}", "make the folder first"
        )
    if not os.access(path.parent, os.W_OK):
        raise OptionError(f"--checkpoint: expected a writable folder, got {path.parent}", remedy)
    if os.path.exists(path) and not os.path.isfile(path):  # of Path, these raise where a name is too long
        raise OptionError(f"--checkpoint: expected a file, got a folder, pipe or device, {path}", remedy)
    try:
        check_writable(path)
    except OutputError as fault:
        raise OptionError(f"--checkpoint: {fault.sentence}", remedy) from None


@dataclass
class Checkpoint:
    """The file at `path`, due every `seconds` within an epoch; `run_key` identifies the run that it belongs to."""

    path: Path
    seconds: float
    run_key: str

    def __post_init__(self) -> None:
        self._written = monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to write; at the end of an epoch the training sets it."""
        return monotonic() - self._written >= self.seconds

    @due.setter
    def due(self, due: bool) -> None:
        if due:
            self._written = -math.inf

    def write(self, state: dict[str, Any]) -> str | None:
        """Writes `state`, of tensors, numbers, strings, lists and dicts, atomically.

        Returns the reason where the file cannot be written, and None otherwise: a full disk must not end the training.
        """
        self._written = monotonic()
        content = io.BytesIO()
        torch.save({"key": self.run_key, "state": state}, content)
        try:
            write_file_atomically(self.path, content.getvalue())
        except OutputError as fault:
            return fault.sentence
        return None

    def read(self) -> dict[str, Any] | None:
        """The saved state, on the CPU; None where there is no file yet.

        OptionError where the file is not a checkpoint of this run.
        """
        if not self.path.exists():
            return None
        remedy = "remove it, or rerun with the options and files that it was written with"
        found = self._load()
        if not isinstance(found, dict) or found.keys() != {"key", "state"}:
            raise OptionError(f"{self.path}: expected a checkpoint of finetune, got another file", remedy)
        if found["key"] != self.run_key:
            raise OptionError(f"{self.path}: expected a checkpoint of this run, got one of another", remedy)
        return dict(found["state"])

    def _load(self) -> Any:
        """The object that torch saved; None where the file is broken or was not written by torch."""
        try:
            with ZipFile(self.path) as archive:
                if archive.testzip() is not None:
                    return None
            return torch.load(self.path, map_location="cpu", weights_only=True)
        except _BROKEN:
            return None
