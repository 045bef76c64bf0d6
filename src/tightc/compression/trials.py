"""Trials: trainings to a sparsity or a gain, each a run of a recipe in a folder of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tightc.accelerator.options import AcceleratorOptions, HardwareOptions
from tightc.compression.goals import GOALS
from tightc.compression.options import CompressOptions
from tightc.compression.progress import TrialProgress
from tightc.compression.splits import Reference
from tightc.compression.target import Target
from tightc.evaluation.drop import Drop
from tightc.finetuning.options import TrainingOptions
from tightc.model.file import load_model
from tightc.packing.options import PackOptions
from tightc.permutation.options import PermuteOptions
from tightc.recipe.recipe import Recipe, RecipeData, RecipeEvaluate, RecipeFinetune, Step
from tightc.recipe.run import run_resolved
from tightc.recipe.stage_runner import OpenedImages
from tightc.report import Figures
from tightc.selection.budget import Kind
from tightc.simulation.options import SimulateOptions

PACKED = "03-pack"  # the name of the packed model in the folder of a run
FIGURES = ("density", "passes", "cycles", "speedup", "energy_gain", "matrix_compression_rate", "bytes")


@dataclass(frozen=True)
class Trial:
    """A training to `target` that has ended: its folder, its drop on held-out images, the figures of its packing."""

    target: Target
    epochs: int
    folder: Path
    drop: Drop
    figures: Figures

    def is_within(self, options: CompressOptions) -> bool:
        """Whether the drop is within `--max-drop` by `--margin` standard errors."""
        return self.drop.points + options.margin * self.drop.error <= options.max_drop

    def row(self, options: CompressOptions) -> dict[str, Any]:
        """The row of the table of trials."""
        return {
            "name": self.folder.name,
            **self.target.figure,
            "epochs": self.epochs,
            "drop": self.drop.points,
            "drop_error": self.drop.error,
            "within": self.is_within(options),
            **self.figures,
        }


@dataclass
class Trials:
    """Runs trials of the `recipe`, or takes those that have ended from `folder`; `done` has them in order.

    `kind`: of the budget that they search, None for a sparsity.
    """

    recipe: Recipe
    kind: Kind | None
    folder: Path
    opened: OpenedImages
    reference: Reference
    progress: TrialProgress
    done: list[Trial] = field(default_factory=list)

    def run(self, factor: float, epochs: int) -> Trial:
        """Train to `factor` for so many `epochs`, pack and measure; trained once where it is asked for again."""
        target = Target(factor, self.kind)
        folder = self.folder / f"{target.slug}-epochs-{epochs}"
        self.progress.begin(target, epochs)
        recipe = with_training(self.recipe, target, epochs)
        report = run_resolved(recipe, folder, opened=self.opened, progress=self.progress)
        row = next(row for row in report.layers if row["name"] == PACKED)
        drop = self.reference.drop(load_model(folder / f"{PACKED}.onnx"))
        trial = Trial(target, epochs, folder, drop, {name: row[name] for name in FIGURES})
        self.progress.end(epochs, trained=report.layers[1]["state"] == "done")
        if trial.folder not in [other.folder for other in self.done]:
            self.done.append(trial)
        return trial


def chain(model: str, options: CompressOptions, data: RecipeData, *, seed: int) -> Recipe:
    """The chain for the goal of `options`; `with_training` gives it a target and epochs."""
    goal = GOALS[options.goal]
    hardware = _given(options, AcceleratorOptions)
    search = {"fan_in": options.fan_in} if "fan_in" in options.model_fields_set else {}
    permute = PermuteOptions.of(
        {
            **hardware,
            **search,
            "objective": goal.objective,
            "temp_schedule": options.temp_schedule,
            "jobs": options.jobs,
        }
    )
    training = {name: getattr(options, name) for name in TrainingOptions.model_fields if name != "validation"}
    pruning: dict[str, Any] = {"sparsity": 0.0}
    if goal.kind is not None:
        pruning = {
            **{name: value for name, value in hardware.items() if name in HardwareOptions.model_fields},
            "fan_in": permute.fan_in if isinstance(permute.fan_in, int) else None,
            "budget": f"{goal.kind}=2",
            "tile_heights": goal.heights(permute.array),
            "criterion": "balanced",
        }
    finetune = RecipeFinetune.of(
        {
            **training,
            **pruning,
            "align": goal.align(permute.array),
            "skip": options.skip,
            "teacher": options.teacher is not None,
        }
    )
    simulate = SimulateOptions.of({name: value for name, value in hardware.items() if name != "array"})
    stages = (
        Step(finetune=finetune),
        Step(permute=permute),
        Step(pack=PackOptions(strip=goal.strip)),
        Step(simulate=simulate),
    )
    return Recipe(model=model, data=data, teacher=options.teacher, seed=seed, stages=stages)


def with_training(recipe: Recipe, target: Target, epochs: int) -> Recipe:
    """`recipe` with the target and the length of its training."""
    first, *others = recipe.stages
    assert first.finetune is not None, "the chain begins with it"
    finetune = first.finetune.model_copy(update={**target.options, "epochs": epochs})
    return recipe.model_copy(update={"stages": (Step(finetune=finetune), *others)})


def with_evaluation(recipe: Recipe, *, by_teacher: bool) -> Recipe:
    """`recipe` that reads the test set too: for the accuracy of the dense and packed model, or the agreement."""
    evaluate = Step(evaluate=RecipeEvaluate(teacher=by_teacher))
    stages = (*recipe.stages, evaluate) if by_teacher else (evaluate, *recipe.stages, evaluate)
    return recipe.model_copy(update={"stages": stages})


def _given(options: CompressOptions, kind: type[AcceleratorOptions]) -> dict[str, Any]:
    """The options of `kind` that were given."""
    return {name: getattr(options, name) for name in kind.model_fields if name in options.model_fields_set}
