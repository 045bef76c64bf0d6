"""The annealing curves that permute recorded, in the model or in the record of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tightc.model.file import Model
from tightc.model.layer_view.layers import Network
from tightc.model.packings.annealing_record import read_annealing
from tightc.recipe.run_folder import RunFolder

Curve = Mapping[str, list[float]]
_SERIES = ("moves", "cost", "excess")


def curves_of_model(model: Model, network: Network) -> dict[str, Curve]:
    """The curves recorded in `model`, by the labels of the layers; empty without any."""
    found = read_annealing(model)
    return {layer.label: found[layer.weight] for layer in network.owners if layer.weight in found}


def curves_of_run(run: RunFolder) -> dict[str, Curve]:
    """The curves in the record of the last permute of `run`, by the labels of the layers; empty without any."""
    stages = [row["name"] for row in run.rows if row["stage"] == "permute"]
    layers = run.reports[stages[-1]].get("layers") if stages else None
    rows = layers if isinstance(layers, list) else []
    return {
        str(row["label"]): row["annealing"]
        for row in rows
        if isinstance(row, dict) and "label" in row and _is_curve(row.get("annealing"))
    }


def _is_curve(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    series = [value.get(name) for name in _SERIES]
    return (
        all(isinstance(one, list) and all(map(_is_count, one)) for one in series)
        and len({len(one) for one in series if isinstance(one, list)}) == 1
    )


def _is_count(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < float("inf")
