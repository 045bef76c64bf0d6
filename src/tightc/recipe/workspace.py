"""The folder of a recipe's run: a model and a record for each stage, so that an interrupted run continues.

One run works in a folder at a time. It locks the file `.lock` there, which is empty and stays: the lock is the
system's, and ends with the process, however that ends.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tightc.data.function import module_file, names_function
from tightc.data.idx import is_idx, labels_path
from tightc.errors import ModelError, OutputError
from tightc.files import write_file_atomically
from tightc.model.file import Model, in_two_files, load_model, load_model_bytes, save_model


@dataclass(frozen=True)
class Workspace:
    """Files `NN-stage.onnx` and `NN-stage.json` in `folder`.

    A record has the SHA-256 of the model that the run wrote; what lies there later is compared with it.
    """

    folder: Path

    @classmethod
    @contextmanager
    def locked(cls, folder: Path) -> Iterator[Workspace]:
        """The workspace in `folder`, which is made if need be, for this run alone while the context lasts.

        OutputError where another run has it, or where the folder cannot be made or locked.
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
            yield cls(folder)
        finally:
            lock.release()

    def model_path(self, name: str) -> Path:
        """Where the model of the stage `name` lies."""
        return self.folder / f"{name}.onnx"

    def checkpoint_path(self, key: str) -> Path:
        """Where a training that `key` describes is kept while it runs."""
        return self.folder / f"{key[:16]}.checkpoint"

    def done(self, name: str, key: str, *, reports: bool) -> tuple[dict[str, Any], Model | None] | None:
        """The record of the stage and its model, None for one that only `reports`.

        None where the stage was not done for the same `key`, or where another model lies there than the one written.
        """
        try:
            record = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        whole = isinstance(record, dict) and isinstance(record.get("report"), dict)
        if not whole or not isinstance(record.get("row", {}), dict) or record.get("key") != key:
            return None
        if reports:
            return dict(record), None
        try:
            model = load_model(self.model_path(name))
        except ModelError:
            return None
        return (dict(record), model) if model.sha256 == record.get("model_sha256") else None

    def keep_model(self, name: str, model: Model) -> Model:
        """Writes the model of a stage; gives it checked, as reading it back would, but whatever lies there by now."""
        path = self.model_path(name)
        kept = load_model_bytes(model.to_bytes(), str(path))
        return replace(kept, file_sha256=save_model(model, path), two_files=in_two_files(model))

    def keep_record(self, name: str, record: Mapping[str, Any], model: Model | None) -> None:
        """Writes the record of a stage, after its `model`, None for a stage that only reports."""
        whole = {**record, "model_sha256": model and model.sha256}
        write_file_atomically(self.folder / f"{name}.json", (json.dumps(whole, indent=1) + "\n").encode())


def key_of(*parts: Any) -> str:
    """SHA-256 of `parts` as JSON: what a stage's result depends on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def data_key(source: str) -> str:
    """What tells whether the data changed: a file's SHA-256 (of an IDX file also its labels'), a folder's names, sizes
    and times, a function's name and the SHA-256 of its module.
    """
    path = Path(source).expanduser()
    if path.is_file():
        beside = labels_path(path) if is_idx(path.name) else None
        return key_of(_sha256(path), _sha256(beside)) if beside else file_key(source)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file())
        return key_of(
            [(str(file.relative_to(path)), file.stat().st_size, file.stat().st_mtime_ns) for file in found]
        )
    module = module_file(source) if names_function(source) else None
    return key_of(source, _sha256(module)) if module else source


def file_key(source: str) -> str:
    """The SHA-256 of a file, "" where there is none."""
    return _sha256(Path(source).expanduser()) or ""


def _sha256(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
