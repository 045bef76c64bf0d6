"""The folder of a recipe's run: a model and a record for each stage, so that an interrupted run can resume.

One run works in a folder at a time and locks the empty file `.lock` there. The file stays; the lock is one of the
operating system and ends with the process.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tightc.data.function import module_file, names_function
from tightc.data.idx import is_idx, labels_path
from tightc.errors import ModelError, OutputError
from tightc.files import remove_leftovers, remove_leftovers_in, write_file_atomically
from tightc.model.file import Model, load_model, load_model_bytes, save_model, writes_external_data

# in this order, however a run got to its end
_RECORD_KEYS = ("key", "report", "measured", "row", "model_sha256")
PAGE = "report.html"  # what a run ends with
# what a run writes in its folder
_WRITTEN = re.compile(
    r"recipe\.yaml|report\.html|\d\d-[a-z-]+\.json|\d\d-[a-z-]+\.onnx(\.[0-9a-f]{16}\.data)?|[0-9a-f]{16}\.checkpoint"
)


@dataclass(frozen=True)
class Workspace:
    """Files `NN-stage.onnx` and `NN-stage.json` in `folder`.

    A record has the SHA-256 of the model that the run wrote, and is ignored where another model is found later.
    """

    folder: Path

    @classmethod
    @contextmanager
    def locked(cls, folder: Path) -> Iterator[Workspace]:
        """A context with the locked workspace in `folder`, which is created where it is missing.

        What killed runs left there is removed.
        OutputError where another run works there, or where the folder cannot be created or locked.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise OutputError(
                f"{folder}: cannot be made ({fault.strerror})", "give another folder with -o"
            ) from None
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise OutputError(
                f"{folder}: another run works in this folder",
                "wait for it to end, or give another folder with -o",
            ) from None
        except (OSError, NotImplementedError) as fault:
            reason = getattr(fault, "strerror", None) or fault
            raise OutputError(
                f"{folder}: cannot be locked ({reason})", "give another folder with -o"
            ) from None
        try:
            remove_leftovers_in(folder, _WRITTEN)
            yield cls(folder)
        finally:
            lock.release()

    def model_path(self, name: str) -> Path:
        """The path of the model of the stage `name`."""
        return self.folder / f"{name}.onnx"

    def checkpoint_path(self, key: str) -> Path:
        """The path of the checkpoint of a training with this `key`."""
        return self.folder / f"{key[:16]}.checkpoint"

    def remove_checkpoint(self, key: str) -> None:
        """Remove the checkpoint of a training with this `key`, which has ended."""
        path = self.checkpoint_path(key)
        path.unlink(missing_ok=True)
        remove_leftovers(path)

    def find_result(
        self, name: str, key: str, *, has_model: bool
    ) -> tuple[dict[str, Any], Model | None] | None:
        """The record of the stage `name` and its model, if it `has_model`.

        None where the stage was not run with this `key`, or where the model is not the one that was written.
        """
        try:
            record = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        complete = isinstance(record, dict) and isinstance(record.get("report"), dict)
        if not complete or not isinstance(record.get("row", {}), dict) or record.get("key") != key:
            return None
        if not has_model:
            return dict(record), None
        try:
            model = load_model(self.model_path(name))
        except ModelError:
            return None
        return (dict(record), model) if model.sha256 == record.get("model_sha256") else None

    def write_model(self, name: str, model: Model) -> Model:
        """Write the `model` of the stage `name`; returns it checked and as `load_model` would read it.

        The file itself is not read again: another process may have replaced it.
        """
        self._remove_page()
        path = self.model_path(name)
        written = load_model_bytes(model.to_bytes(), str(path))
        return replace(
            written, file_sha256=save_model(model, path), external_data=writes_external_data(model)
        )

    def write_record(self, name: str, record: Mapping[str, Any], model: Model | None) -> None:
        """Write the `record` of the stage `name` with the SHA-256 of its `model`, None if it only reports."""
        self._remove_page()
        complete = {**record, "model_sha256": model and model.sha256}
        content = {key: complete[key] for key in _RECORD_KEYS if key in complete}
        write_file_atomically(self.folder / f"{name}.json", (json.dumps(content, indent=1) + "\n").encode())

    def _remove_page(self) -> None:
        """Remove the page of an earlier run, which has other figures, also where this one does not come to its end."""
        with suppress(OSError):
            (self.folder / PAGE).unlink(missing_ok=True)


def hash_key(*parts: Any) -> str:
    """SHA-256 of `parts` as JSON: all that a stage's result depends on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def hash_data(source: str) -> str:
    """A hash of the data at `source`, to see whether it changed.

    Of a file its content, for IDX also that of the labels; of a folder the names, sizes and times of its files; of a
    function its name and the file of its module.
    """
    path = Path(os.path.expanduser(source))
    if path.is_file():
        labels = labels_path(path) if is_idx(path.name) else None
        return hash_key(_sha256(path), _sha256(labels)) if labels else hash_file(source)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file())
        return hash_key(
            [(str(file.relative_to(path)), file.stat().st_size, file.stat().st_mtime_ns) for file in found]
        )
    module = module_file(source) if names_function(source) else None
    return hash_key(source, _sha256(module)) if module else source


def hash_file(source: str) -> str:
    """The SHA-256 of the file at `source`, empty where there is none."""
    return _sha256(Path(os.path.expanduser(source))) or ""


def _sha256(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
