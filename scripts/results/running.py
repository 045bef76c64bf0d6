"""One run: its recipe in a folder of its own, then a record and, for some rows, the packed model."""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from benchmarks.page import processor
from make_fashion import fashion
from make_vgg16 import vgg16
from results.folder import SCHEMA, Record, ResultsFolder
from results.matrix import Run
from results.recipes import is_path, read_raw, training_name, write_recipe
from tightc.files import write_file_atomically
from tightc.parallel import available_cores
from tightc.progress import Progress
from tightc.recipe.run import run_recipe
from tightc.report import Report

_PACKAGES = ("tightc", "torch", "onnx", "onnxruntime", "numpy", "numba")
_RANDOM = {  # made here, where a recipe starts from one
    "fashion-random.onnx": lambda: fashion(seed=0),
    "vgg16-random.onnx": lambda: vgg16(classes=10, seed=0),
}


def run_experiment(run: Run, work: Path, results: ResultsFolder, progress: Progress) -> Record:
    """Runs the stages that are not done yet in a folder of `work`, and writes the record.

    Runs that differ only in the stages after the training share a folder, so they share the training. The seconds are
    those of all tries in that folder, up to the last checkpoint before one was killed.
    """
    name = training_name(run)
    recipe, folder = work / f"{name}.yaml", work / name
    _prepare(run)
    write_recipe(run, recipe)
    with _Clock(folder) as clock:
        report = run_recipe(recipe, folder, progress=clock.ticking(progress))
    record = {"schema": SCHEMA, "id": run.run_id, **_record(run, report, folder, clock.seconds, results)}
    last = _last_model(report, folder)
    if run.row.keep_model:
        results.model(run.run_id).parent.mkdir(parents=True, exist_ok=True)
        write_file_atomically(results.model(run.run_id), last.read_bytes())
    made = product(run)
    if made is not None:
        made.parent.mkdir(parents=True, exist_ok=True)
        write_file_atomically(made, last.read_bytes())
    results.runs.mkdir(parents=True, exist_ok=True)
    write_file_atomically(results.record(run.run_id), (json.dumps(record, indent=1) + "\n").encode())
    return record


def product(run: Run) -> Path | None:
    """The file that other recipes start from and `run` makes; None where it makes none."""
    return None if run.row.makes is None else (run.folder / run.row.makes).resolve()


def missing_model(run: Run) -> Path | None:
    """The model that the recipe of `run` starts from, where it is not there and is not made here."""
    model = _model(run)
    return None if model.exists() or model.name in _RANDOM else model


def _model(run: Run) -> Path:
    return (run.folder / str(read_raw(run.recipe)["model"])).resolve()


def _prepare(run: Run) -> None:
    """Makes the random network that a recipe starts from, where it is not there yet."""
    model = _model(run)
    if model.name in _RANDOM and not model.exists():
        model.parent.mkdir(parents=True, exist_ok=True)
        write_file_atomically(model, _RANDOM[model.name]().SerializeToString())


def _last_model(report: Report, folder: Path) -> Path:
    """The file of the last stage that made a model."""
    made = [row for row in report.layers if row["bytes"] is not None]
    return folder / f"{made[-1]['name']}.onnx"


class _Clock:
    """The seconds that runs in `folder` took, kept in a file there so that a killed run counts."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "seconds"
        self._before = 0.0

    def __enter__(self) -> _Clock:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        if self._file.exists():
            self._before = float(self._file.read_text())
        self._began = self._written = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._write()

    @property
    def seconds(self) -> float:
        """Up to now."""
        return self._before + time.perf_counter() - self._began

    def ticking(self, progress: Progress) -> Progress:
        """`progress`, which also keeps the time, at most once in a few seconds."""

        def tick(task: str, done: float, figures: Any) -> None:
            if time.perf_counter() - self._written > 5:
                self._write()
            progress(task, done, figures)

        return tick

    def _write(self) -> None:
        self._written = time.perf_counter()
        write_file_atomically(self._file, f"{self.seconds:.1f}".encode())


def _record(run: Run, report: Report, folder: Path, seconds: float, results: ResultsFolder) -> dict[str, Any]:
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    epochs = [stage["finetune"]["epochs"] for stage in recipe["stages"] if "finetune" in stage]
    return {
        "row": run.row.name,
        "network": run.row.network,
        "method": run.row.method,
        "changes": run.row.changes,
        "seed": run.seed,
        "chosen_on": "validation",
        "array": report.totals["array"],
        "epochs": sum(epochs),
        "rows": [{key: value for key, value in row.items() if key != "state"} for row in report.layers],
        "versions": {
            "python": ".".join(map(str, sys.version_info[:3])),
            **{package: version(package) for package in _PACKAGES if find_spec(package)},
        },
        "processor": processor(),
        "cores": available_cores(),
        "threads": _training_threads(),
        "seconds": round(seconds, 1),
        "recipe": _relative_to(results.runs, recipe, folder, run),
    }


def _training_threads() -> int:
    import torch

    return torch.get_num_threads()


def _relative_to(runs: Path, recipe: Record, folder: Path, run: Run) -> Record:
    """A resolved `recipe` of `folder` with its paths relative to `runs`, so that the record fits any machine.

    Data of a system's package, at an absolute path in the recipe of `run`, stays there.
    """

    def moved(path: str) -> str:
        return os.path.relpath(folder.resolve() / path, runs.resolve())

    found = {**recipe, "model": moved(recipe["model"])}
    if "data" in recipe and is_path(recipe["data"]["data"], folder) and not _is_absolute(run):
        found["data"] = {**recipe["data"], "data": moved(recipe["data"]["data"])}
    return found


def _is_absolute(run: Run) -> bool:
    return Path(read_raw(run.recipe)["data"]["data"]).is_absolute()
