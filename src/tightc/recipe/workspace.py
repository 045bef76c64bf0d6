"""The folder of a recipe's run: a model and a record for each stage, so that an interrupted run continues."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tightc.data.function import module_file
from tightc.data.idx import is_idx, labels_beside
from tightc.errors import OutputError
from tightc.files import write_whole
from tightc.model.file import Model, load_model, save_model


@dataclass(frozen=True)
class Workspace:
    """Files `NN-stage.onnx` and `NN-stage.json` in `folder`."""

    folder: Path

    @classmethod
    def at(cls, folder: Path) -> Workspace:
        """The workspace in `folder`, which is made if need be."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise OutputError(
                f"{folder}: cannot be made ({fault.strerror})", "give another folder with -o"
            ) from None
        return cls(folder)

    def model_path(self, name: str) -> Path:
        """Where the model of the stage `name` lies."""
        return self.folder / f"{name}.onnx"

    def checkpoint_path(self, key: str) -> Path:
        """Where a training that `key` describes is kept while it runs."""
        return self.folder / f"{key[:16]}.checkpoint"

    def done(self, name: str, key: str) -> dict[str, Any] | None:
        """The record of the stage if it was done for the same `key` and its model is still the one written."""
        try:
            record = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        whole = isinstance(record, dict) and isinstance(record.get("report"), dict)
        if not whole or not isinstance(record.get("row", {}), dict) or record.get("key") != key:
            return None
        return dict(record) if record.get("model_sha256") == self._model_sha256(name) else None

    def load(self, name: str) -> Model:
        """The model of a stage that is done."""
        return load_model(self.model_path(name))

    def keep_model(self, name: str, model: Model) -> None:
        """Writes the model of a stage."""
        save_model(model, self.model_path(name))

    def keep_record(self, name: str, record: Mapping[str, Any]) -> None:
        """Writes the record of a stage, after its model."""
        whole = {**record, "model_sha256": self._model_sha256(name)}
        write_whole(self.folder / f"{name}.json", (json.dumps(whole, indent=1) + "\n").encode())

    def _model_sha256(self, name: str) -> str | None:
        """SHA-256 of the stage's model and of the file of its weights, if it has one; None without a model."""
        path = self.model_path(name)
        weights = _sha256(path.with_name(path.name + ".data"))
        return key_of(_sha256(path), weights) if weights else _sha256(path)


def key_of(*parts: Any) -> str:
    """SHA-256 of `parts` as JSON: what a stage's result depends on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def data_key(source: str) -> str:
    """What tells whether the data changed: a file's SHA-256 (of an IDX file also its labels'), a folder's names, sizes
    and times, a function's name and the SHA-256 of its module.
    """
    path = Path(source).expanduser()
    if path.is_file():
        beside = labels_beside(path) if is_idx(path.name) else None
        return key_of(_sha256(path), _sha256(beside)) if beside else file_key(source)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file())
        return key_of(
            [(str(file.relative_to(path)), file.stat().st_size, file.stat().st_mtime_ns) for file in found]
        )
    module = module_file(source)
    return key_of(source, _sha256(module)) if module else source


def file_key(source: str) -> str:
    """The SHA-256 of a file, "" where there is none."""
    return _sha256(Path(source).expanduser()) or ""


def _sha256(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
