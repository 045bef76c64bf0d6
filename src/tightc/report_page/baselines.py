"""Baselines: the variants in the JSON that `tightc compare --json` prints."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tightc.errors import ConfigError
from tightc.input_file import read_stream
from tightc.names import escape
from tightc.report import Figures
from tightc.reporting.text import column_title, shown

_MOST_BYTES = 2**26
_COLUMNS = (
    "passes",
    "cycles",
    "speedup",
    "energy_gain",
    "matrix_compression_rate",
    "tightness",
    "dropped_weights",
    "fan_in_max",
    "area_mm2",
    "speedup_per_area",
)
_NEEDED = ("passes", "cycles", "speedup", "energy_gain")
_SAME = ("array", "arrays", "hardware", "dataflow", "energy_table", "hardware_file")


@dataclass(frozen=True)
class Variant:
    """A variant of a model: what it is called, its measures, and its cells."""

    name: str
    figures: Figures
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Baselines:
    """The variants of a file, and how the accelerator they were compared on differs from that of the page."""

    columns: tuple[str, ...]
    variants: tuple[Variant, ...]
    differences: tuple[str, ...]


def read_baselines(path: Path, totals: Figures) -> Baselines:
    """The variants in the file at `path`, for a page whose network has `totals`.

    ConfigError where it is not what `tightc compare --json` prints.
    """
    rows, compared = _read(path)
    columns = tuple(column for column in _COLUMNS if any(row.get(column) is not None for row in rows))
    several = len({row.get("model") for row in rows}) > 1
    variants = tuple(
        Variant(
            escape(f"{row.get('model')}: {row['variant']}" if several else row["variant"]),
            row,
            tuple("–" if row.get(column) is None else shown(column, row[column]) for column in columns),
        )
        for row in rows
    )
    differences = tuple(
        f"{name.replace('_', ' ')} {escape(str(compared.get(name)))}"
        for name in _SAME[:-1]
        if compared.get(name) != totals.get(name)
    )
    if not differences and compared.get("hardware_file") != totals.get("hardware_file"):
        differences = ("another hardware file",)
    return Baselines(tuple(map(column_title, columns)), variants, differences)


def _read(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(the rows, the totals) of the file."""
    try:
        report = json.loads(read_stream(path, _MOST_BYTES, ConfigError))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file", "check the path of --compare") from None
    except (OSError, ValueError, RecursionError) as fault:
        raise _wrong(path, f"what is not JSON ({fault})") from None
    schema = report.get("schema") if isinstance(report, dict) else None
    if not isinstance(schema, str) or not schema.startswith("tightc.compare/"):
        raise _wrong(path, "a file without its schema" if schema is None else f"the schema {schema!r}")
    rows, totals = report.get("layers"), report.get("totals")
    if not isinstance(rows, list) or not rows or not isinstance(totals, dict):
        raise _wrong(path, "one without variants")
    for row in rows:
        if not isinstance(row, dict) or not isinstance(row.get("variant"), str):
            raise _wrong(path, "a variant without a name")
        if not isinstance(row.get("model"), str | None):
            raise _wrong(path, f"{row['model']!r} as the model of {row['variant']}")
        wrong = next((name for name in _COLUMNS if not _is_figure(row.get(name), name in _NEEDED)), None)
        if wrong is not None:
            raise _wrong(path, f"{row.get(wrong)!r} as the {wrong} of {row['variant']}")
    return rows, totals


def _is_figure(value: object, is_needed: bool) -> bool:
    if value is None:
        return not is_needed
    return type(value) in (int, float) and 0 <= value <= sys.float_info.max  # type: ignore[operator]


def _wrong(path: Path, found: str) -> ConfigError:
    return ConfigError(
        f"{path}: expected the JSON object of tightc compare, got {found}",
        "write the file again with tightc compare, as JSON",
    )
