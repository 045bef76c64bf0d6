"""The table of all layers: a row for each layer, with the measures of one or two subjects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tightc.names import escape
from tightc.report import LayerReport
from tightc.report_page.subject import Subject
from tightc.reporting.text import cell_text, column_title, shown

_SHAPE = ("matrix", "vectors")
_OF_ONE = (
    "density",
    "dense_passes",
    "passes",
    "passes_lower_bound",
    "dense_cycles",
    "cycles",
    "cycles_fraction",
    "stall_cycles",
    "speedup",
    "tightness",
    "fan_in_max",
    "energy_gain",
    "roof",
)
_OF_EACH = ("density", "passes", "cycles", "speedup", "tightness", "energy_gain")
_OPTIONAL = ("stall_cycles", "roof")
_TEXTS = ("roof",)


@dataclass(frozen=True)
class Column:
    """A column: its measure, heading, the letter of its subject, and whether it holds texts."""

    name: str
    title: str
    letter: str
    is_text: bool


@dataclass(frozen=True)
class Cell:
    """A cell: its text, and the number or text that it is sorted by."""

    text: str
    key: float | str


@dataclass(frozen=True)
class Row:
    """A layer: its number within the page, its name and operator, and its cells."""

    number: int
    name: str
    operator: str
    cells: tuple[Cell, ...]


def layer_names(subjects: Sequence[Subject]) -> list[str]:
    """The names of all layers, those of the first subject first."""
    return list(dict.fromkeys(str(row["name"]) for subject in subjects for row in subject.rows))


def layer_labels(subjects: Sequence[Subject]) -> dict[str, str]:
    """The readable name of each layer by its name, in the order of layer_names."""
    rows = [row for subject in reversed(subjects) for row in subject.rows]
    labels = {str(row["name"]): str(row["label"]) for row in rows}
    return {name: labels[name] for name in layer_names(subjects)}


def layer_cycles(subjects: Sequence[Subject]) -> dict[str, int]:
    """The cycles of each layer, of all subjects together."""
    cycles = dict.fromkeys(layer_names(subjects), 0)
    for subject in subjects:
        for row in subject.rows:
            cycles[str(row["name"])] += row["cycles"]
    return cycles


def layer_columns(subjects: Sequence[Subject]) -> list[Column]:
    """The columns of the table; those that are empty for every layer are left out."""
    names = _OF_ONE if len(subjects) == 1 else _OF_EACH
    columns = [Column(name, column_title(name), "", name in _TEXTS) for name in _SHAPE]
    for name in names:
        for subject in subjects:
            if name not in _OPTIONAL or any(row.get(name) for row in subject.rows):
                columns.append(Column(name, _title(name), subject.letter, name in _TEXTS))
    return columns


def layer_rows(subjects: Sequence[Subject]) -> Iterator[Row]:
    """A row for each layer of any subject."""
    columns = layer_columns(subjects)
    found = {subject.letter: _measures(subject) for subject in subjects}
    for number, name in enumerate(layer_names(subjects)):
        first = next(rows[name] for rows in found.values() if name in rows)
        cells = tuple(
            _cell(column.name, found[column.letter].get(name) if column.name not in _SHAPE else first)
            for column in columns
        )
        yield Row(number, escape(str(first["label"])), escape(str(first["operator"])), cells)


def densities(subject: Subject) -> list[float]:
    """The density of each layer."""
    return [
        float(np.count_nonzero(subject.network.weights[layer.weight])) / (layer.filters * layer.inputs)
        for layer in subject.network.layers
    ]


def _title(name: str) -> str:
    return {"cycles_fraction": "of cycles", "passes_lower_bound": "bound"}.get(name, column_title(name))


def _measures(subject: Subject) -> dict[str, dict[str, Any]]:
    """The measures of each layer by its name, with those that only the page has."""
    cycles = max(1, subject.totals["cycles"])
    return {
        str(row["name"]): {**row, "density": density, "cycles_fraction": row["cycles"] / cycles}
        for row, density in zip(subject.rows, densities(subject), strict=True)
    }


def _cell(name: str, row: dict[str, Any] | LayerReport | None) -> Cell:
    if row is not None and name == "matrix":
        return Cell(cell_text(name, row).replace(" x ", " × "), row["filters"] * row["inputs"])
    value = row.get(name) if row else None
    if value is None:
        return Cell("–", "")
    if name in _TEXTS:
        return Cell(str(value), str(value))
    if name in ("cycles_fraction", "density"):
        return Cell(f"{100 * value:.1f} %", value)
    return Cell(shown(name, value), value)
