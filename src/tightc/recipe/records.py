"""The records of a recipe's run, read from its folder without running anything."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tightc.config.yaml import read_options
from tightc.errors import ConfigError, ModelError
from tightc.input_file import read_regular
from tightc.model.file import Model, load_model
from tightc.recipe.recipe import REPORT_STAGES, Recipe

Row = dict[str, Any]
DENSE = "00-dense"
_MOST_BYTES = 2**26  # of a record


@dataclass(frozen=True)
class RunRecords:
    """A run in `folder`: its `recipe`, a row for each stage that has ended, and the last `model`.

    `rows` hold the columns of the table of `tightc run`. `reports`: the JSON object of each stage, by its name.
    `missing`: names of the stages that have no record yet.
    """

    folder: Path
    recipe: Recipe
    rows: tuple[Row, ...]
    reports: Mapping[str, Mapping[str, Any]]
    missing: tuple[str, ...]
    model: Model


def read_run(folder: Path) -> RunRecords:
    """The records of the run in `folder`.

    ConfigError where it is no folder of a run or a record is damaged, ModelError where its model is missing or is not
    the one that the run wrote.
    """
    path = folder / "recipe.yaml"
    if not path.is_file():
        raise ConfigError(
            f"{folder}: expected a folder of tightc run, with a recipe.yaml, got none in it",
            "give the folder that tightc run wrote, or the path of a model",
        )
    recipe = read_options(path, Recipe)
    rows: list[Row] = []
    reports: dict[str, Mapping[str, Any]] = {}
    model: Model | None = None
    names = list(stage_names(step.stage for step in recipe.stages))
    stages = ("dense", *(step.stage for step in recipe.stages))
    for name, stage in zip(names, stages, strict=True):
        record = _read_record(folder / f"{name}.json")
        if record is None:
            break
        rows.append({"name": name, "stage": stage, **record["row"]})
        reports[name] = record["report"]
        if stage not in REPORT_STAGES:
            model = _read_model(folder / f"{name}.onnx", record)
    if model is None:
        raise ConfigError(f"{folder}: expected a record of a stage, got none", "run the recipe first")
    add_drops(rows, validation=recipe.data is not None and recipe.data.validation > 0)
    return RunRecords(folder, recipe, tuple(rows), reports, tuple(names[len(rows) :]), model)


def stage_names(stages: Iterable[str]) -> Iterator[str]:
    """The names of the dense model and of the `stages` of a recipe, in order."""
    yield DENSE
    made, taken = 0, set[str]()
    for stage in stages:
        made += stage not in REPORT_STAGES
        name = stage_name(stage, made, taken)
        taken.add(name)
        yield name


def stage_name(stage: str, models_made: int, taken: set[str]) -> str:
    """The name of a stage: with the number of the model that it makes or reads, and not one of those `taken`."""
    name = f"{models_made:02}-{stage}"
    while name in taken:
        name += "-again"
    return name


def add_drops(rows: list[Row], *, validation: bool) -> None:
    """Puts into each of `rows` the drop of accuracy below the dense model's on the same images.

    With a `validation` split each row says which images its accuracy is of: the test set is read by evaluate alone.
    Before the first stage evaluate measures the dense model.
    """
    dense: dict[str, float] = {}
    for row in rows:
        split = "validation" if validation and row["stage"] != "evaluate" else "test"
        accuracy = row["accuracy"]
        if accuracy is not None and row["name"].startswith("00-"):
            dense.setdefault(split, accuracy)
        reference = dense.get(split)
        row["accuracy_drop"] = None if reference is None or accuracy is None else reference - accuracy
        if validation:
            row["split"] = split if accuracy is not None else None


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


def _read_model(path: Path, record: dict[str, Any]) -> Model:
    model = load_model(path)
    if model.sha256 != record.get("model_sha256"):
        raise ModelError(
            f"{path}: expected the model that the run wrote, got another one", "run the recipe again"
        )
    return model
