"""The packed models beside the records, measured anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

import tightc
from results.folder import Record, ResultsFolder
from results.rows import packed_row
from results.table import read_table
from tightc.config.yaml import parse_options
from tightc.errors import DataError
from tightc.model.file import Model, load_model
from tightc.model.layer_view.image_classifier import image_input
from tightc.recipe.recipe import RecipeData
from tightc.simulation.options import SimulateOptions

_POINTS = 0.1  # of accuracy, that another processor's rounding may move: ten images of CIFAR-10's test set
_EXACT = ("passes", "cycles", "matrix_compression_rate")


@dataclass(frozen=True)
class Checked:
    """A model measured anew: each figure as (recorded, found), and whether its bytes are those of runs.csv."""

    run_id: str
    figures: dict[str, tuple[float, float]]
    same_bytes: bool = True

    @property
    def agrees(self) -> bool:
        """Whether bytes, passes, cycles and compression are equal, and accuracy within rounding."""
        return self.same_bytes and all(
            abs(found - recorded) <= (_POINTS if figure == "accuracy" else 1e-9 * abs(recorded))
            for figure, (recorded, found) in self.figures.items()
        )

    def __str__(self) -> str:
        figures = ", ".join(
            f"{figure} {found:.6g} ({recorded:.6g})" for figure, (recorded, found) in self.figures.items()
        )
        other = "" if self.same_bytes else ", other bytes than in runs.csv"
        return f"{self.run_id}: {figures}{other}: {'agrees' if self.agrees else 'DIFFERS'}"


def check(record: Record, results: ResultsFolder) -> Checked | None:
    """The packed model of `record` evaluated and simulated again; None where it was not kept.

    DataError where the data is not at the place that the record names.
    """
    run_id = record["id"]
    path = results.model(run_id)
    if not path.exists():
        return None
    model, row = load_model(path), packed_row(record)
    found = {"accuracy": _accuracy(model, record, results), **_simulated(model, record)}
    listed = read_table(results).get(run_id, {})
    return Checked(
        run_id,
        {figure: (row[figure], value) for figure, value in found.items()},
        listed.get("sha256") == results.model_sha256(run_id),
    )


def _accuracy(model: Model, record: Record, results: ResultsFolder) -> float:
    data = _options(record["recipe"]["data"], record, RecipeData)
    located = results.runs / data.data
    if located.exists():
        data = data.model_copy(update={"data": str(located)})
    elif ":" not in data.data:
        raise DataError(f"{located}: no such data", "put it there to check what was measured on it")
    images = data.open("test", image_input(model.proto, model.origin).shape)
    report = tightc.evaluate(model, tightc.NormalizedImages(images, data.normalization))
    return float(report.totals["accuracy"])


def _simulated(model: Model, record: Record) -> dict[str, float]:
    stages = [stage["simulate"] for stage in record["recipe"]["stages"] if "simulate" in stage]
    # What is off or empty is left out, so that a record does not depend on options that were not used.
    used = {key: value for key, value in (stages[0] if stages else {}).items() if value}
    options = _options(used, record, SimulateOptions).model_copy(update={"array": None, "verify": False})
    totals = tightc.simulate(model, options).totals
    return {figure: totals[figure] for figure in _EXACT}


def _options(recorded: dict[str, Any], record: Record, kind: type[Any]) -> Any:
    return parse_options(yaml.safe_dump(recorded), f"{record['id']}.json", kind)
