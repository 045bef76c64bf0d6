"""The annealing curves of a permuted model: metadata property `tightc.annealing`, JSON with an entry for each weight.

They describe how the packings were found, for reports. Nothing is computed from them, so they have no digest, and what
writes packings anew drops them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.file_format.headers import PERMUTE_AGAIN
from tightc.model.onnx_proto.metadata import ANNEALING, get_property, read_json, set_property

_SERIES = ("moves", "cost", "excess")


def with_annealing(model: Model, curves: Mapping[str, Mapping[str, Any]]) -> Model:
    """`model` with the `curves` recorded, by weight; none where they are empty."""
    proto = model.copy_proto()
    set_property(proto, ANNEALING, json.dumps(curves, separators=(",", ":")) if curves else None)
    return model.with_proto(proto)


def read_annealing(model: Model) -> dict[str, dict[str, list[float]]]:
    """The curves that permute recorded in `model`, by weight; empty where there are none, as in a packed model.

    Each has the series `moves`, `cost` and `excess`, of equal length. ModelError where they cannot be read.
    """
    text = get_property(model.proto, ANNEALING)
    try:
        record = read_json(text or "{}")
        if not isinstance(record, dict):
            raise ValueError("expected an object, got something else")
        return {weight: _curve(entry) for weight, entry in record.items()}
    except ValueError as fault:
        raise ModelError(f"{model.origin}: its {ANNEALING} is damaged ({fault})", PERMUTE_AGAIN) from None


def _curve(entry: Any) -> dict[str, list[float]]:
    """The series of one layer; ValueError where they are something else."""
    found: dict[str, list[float]] = {}
    for name in _SERIES:
        series = entry.get(name) if isinstance(entry, dict) else None
        if not isinstance(series, list) or not all(map(_is_count, series)):
            raise ValueError(f"expected a list of numbers from 0 as {name}, got something else")
        found[name] = series
    if len({len(series) for series in found.values()}) != 1:
        raise ValueError("expected as many moves as costs and excesses, got other numbers")
    return found


def _is_count(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf
