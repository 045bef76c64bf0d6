"""Run a recipe: one stage after the other, with a table of each one's result."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from tightc.config.yaml import read_options
from tightc.data.function import names_function
from tightc.data.function_name import is_function_name
from tightc.errors import ConfigError
from tightc.files import write_file_atomically
from tightc.model.layer_view.layers import read_network
from tightc.model.layer_view.mac_counts import coverage
from tightc.model.packings.packed_form import unpack_layers
from tightc.progress import Progress, no_progress
from tightc.recipe.recipe import Recipe
from tightc.recipe.records import add_drops
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
    """Run the recipe at `path` in `folder`; a stage with the same input and options as before keeps its result.

    `folder` gets the model and the record of every stage, and the recipe with all defaults filled in. `seed` overrides
    the recipe's. Without `allow_code`, a recipe that names a function for its data or a Dask scheduler is refused.
    `progress` gets the tasks of every stage. The report has a row for the recipe's model and one for each stage.
    OutputError where another run works in `folder`.
    """
    recipe = resolve_paths(read_options(path, Recipe), path.parent)
    if not allow_code:
        _refuse_code(recipe, path)
    if seed is not None:
        recipe = recipe.model_copy(update={"seed": seed})
    with Workspace.locked(folder) as workspace:
        runner = StageRunner(recipe, workspace, progress)
        text = resolved_yaml(_relative_to(recipe, folder))
        write_file_atomically(folder / "recipe.yaml", text.encode())
        rows = [runner.start(), *(runner.step(step) for step in recipe.stages)]
    add_drops(rows, validation=recipe.data is not None and recipe.data.validation > 0)
    totals: dict[str, Any] = {
        "model": Path(recipe.model).name,
        "folder": str(folder),
        "seed": recipe.seed,
        "array": str(runner.table_options.array),
    }
    plain = unpack_layers(runner.dense)
    uncovered, covered = coverage(plain, read_network(plain))
    totals |= {"macs_covered": covered, "version": version("tightc")}
    return Report("run", totals, tuple(rows), uncovered, runner.dense.notes)


def resolved_yaml(recipe: Recipe) -> str:
    """`recipe` as YAML with every default filled in; parsing it gives the same recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json", exclude_none=True), sort_keys=False)


def _refuse_code(recipe: Recipe, path: Path) -> None:
    """ConfigError where the recipe at `path` names code that is not part of tightc."""
    if recipe.data and names_function(recipe.data.data):
        raise ConfigError(
            f"{path}: data.data: {recipe.data.data!r} names a function, and a recipe may not run code",
            _IF_TRUSTED,
        )
    for index, step in enumerate(recipe.stages):
        if step.evaluate and step.evaluate.metric and is_function_name(step.evaluate.metric):
            raise ConfigError(
                f"{path}: stages.{index}.evaluate.metric: {step.evaluate.metric!r} names a function, "
                "and a recipe may not run code",
                _IF_TRUSTED,
            )
        if step.permute and step.permute.dask:
            raise ConfigError(
                f"{path}: stages.{index}.permute.dask: {step.permute.dask!r} names a scheduler, "
                "which can run code here, and a recipe may not run code",
                _IF_TRUSTED,
            )


def resolve_paths(recipe: Recipe, base: Path) -> Recipe:
    """`recipe` with paths relative to the current folder instead of `base`."""
    return _convert_paths(recipe, base, lambda path: str(base / Path(os.path.expanduser(path))))


def _relative_to(recipe: Recipe, folder: Path) -> Recipe:
    """`recipe` with paths relative to `folder` instead of the current folder; absolute paths stay."""

    def convert(path: str) -> str:
        return path if Path(path).is_absolute() else os.path.relpath(path, folder)

    return _convert_paths(recipe, Path(), convert)


def _convert_paths(recipe: Recipe, base: Path, convert: Callable[[str], str]) -> Recipe:
    """`recipe`, with paths relative to `base`, after `convert` of each: model, data, masks, simulate's inputs."""
    changes: dict[str, Any] = {"model": convert(recipe.model)}
    if recipe.data and _is_path(recipe.data.data, base):
        changes["data"] = recipe.data.model_copy(update={"data": convert(recipe.data.data)})
    stages = []
    for step in recipe.stages:
        if step.simulate and step.simulate.inputs:
            converted = {"inputs": convert(step.simulate.inputs)}
            step = step.model_copy(update={"simulate": step.simulate.model_copy(update=converted)})
        if step.prune and step.prune.mask:
            converted = {"mask": convert(step.prune.mask)}
            step = step.model_copy(update={"prune": step.prune.model_copy(update=converted)})
        stages.append(step)
    return recipe.model_copy(update={**changes, "stages": tuple(stages)})


def _is_path(data: str, base: Path) -> bool:
    """Whether `data` is a path relative to `base`, and not package.module:function."""
    return ":" not in data or (base / data).exists()
