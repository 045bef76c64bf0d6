"""Run a recipe: stage after stage, with a table of what each did to the network."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from tightc.config.yaml import read_options
from tightc.data.images import Images, Split
from tightc.evaluation.evaluate import evaluate
from tightc.evaluation.options import EvaluateOptions
from tightc.files import write_whole
from tightc.finetuning.finetune import finetune
from tightc.finetuning.options import FinetuneOptions
from tightc.model.arrangement import recorded_weights
from tightc.model.figures import density_figures
from tightc.model.file import Model, load_model, save_model
from tightc.model.image_input import image_input
from tightc.model.layers import read_network
from tightc.model.packed import unpack_layers
from tightc.packing.pack import pack
from tightc.permutation.permute import permute
from tightc.pruning.prune import prune
from tightc.recipe.recipe import Recipe, Step
from tightc.recipe.workspace import Workspace, data_key, key_of
from tightc.report import Listener, Report, silent
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tiles.array import ArrayShape

Row = dict[str, Any]


def run_recipe(path: Path, folder: Path, *, seed: int | None = None, listener: Listener = silent) -> Report:
    """Runs the recipe at `path` in `folder`; stages whose input and options did not change are not run again.

    `folder` gets the model and the record of every stage and the recipe with all options resolved; `seed` replaces
    the recipe's where it is given. The report has a row for the model that the recipe starts from and one for each
    stage.
    """
    recipe = read_options(path, Recipe)
    workspace = Workspace.at(folder)
    recipe = _from_folder(recipe, path.parent, folder)
    if seed is not None:
        recipe = recipe.model_copy(update={"seed": seed})
    work = _Work(recipe, workspace, listener)
    write_whole(folder / "recipe.yaml", resolved(recipe).encode())
    rows = [work.start()]
    for number, step in enumerate(recipe.stages, 1):
        rows.append(work.step(f"{number:02}-{step.stage}", step))
    totals = {
        "model": Path(recipe.model).name,
        "folder": str(folder),
        "seed": recipe.seed,
        "array": str(work.array),
    }
    return Report("run", {**totals, "version": version("tightc")}, tuple(rows))


def resolved(recipe: Recipe) -> str:
    """The recipe as YAML with every default filled in; it reads back as the same recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json", exclude_none=True), sort_keys=False)


def _from_folder(recipe: Recipe, base: Path, folder: Path) -> Recipe:
    """`recipe` with the paths that are relative to `base` made relative to `folder`."""

    def moved(text: str) -> str:
        path = Path(text).expanduser()
        return text if path.is_absolute() else os.path.relpath(base / path, folder)

    changes: dict[str, Any] = {"model": moved(recipe.model)}
    if recipe.data and (base / recipe.data.data).exists():  # it may name a function instead
        changes["data"] = recipe.data.model_copy(update={"data": moved(recipe.data.data)})
    return recipe.model_copy(update=changes)


@dataclass
class _Work:
    """A run in progress; the recipe's paths are relative to the workspace's folder.

    `model` is what the last stage made, `listener` tells which stage its tasks belong to.
    """

    recipe: Recipe
    workspace: Workspace
    outer: Listener
    listener: Listener = silent
    model: Model = field(init=False)
    opened: dict[Split, Images] = field(default_factory=dict)

    def start(self) -> Row:
        """Loads the recipe's model and measures it."""
        self.listener = _named("00-dense", self.outer)
        self.model = self.dense
        key = key_of("dense", self.model.sha256, self._data_key, str(self.array), version("tightc"))
        record = self.workspace.done("00-dense", key)
        if record is not None:
            return {**record["row"], "state": "unchanged"}
        row = self._measure("dense", self.model)
        self.workspace.keep("00-dense", key, self.model, {"row": row})
        return row

    def step(self, name: str, step: Step) -> Row:
        """Runs one stage, or takes its result from the workspace."""
        options = step.options.model_dump(mode="json")
        context = [self._data_key, str(self.array), self.dense.sha256 if options.get("teacher") else ""]
        key = key_of(step.stage, options, self.recipe.seed, self.model.sha256, context, version("tightc"))
        record = self.workspace.done(name, key)
        if record is not None:
            self.outer(name, 1.0, {"": "unchanged"})
            if self.workspace.model_path(name).is_file():
                self.model = self.workspace.load(name)
            return {**record["row"], "state": "unchanged"}
        self.listener = _named(name, self.outer)
        changed, report = self._stages[step.stage](step.options)
        if changed is not None:
            save_model(changed, self.workspace.model_path(name))
            self.model = self.workspace.load(name)
        row = self._measure(step.stage, self.model) if changed else self._report_row(step.stage, report)
        self.workspace.keep(name, key, changed, {"row": row, "report": report.as_json()})
        return row

    @cached_property
    def dense(self) -> Model:
        """The model that the recipe starts from."""
        return load_model(self.workspace.folder / Path(self.recipe.model).expanduser())

    @cached_property
    def array(self) -> ArrayShape:
        """The array of the table: that of permute, else of simulate, else 32x32."""
        steps = [step.options for step in self.recipe.stages if step.stage in ("permute", "simulate")]
        return next((options.array for options in steps if options.array), ArrayShape(32, 32))

    @property
    def _stages(self) -> dict[str, Callable[[Any], tuple[Model | None, Report]]]:
        return {
            "prune": lambda options: prune(self.model, options),
            "finetune": self._finetune,
            "permute": lambda options: permute(
                self.model, options, seed=self.recipe.seed, listener=self.listener
            ),
            "pack": lambda _: pack(self.model),
            "simulate": lambda options: (None, simulate(self.model, options)),
            "evaluate": lambda options: (None, self._evaluate(self.model, options)),
        }

    def _finetune(self, options: Any) -> tuple[Model, Report]:
        given = options.model_dump()
        teacher = self.dense if given.pop("teacher") else None
        return finetune(
            self.model,
            self._images("train"),
            self._data.normalisation,
            FinetuneOptions(**given),
            seed=self.recipe.seed,
            teacher=teacher,
            listener=self.listener,
        )

    def _evaluate(self, model: Model, options: EvaluateOptions) -> Report:
        return evaluate(
            model, self._images("test"), self._data.normalisation, options, listener=self.listener
        )

    @cached_property
    def _data(self) -> Any:
        """The recipe's data, its path relative to the recipe."""
        data = self.recipe.data
        assert data is not None, "the recipe was checked: stages that need data have it"
        beside = self.workspace.folder / data.data
        return data.model_copy(update={"data": str(beside)}) if beside.exists() else data

    @cached_property
    def _data_key(self) -> str:
        return data_key(self._data.data) if self.recipe.data else ""

    def _images(self, split: Split) -> Images:
        if split not in self.opened:
            shape = image_input(self.dense.proto, self.dense.origin).shape
            self.opened[split] = self._data.open(split, shape)
        return self.opened[split]

    def _measure(self, stage: str, model: Model) -> Row:
        """The row of a stage that made `model`."""
        arranged = recorded_weights(model.proto)
        run = simulate(model, SimulateOptions(array=None if arranged else self.array)).totals
        density, _ = density_figures(read_network(unpack_layers(model)))
        row: Row = {"stage": stage, "state": "done", "accuracy": None}
        if self.recipe.data:
            row["accuracy"] = self._evaluate(model, EvaluateOptions()).totals["accuracy"]
        row |= {"density": density["density"], "matrix_compression_rate": run.get("matrix_compression_rate")}
        row |= {name: run[name] for name in ("passes", "cycles", "speedup", "energy_gain")}
        return {**row, "bytes": len(model.to_bytes())}

    def _report_row(self, stage: str, report: Report) -> Row:
        """The row of a stage that only reports: the figures that it gave."""
        names = (
            "accuracy",
            "density",
            "matrix_compression_rate",
            "passes",
            "cycles",
            "speedup",
            "energy_gain",
        )
        return {
            "stage": stage,
            "state": "done",
            **{name: report.totals.get(name) for name in names},
            "bytes": None,
        }


def _named(stage: str, outer: Listener) -> Listener:
    """A listener that tells which stage a task belongs to."""
    return lambda task, done, figures: outer(
        stage if stage.endswith(task) else f"{stage} {task}", done, figures
    )
