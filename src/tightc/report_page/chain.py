"""The chain that made a model, stage by stage: the records of its run, or the history in the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tightc.config.options import Options, inner_options
from tightc.memory import memory_text
from tightc.names import escape
from tightc.recipe.recipe import Step
from tightc.report import Figures
from tightc.report_page.subject import Subject
from tightc.reporting.text import column_title, shown

_COLUMNS = (
    "accuracy",
    "accuracy_drop",
    "density",
    "matrix_compression_rate",
    "passes",
    "cycles",
    "speedup",
    "energy_gain",
    "bytes",
)
_MOST_OPTIONS = 8


@dataclass(frozen=True)
class Chain:
    """The stages of one subject: a heading for each column, and a row of cells for each stage."""

    letter: str
    columns: tuple[str, ...]
    stages: tuple[tuple[str, str, tuple[str, ...]], ...]  # stage, its options, its cells
    missing: tuple[str, ...]


def chain(subject: Subject) -> Chain:
    """The stages of `subject`: with figures where it is a run, else from the model's history."""
    given = [(str(entry.get("stage", "?")), _options(entry)) for entry in subject.history]
    if not subject.stages:
        stages = tuple((escape(stage), options, ()) for stage, options in given)
        return Chain(subject.letter, (), stages, ())
    columns = tuple(
        column for column in _COLUMNS if any(row.get(column) is not None for row in subject.stages)
    )
    unread = list(given)
    rows = []
    for row in subject.stages:
        options = ""
        if unread and unread[0][0] == row["stage"]:
            options = unread.pop(0)[1]
        rows.append((str(row["stage"]), options, tuple(_cell(column, row) for column in columns)))
    titles = tuple(_title(column) for column in columns)
    return Chain(subject.letter, titles, tuple(rows), subject.missing)


def _title(column: str) -> str:
    return {"accuracy_drop": "drop", "bytes": "file"}.get(column, column_title(column))


def _cell(column: str, row: Figures) -> str:
    value = row.get(column)
    if value is None:
        return "–"
    if column == "accuracy_drop":
        return f"{value:.2f}"
    return memory_text(value) if column == "bytes" else shown(column, value)


def _options(entry: Mapping[str, Any]) -> str:
    """The options of a stage that are not the defaults, in one line."""
    options = entry.get("options")
    if not isinstance(options, Mapping):
        return ""
    defaults = _defaults(str(entry.get("stage")))
    texts = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in options.items()
        if isinstance(value, str | int | float) and value != "" and str(value) != defaults.get(str(name))
    ]
    more = f" and {len(texts) - _MOST_OPTIONS} more" if len(texts) > _MOST_OPTIONS else ""
    return escape(", ".join(texts[:_MOST_OPTIONS]) + more)


def _defaults(stage: str) -> dict[str, str]:
    """The defaults of a stage's options, as text."""
    field = Step.model_fields.get(stage)
    kind = inner_options(field.annotation) if field else None
    if kind is None or not issubclass(kind, Options):
        return {}
    return {
        name: str(field.get_default(call_default_factory=True))
        for name, field in kind.model_fields.items()
        if not field.is_required()
    }
