"""A training on disk, so that a run that dies goes on where it was."""

from __future__ import annotations

import io
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from time import monotonic
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch

from tightc.errors import OptionError, OutputError
from tightc.files import write_file_atomically

# what reading any bytes may end in
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


@dataclass
class Checkpoint:
    """The file at `path`, written at most every `seconds`; `key` says which run it belongs to."""

    path: Path
    seconds: float
    key: str

    def __post_init__(self) -> None:
        self._written = monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return monotonic() - self._written >= self.seconds

    def write(self, state: dict[str, Any]) -> str | None:
        """Writes `state`, of tensors, numbers, texts, lists and dicts, whole or not at all.

        Gives what went wrong where it cannot be written: what was trained by then is worth more than its copy.
        """
        self._written = monotonic()
        content = io.BytesIO()
        torch.save({"key": self.key, "state": state}, content)
        try:
            write_file_atomically(self.path, content.getvalue())
        except OutputError as fault:
            return fault.sentence
        return None

    def read(self) -> dict[str, Any] | None:
        """The state, on the CPU; None where there is no file yet.

        OptionError where it is not a state of this run, or where no file could be written.
        """
        if not self.path.parent.is_dir():
            raise OptionError(
                f"{self.path}: there is no folder {self.path.parent} for the checkpoint",
                "make the folder first",
            )
        if not os.access(self.path.parent, os.W_OK):
            raise OptionError(
                f"{self.path}: the checkpoint cannot be written there", "give another file with --checkpoint"
            )
        if not self.path.exists():
            return None
        remedy = "remove it, or give the options and files of then"
        found = self._load()
        if not isinstance(found, dict) or found.keys() != {"key", "state"}:
            raise OptionError(f"{self.path}: not a checkpoint of finetune", remedy)
        if found["key"] != self.key:
            raise OptionError(f"{self.path}: a checkpoint of another run", remedy)
        return dict(found["state"])

    def _load(self) -> Any:
        """What torch saved there; None where it did not, or where a byte is not as it was written."""
        try:
            with ZipFile(self.path) as archive:
                if archive.testzip() is not None:
                    return None
            return torch.load(self.path, map_location="cpu", weights_only=True)
        except _BROKEN:
            return None
