"""The folder of a run as later commands read it: its models and its data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tightc.config.yaml import read_options
from tightc.data.function import names_function
from tightc.data.options import DataOptions
from tightc.errors import ConfigError, ModelError
from tightc.model.file import load_model
from tightc.model.history import read_history
from tightc.recipe.recipe import REPORT_STAGES, Recipe
from tightc.recipe.records import stage_names
from tightc.recipe.run import resolve_paths

_RECIPE = "recipe.yaml"
_AGAIN = "run tightc run again"


@dataclass(frozen=True)
class RunFolder:
    """A finished run: its `recipe` with paths from here, its `dense` model and its `last` one."""

    recipe: Recipe
    dense: Path
    last: Path

    @property
    def data(self) -> DataOptions | None:
        """The data of the recipe, None where it has none; ConfigError where a function gives it, which is code."""
        data = self.recipe.data
        if data is not None and names_function(data.data):
            raise ConfigError(
                f"{self.dense.parent / _RECIPE}: data.data: {data.data!r} names a function, and a recipe may not run "
                "code",
                f"if you trust it, give --data {data.data}",
            )
        return data and DataOptions(**data.model_dump(include=set(DataOptions.model_fields)))


def read_run_folder(folder: Path) -> RunFolder:
    """The run in `folder`; ConfigError where it is none.

    ModelError where it did not end: a model is missing, or an earlier run made it from another model.
    """
    path = folder / _RECIPE
    if not path.is_file():
        raise ConfigError(
            f"{folder}: expected the folder of a run, with {_RECIPE}, got another folder",
            "give the folder that tightc run wrote, or a model",
        )
    recipe = resolve_paths(read_options(path, Recipe), folder)
    stages = ("dense", *(step.stage for step in recipe.stages))
    names = zip(stages, stage_names(stages[1:]), strict=True)
    models = [folder / f"{name}.onnx" for stage, name in names if stage not in REPORT_STAGES]
    for model in models:
        if not model.is_file():
            raise ModelError(f"{model}: no such file: the run did not end", _AGAIN)
    _require_chain(models)
    return RunFolder(recipe, models[0], models[-1])


def _require_chain(models: Sequence[Path]) -> None:
    """ModelError where one of `models` was not made from the one before it."""
    before = load_model(models[0])
    for path in models[1:]:
        model = load_model(path)
        history = read_history(model)
        if not history or history[-1].get("input") != before.sha256:
            raise ModelError(
                f"{path}: expected a model that was made from {before.origin}, got another: the run did not end",
                _AGAIN,
            )
        before = model
