"""The recipe of a run: that of its network and method, with some options changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from results.matrix import Run
from tightc.config.yaml import read_options
from tightc.errors import OptionError
from tightc.files import write_file_atomically
from tightc.recipe.recipe import Recipe

Raw = dict[str, Any]


def write_recipe(run: Run, path: Path) -> None:
    """The recipe of `run` as a file at `path`, which its own paths are relative to, where they are not absolute.

    OptionError or ConfigError where there is no such recipe, or where it has no stage that a change is for.
    """
    raw = read_raw(run.recipe)
    for key, value in run.row.changes.items():
        stage, _, option = key.partition(".")
        stages = _stages_named(raw, stage)
        for options, own in zip(stages, _values(run, key, value, len(stages)), strict=True):
            options[option] = own
    base = run.folder.resolve()
    raw["seed"] = run.seed
    raw["model"] = os.path.relpath(base / raw["model"], path.parent.resolve())
    if "data" in raw and is_path(raw["data"]["data"], base):
        raw["data"]["data"] = _moved(raw["data"]["data"], base, path.parent.resolve())
    write_file_atomically(path, yaml.safe_dump(raw, sort_keys=False).encode())
    read_options(path, Recipe)


def training_name(run: Run) -> str:
    """A name that runs share which differ only in the stages after the last training."""
    raw = read_raw(run.recipe)
    names = [name for name, _ in _stages(raw)]
    last = max((place for place, name in enumerate(names) if name == "finetune"), default=len(names))
    later = set(names[last + 1 :]) - set(names[: last + 1])
    changes = {key: value for key, value in run.row.changes.items() if key.partition(".")[0] not in later}
    parts = [f"{key.partition('.')[2]}-{_slug(value)}" for key, value in sorted(changes.items())]
    return "-".join([run.recipe.stem, *parts, f"seed{run.seed}"])


def read_raw(path: Path) -> Raw:
    """A recipe as plain YAML, its stages as mappings; OptionError or ConfigError where there is none at `path`."""
    if not path.is_file():
        raise OptionError(
            f"{path}: expected a recipe, got no file", "name its network and method in the matrix"
        )
    read_options(path, Recipe)
    raw: Raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    raw["stages"] = [
        {stage: {}} if isinstance(stage, str) else {name: options or {} for name, options in stage.items()}
        for stage in raw["stages"]
    ]
    return raw


def is_path(data: str, base: Path) -> bool:
    """Data may also be given as package.module:function."""
    return ":" not in data or (base / data).exists()


def _moved(data: str, base: Path, folder: Path) -> str:
    """A path relative to `base` as one relative to `folder`; an absolute one stays."""
    return data if Path(data).is_absolute() else os.path.relpath(base / data, folder)


def _values(run: Run, key: str, value: Any, stages: int) -> list[Any]:
    """The value for each stage: from a list, or the same for all; OptionError where a list has another length."""
    if not stages:
        raise OptionError(
            f"{run.row.name}: {key}: expected a stage of {run.recipe.name}, got none of that name",
            "name one that it has",
        )
    if not isinstance(value, list):
        return [value] * stages
    if len(value) != stages:
        raise OptionError(
            f"{run.row.name}: {key}: expected {stages} values, got {len(value)}",
            "give one for each stage of that name, or one for all",
        )
    return value


def _stages(raw: Raw) -> list[tuple[str, Raw]]:
    return [(name, options) for stage in raw["stages"] for name, options in stage.items()]


def _stages_named(raw: Raw, stage: str) -> list[Raw]:
    return [options for name, options in _stages(raw) if name == stage]


def _slug(value: Any) -> str:
    """A value as a part of a folder's name."""
    words = "-".join(map(str, value)) if isinstance(value, list) else str(value)
    return "".join(letter if letter.isalnum() or letter == "." else "-" for letter in words).strip("-")
