"""Where results lie: docs/results with its page, its table of runs, the records and the models that are kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = "tightc.experiment/3"

Record = dict[str, Any]


@dataclass(frozen=True)
class ResultsFolder:
    """The files of docs/results, or of another folder with the same layout."""

    root: Path

    @property
    def page(self) -> Path:
        """The page that people read."""
        return self.root / "README.md"

    @property
    def budgets(self) -> Path:
        """The page of the rows that are compared at the same cost."""
        return self.root / "budgets.md"

    @property
    def table(self) -> Path:
        """One line for each run."""
        return self.root / "runs.csv"

    @property
    def drawing(self) -> Path:
        """Drop of accuracy over compression and over speedup."""
        return self.root / "accuracy.svg"

    @property
    def runs(self) -> Path:
        """The folder of the records."""
        return self.root / "runs"

    def record(self, run_id: str) -> Path:
        """The record of a run."""
        return self.runs / f"{run_id}.json"

    def model(self, run_id: str) -> Path:
        """The packed model of a run; only some are kept."""
        return self.root / "models" / f"{run_id}.onnx"

    def model_sha256(self, run_id: str) -> str | None:
        """SHA-256 of the packed model in hexadecimal digits; None where it is not kept."""
        path = self.model(run_id)
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None

    def read_records(self) -> list[Record]:
        """All records, by id."""
        paths = sorted(self.runs.glob("*.json"), key=lambda path: path.stem)
        found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        return [record for record in found if record.get("schema") == SCHEMA]
