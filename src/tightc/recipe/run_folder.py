"""The folder of a run as later commands read it: its models and its data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tightc.config.yaml import read_options
from tightc.data.function import names_function
from tightc.data.options import DataOptions
from tightc.errors import ConfigError, ModelError
from tightc.recipe.recipe import REPORT_STAGES, Recipe
from tightc.recipe.run import resolve_paths

_RECIPE = "recipe.yaml"
_DENSE = "00-dense.onnx"


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
    """The run in `folder`; ConfigError where it is none, ModelError where its last model is missing."""
    path = folder / _RECIPE
    if not path.is_file():
        raise ConfigError(
            f"{folder}: expected the folder of a run, with {_RECIPE}, got another folder",
            "give the folder that tightc run wrote, or a model",
        )
    recipe = resolve_paths(read_options(path, Recipe), folder)
    made = [step.stage for step in recipe.stages if step.stage not in REPORT_STAGES]
    last = folder / (f"{len(made):02}-{made[-1]}.onnx" if made else _DENSE)
    for model in (folder / _DENSE, last):
        if not model.is_file():
            raise ModelError(f"{model}: no such file: the run did not end", "run tightc run again")
    return RunFolder(recipe, folder / _DENSE, last)
