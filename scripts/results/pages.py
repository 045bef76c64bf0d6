"""All that is made of the records: runs.csv, the drawing and the tables of the pages."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from results.drawing import draw
from results.folder import Record, ResultsFolder
from results.matrix import Matrix
from results.page import headlines, rewrite, surroundings, tables, titled_table
from results.rows import measured_rows
from results.table import table_text
from tightc.files import write_file_atomically


def write_pages(results: ResultsFolder, matrix: Matrix) -> None:
    """Writes runs.csv, the drawing, and the pages: the headlines of `matrix` and all tables.

    OptionError where a page is missing. Without matplotlib the drawing stays, and a line on stderr says so.
    """
    records = results.read_records()
    networks = measured_rows(_untitled(records, matrix))
    if networks:
        write_file_atomically(results.table, table_text(records, results).encode())
        try:
            write_file_atomically(results.drawing, draw(networks))
        except ModuleNotFoundError as missing:
            print(f"no drawing without {missing.name}: pip install -e '.[scripts]'", file=sys.stderr)
    for page, bodies in page_bodies(results, matrix).items():
        rewrite(page, bodies)


def page_bodies(results: ResultsFolder, matrix: Matrix) -> dict[Path, dict[str, str]]:
    """What each page has between its marks, by their name; budgets.md only where groups of `matrix` have a title."""
    records = results.read_records()
    drawing = results.drawing.name if records and results.drawing.exists() else None
    titled = {group.title: [row.name for row in group.rows] for group in matrix.experiments if group.title}
    found = {
        results.page: {
            "headlines": headlines(records, matrix.comparisons, matrix.published),
            "experiments": _joined(tables(_untitled(records, matrix), drawing), surroundings(records)),
        }
    }
    if titled:
        of_groups = (titled_table(records, title, names) for title, names in titled.items())
        found[results.budgets] = {"experiments": _joined(*of_groups)}
    return found


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _untitled(records: Sequence[Record], matrix: Matrix) -> list[Record]:
    """The records whose rows are in the table of their network."""
    apart = {row.name for group in matrix.experiments if group.title for row in group.rows}
    return [record for record in records if record["row"] not in apart]
