"""The rows of a run: the names of its stages, and the drops of accuracy between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tightc.recipe.recipe import REPORT_STAGES

Row = dict[str, Any]
DENSE = "00-dense"


def stage_names(stages: Iterable[str]) -> Iterator[str]:
    """The names of the dense model and of the `stages` of a recipe, in order."""
    yield DENSE
    made, taken = 0, set[str]()
    for stage in stages:
        made += stage not in REPORT_STAGES
        name = stage_name(stage, made, taken)
        taken.add(name)
        yield name


def stage_name(stage: str, models_made: int, taken: set[str]) -> str:
    """The name of a stage: with the number of the model that it makes or reads, and not one of those `taken`."""
    name = f"{models_made:02}-{stage}"
    while name in taken:
        name += "-again"
    return name


def add_drops(rows: list[Row], *, validation: bool) -> None:
    """Puts into each of `rows` the drop of accuracy below the dense model's on the same images.

    With a `validation` split each row says which images its accuracy is of: the test set is read by evaluate alone.
    Before the first stage evaluate measures the dense model.
    """
    dense: dict[str, float] = {}
    for row in rows:
        split = "validation" if validation and row["stage"] != "evaluate" else "test"
        accuracy = row["accuracy"]
        if accuracy is not None and row["name"].startswith("00-"):
            dense.setdefault(split, accuracy)
        reference = dense.get(split)
        row["accuracy_drop"] = None if reference is None or accuracy is None else reference - accuracy
        if validation:
            row["split"] = split if accuracy is not None else None
