"""What came of a compression: its report, and the sentence where the drop was not kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tightc.compression.goals import GOALS
from tightc.compression.options import CompressOptions
from tightc.compression.target import Target
from tightc.compression.trials import FIGURES, PACKED, Trial
from tightc.errors import GoalError
from tightc.evaluation.drop import Drop
from tightc.recipe.recipe import Recipe
from tightc.recipe.workspace import PAGE
from tightc.report import Figures, Report


@dataclass(frozen=True)
class Chosen:
    """The `trial` that was chosen, its drop on the `test` set, and its accuracy there, None without labels."""

    trial: Trial
    test: Drop
    accuracy: float | None

    def is_within(self, most: float) -> bool:
        """Whether the drop is at most `most` points on the held-out images and on the test set."""
        return all(drop.points <= most for drop in (self.trial.drop, self.test))  # NaN is not within


@dataclass(frozen=True)
class Outcome:
    """A search with `options` in `folder`: its trials, its result, None where no trial was within the drop.

    `coverage`: the operators of the network that stay dense, and the fraction of the MACs that the others do.
    """

    options: CompressOptions
    recipe: Recipe
    folder: Path
    trials: Sequence[Trial]
    result: Chosen | None
    coverage: tuple[tuple[Figures, ...], float | None]
    notes: tuple[str, ...]

    def report(self) -> Report:
        """The totals of the result, and a row for each trial."""
        options, result, permute = self.options, self.result, self.recipe.stages[1].permute
        page = self.folder / PAGE
        assert permute is not None and self.trials, "the chain has it, and at least one trial ran"
        totals: dict[str, Any] = {
            "model": Path(self.recipe.model).name,
            "goal": options.goal,
            "max_drop": options.max_drop,
            "met": result is not None and result.is_within(options.max_drop),
            "drop_of": self.trials[0].drop.kind,
            **self._drops(),
            "accuracy": result and result.accuracy,
            "accuracy_drop": result.test.points if result and result.accuracy is not None else None,
            **({"sparsity": None} if result is None else result.trial.target.figure),
            "epochs": result and result.trial.epochs,
            **{name: result and result.trial.figures[name] for name in FIGURES},
            "trials": len(self.trials),
            "seed": self.recipe.seed,
            "array": str(permute.array),
            "macs_covered": self.coverage[1],
            "version": version("tightc"),
            "folder": str(self.folder),
            "recipe": str(self.folder / "recipe.yaml") if result else None,
            "packed": str(self.folder / f"{PACKED}.onnx") if result else None,
            "report": str(page) if result and page.is_file() else None,
        }
        rows = [trial.row(options) for trial in self.trials]
        return Report("compress", totals, rows, self.coverage[0], self.notes)

    def _drops(self) -> dict[str, Any]:
        """The drop on the held-out images and on the test set, each with its standard error and number of images."""
        result = self.result
        held_out, test = (result.trial.drop, result.test) if result else (None, None)
        return {
            "validation_drop": held_out and held_out.points,
            "validation_drop_error": held_out and held_out.error,
            "validation_images": self.trials[0].drop.images,
            "drop": test and test.points,
            "drop_error": test and test.error,
            "images": test and test.images,
        }


def check_goal(report: Report) -> None:
    """GoalError where the drop of a report of compress was not kept: which one, and what may help."""
    totals = report.totals
    most = totals["max_drop"]
    if totals["met"]:
        return
    if totals["epochs"] is None:
        raise _no_trial(report)
    for name, images in (("validation_drop", "the held-out images"), ("drop", "the test set")):
        if not totals[name] <= most:
            raise GoalError(
                f"--max-drop {most:g}: the result, to {_target(totals)}, loses "
                f"{_points(totals[name], totals[f'{name}_error'])} on {images}",
                "raise --max-drop, --epochs or --validation" + (", or --margin" if name == "drop" else ""),
            )


def _no_trial(report: Report) -> GoalError:
    """The error where no trial was within the drop; its remedy follows from the trial that pruned nothing."""
    most, rows = report.totals["max_drop"], report.layers
    nothing = str(Target(1.0, GOALS[report.totals["goal"]].kind))
    dense = next(row for row in rows if _target(row) == nothing)
    pruning = [row for row in rows if row is not dense]
    least = min((pruning or rows) if dense["within"] else rows, key=lambda row: float(row["drop"]))
    if dense["within"]:
        remedy = "raise --max-drop, --trials or --trial-epochs"
    elif dense["drop"] <= most:
        remedy = "hold out more images with --validation, or lower --margin"
    else:
        remedy = (
            "if MODEL was trained on these images, add --validation-from test; else raise --trial-epochs, or lower "
            "--learning-rate"
        )
    return GoalError(
        f"--max-drop {most:g}: no trial {'that prunes ' if dense['within'] else ''}was within it; the nearest, "
        f"to {_target(least)}, loses "
        f"{_points(least['drop'], least['drop_error'])} on {report.totals['validation_images']} held-out images",
        remedy,
    )


def _target(figures: Figures) -> str:
    """The sparsity or the budget of a trial."""
    return f"{figures['budget']}" if "budget" in figures else f"sparsity {figures['sparsity']:g}"


def _points(drop: float, error: float) -> str:
    return f"{drop:.2f} ± {error:.2f} points"
