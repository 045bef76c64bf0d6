"""Rows of a report, flat: as CSV for spreadsheets, or for a data frame."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tightc.names import escape


def rows_as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """A line of names and one for each row; mappings within rows are columns of their own, such as `parts.macs`.

    The columns are those of all rows, in the order in which they are first seen; what a row lacks, or None, is empty.
    """
    flat = [{name: _text(value) for name, value in flat_row(row).items()} for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    if columns:
        writer.writeheader()
        writer.writerows(flat)
    return stream.getvalue()


def flat_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with mappings as columns of their own, such as `parts.macs`."""
    return dict(_cells(row))


def _cells(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _cells(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _text(value: Any) -> Any:
    """As JSON writes it, but lists with spaces between their items, and text escaped, line breaks excepted."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return " ".join(str(_text(item)) for item in value)
    return "\n".join(map(escape, value.split("\n"))) if isinstance(value, str) else value
