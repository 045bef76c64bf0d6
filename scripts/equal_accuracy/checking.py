"""The packed models beside the records, measured anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

import tightc
from equal_accuracy.running import Record
from equal_accuracy.settings import packed_row
from tightc.config.yaml import parse_options
from tightc.errors import DataError
from tightc.model.file import Model, load_model
from tightc.model.layer_view.image_classifier import image_input
from tightc.recipe.recipe import Recipe
from tightc.simulation.options import SimulateOptions

_POINTS = 0.1  # of accuracy, that another processor's rounding may move: ten images of CIFAR-10's test set
_EXACT = ("passes", "cycles", "matrix_compression_rate")


@dataclass(frozen=True)
class Checked:
    """A model measured anew: each figure as (recorded, found), and whether they agree."""

    name: str
    figures: dict[str, tuple[float, float]]

    @property
    def agrees(self) -> bool:
        """Whether accuracy differs by no more than rounding may, and the others in nothing."""
        return all(
            abs(found - recorded) <= (_POINTS if figure == "accuracy" else 1e-9 * abs(recorded))
            for figure, (recorded, found) in self.figures.items()
        )

    def __str__(self) -> str:
        shown = (
            f"{figure} {found:.6g} ({recorded:.6g})" for figure, (recorded, found) in self.figures.items()
        )
        return f"{self.name}: {', '.join(shown)}: {'agrees' if self.agrees else 'DIFFERS'}"


def check(record: Record, results: Path) -> Checked | None:
    """The packed model of `record` evaluated and simulated again; None where it was too large to keep.

    DataError where the data is not at the place that the record names.
    """
    path = results / f"{record['name']}.onnx"
    if not path.exists():
        return None
    model, row = load_model(path), packed_row(record)
    recipe = parse_options(yaml.safe_dump(record["recipe"]), f"{record['name']}.json", Recipe)
    found = {"accuracy": _accuracy(model, recipe, results), **_simulated(model, recipe)}
    return Checked(record["name"], {figure: (row[figure], value) for figure, value in found.items()})


def _accuracy(model: Model, recipe: Recipe, results: Path) -> float:
    assert recipe.data is not None, "a record with a packed row has its accuracy"
    located = results / recipe.data.data
    data = recipe.data
    if located.exists():
        data = data.model_copy(update={"data": str(located)})
    elif ":" not in data.data:
        raise DataError(f"{located}: no such data", "put it there to check what was measured on it")
    images = data.open("test", image_input(model.proto, model.origin).shape)
    report = tightc.evaluate(model, tightc.NormalizedImages(images, data.normalization))
    return float(report.totals["accuracy"])


def _simulated(model: Model, recipe: Recipe) -> dict[str, float]:
    options = next((step.simulate for step in recipe.stages if step.simulate), SimulateOptions())
    totals = tightc.simulate(model, options.model_copy(update={"array": None, "verify": False})).totals
    return {figure: totals[figure] for figure in _EXACT}
