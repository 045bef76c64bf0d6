"""The folder of a run as later commands read it, without running anything: recipe, records, models and data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tightc.config.yaml import read_options
from tightc.data.function import names_function
from tightc.data.options import DataOptions
from tightc.errors import ConfigError, ModelError
from tightc.input_file import read_regular
from tightc.model.file import Model, load_model
from tightc.model.history import read_history
from tightc.recipe.recipe import REPORT_STAGES, Recipe
from tightc.recipe.records import Row, add_drops, stage_names
from tightc.recipe.run import resolve_paths

_RECIPE = "recipe.yaml"
_AGAIN = "run tightc run again"
_MOST_BYTES = 2**26  # of a record


@dataclass(frozen=True)
class RunFolder:
    """A run in `folder`: its `recipe` with paths from there, its `dense` model, and the `last` one that it has made.

    `rows`: one for each stage that has ended, with the columns of the table of `tightc run`. `reports`: the JSON object
    of each of these stages, by its name. `missing`: names of the stages that have not ended.
    """

    folder: Path
    recipe: Recipe
    rows: tuple[Row, ...]
    reports: Mapping[str, Mapping[str, Any]]
    missing: tuple[str, ...]
    dense: Model
    last: Model

    @property
    def data(self) -> DataOptions | None:
        """The data of the recipe, None where it has none; ConfigError where a function gives it, which is code."""
        data = resolve_paths(self.recipe, self.folder).data
        if data is not None and names_function(data.data):
            raise ConfigError(
                f"{self.folder / _RECIPE}: data.data: {data.data!r} names a function, and a recipe may not run code",
                f"if you trust it, give --data {data.data}",
            )
        return data and DataOptions(**data.model_dump(include=set(DataOptions.model_fields)))

    def require_end(self) -> None:
        """ModelError where a stage has not ended, so that `last` is not the result of the recipe."""
        if self.missing:
            raise ModelError(
                f"{self.folder}: expected a run that ended, got one without {', '.join(self.missing)}", _AGAIN
            )


def read_run(folder: Path) -> RunFolder:
    """The run in `folder`, as far as it came.

    A stage has ended where its record is there, and its model is made from the one before it: one that an earlier run
    made from another model does not count. ConfigError where `folder` is no folder of a run or a record is damaged,
    ModelError where a model is missing or is not the one that the run wrote.
    """
    path = folder / _RECIPE
    if not path.is_file():
        raise ConfigError(
            f"{folder}: expected a folder of tightc run, with a {_RECIPE}, got none in it",
            "give the folder that tightc run wrote, or the path of a model",
        )
    recipe = read_options(path, Recipe)
    rows: list[Row] = []
    reports: dict[str, Mapping[str, Any]] = {}
    models: list[Model] = []
    stages = ("dense", *(step.stage for step in recipe.stages))
    names = list(stage_names(stages[1:]))
    for name, stage in zip(names, stages, strict=True):
        record = _read_record(folder / f"{name}.json")
        if record is None:
            break
        if stage not in REPORT_STAGES:
            model = _read_model(folder / f"{name}.onnx", record)
            if models and not _is_made_from(model, models[-1]):
                break
            models = [*models[:1], model]  # those between are not needed
        rows.append({"name": name, "stage": stage, **record["row"]})
        reports[name] = record["report"]
    if not models:
        raise ConfigError(f"{folder}: expected a record of a stage, got none", "run the recipe first")
    add_drops(rows, validation=recipe.data is not None and recipe.data.validation > 0)
    missing = tuple(names[len(rows) :])
    return RunFolder(folder, recipe, tuple(rows), reports, missing, models[0], models[-1])


def _read_record(path: Path) -> dict[str, Any] | None:
    """The record at `path`; None where there is none, or where the run was ended before it was measured."""
    try:
        record = json.loads(read_regular(path, _MOST_BYTES, ConfigError))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as fault:
        raise _damaged(path, f"not JSON: {fault}") from None
    if not isinstance(record, dict) or not isinstance(record.get("report"), dict):
        raise _damaged(path, "it holds no report")
    row = record.get("row")
    if row is None:
        return None
    if not isinstance(row, dict) or "accuracy" not in row:
        raise _damaged(path, "its row is not one")
    wrong = next((key for key, value in row.items() if not _is_figure(value)), None)
    if wrong is not None:
        raise _damaged(path, f"{wrong} is not a number")
    return record


def _is_figure(value: object) -> bool:
    return value is None or (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < float("inf")  # which NaN is not either
    )


def _damaged(path: Path, fault: str) -> ConfigError:
    return ConfigError(
        f"{path}: expected a record of tightc run, got a damaged one ({fault})", "run the recipe again"
    )


def _read_model(path: Path, record: Mapping[str, Any]) -> Model:
    model = load_model(path)
    if model.sha256 != record.get("model_sha256"):
        raise ModelError(
            f"{path}: expected the model that the run wrote, got another one", "run the recipe again"
        )
    return model


def _is_made_from(model: Model, before: Model) -> bool:
    """Whether a stage made `model` from `before`, by its history."""
    history = read_history(model)
    return bool(history) and history[-1].get("input") == before.sha256
