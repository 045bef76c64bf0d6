"""Run a recipe: stage after stage, with a table of what each did to the network."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from tightc.config.yaml import read_options
from tightc.data.function import names_function
from tightc.errors import ConfigError
from tightc.files import write_file_atomically
from tightc.model.layer_view.layers import read_network
from tightc.model.layer_view.mac_counts import coverage
from tightc.model.packings.packed_form import unpack_layers
from tightc.progress import Progress, no_progress
from tightc.recipe.recipe import Recipe
from tightc.recipe.stage_runner import StageRunner
from tightc.recipe.workspace import Workspace
from tightc.report import Report

_IF_TRUSTED = "if you trust the recipe, run it with --allow-code"


def run_recipe(
    path: Path,
    folder: Path,
    *,
    seed: int | None = None,
    allow_code: bool = False,
    progress: Progress = no_progress,
) -> Report:
    """Runs the recipe at `path` in `folder`; a stage whose input and options did not change keeps its result.

    `folder` gets the model and the record of every stage and the recipe with all options resolved; `seed` replaces
    the recipe's where it is given. A recipe that can run code, as a function for its data or by a Dask scheduler, is
    refused unless `allow_code`. The report has a row for the model that the recipe starts from and one for each stage.
    OutputError where another run works in `folder`.
    """
    recipe = _located(read_options(path, Recipe), path.parent)
    if not allow_code:
        _refuse_code(recipe, path)
    if seed is not None:
        recipe = recipe.model_copy(update={"seed": seed})
    with Workspace.locked(folder) as workspace:
        work = StageRunner(recipe, workspace, progress)
        write_file_atomically(folder / "recipe.yaml", resolved_yaml(_seen_from(recipe, folder)).encode())
        rows = [work.start(), *(work.step(step) for step in recipe.stages)]
    dense = rows[0]["accuracy"]
    for row in rows:
        accuracy = row["accuracy"]
        row["accuracy_drop"] = None if dense is None or accuracy is None else dense - accuracy
    totals: dict[str, Any] = {
        "model": Path(recipe.model).name,
        "folder": str(folder),
        "seed": recipe.seed,
        "array": str(work.measured.array),
    }
    plain = unpack_layers(work.dense)
    uncovered, covered = coverage(plain, read_network(plain))
    totals |= {"macs_covered": covered, "version": version("tightc")}
    return Report("run", totals, tuple(rows), uncovered, work.dense.notes)


def resolved_yaml(recipe: Recipe) -> str:
    """The recipe as YAML with every default filled in; it reads back as the same recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json", exclude_none=True), sort_keys=False)


def _refuse_code(recipe: Recipe, path: Path) -> None:
    """ConfigError where a value of the recipe at `path` leads to code that is not part of tightc."""
    if recipe.data and names_function(recipe.data.data):
        raise ConfigError(
            f"{path}: data.data: {recipe.data.data!r} names a function, and a recipe may not run code",
            _IF_TRUSTED,
        )
    for at, step in enumerate(recipe.stages):
        if step.permute and step.permute.dask:
            raise ConfigError(
                f"{path}: stages.{at}.permute.dask: {step.permute.dask!r} names a scheduler, which can run code here, "
                "and a recipe may not run code",
                _IF_TRUSTED,
            )


def _located(recipe: Recipe, base: Path) -> Recipe:
    """`recipe` with its paths, which are relative to `base`, relative to the current folder."""
    changes: dict[str, Any] = {"model": str(base / Path(recipe.model).expanduser())}
    if recipe.data and _is_path(recipe.data.data, base):
        located = str(base / Path(recipe.data.data).expanduser())
        changes["data"] = recipe.data.model_copy(update={"data": located})
    return _with_inputs(recipe, lambda path: str(base / Path(path).expanduser())).model_copy(update=changes)


def _seen_from(recipe: Recipe, folder: Path) -> Recipe:
    """A located `recipe` with its paths relative to `folder`, absolute ones excepted."""

    def moved(path: str) -> str:
        return path if Path(path).is_absolute() else os.path.relpath(path, folder)

    changes: dict[str, Any] = {"model": moved(recipe.model)}
    if recipe.data and _is_path(recipe.data.data, Path()):
        changes["data"] = recipe.data.model_copy(update={"data": moved(recipe.data.data)})
    return _with_inputs(recipe, moved).model_copy(update=changes)


def _with_inputs(recipe: Recipe, moved: Callable[[str], str]) -> Recipe:
    """`recipe` with the paths that its simulate stages read inputs from `moved`."""
    stages = []
    for step in recipe.stages:
        if step.simulate and step.simulate.inputs:
            there = {"inputs": moved(step.simulate.inputs)}
            step = step.model_copy(update={"simulate": step.simulate.model_copy(update=there)})
        stages.append(step)
    return recipe.model_copy(update={"stages": tuple(stages)})


def _is_path(data: str, base: Path) -> bool:
    """Data may also be given as package.module:function."""
    return ":" not in data or (base / data).exists()
