"""All that is made of the records: runs.csv, the drawing and the tables of the page."""

from __future__ import annotations

import sys

from results.drawing import draw
from results.folder import ResultsFolder
from results.matrix import Matrix
from results.page import headlines, rewrite, tables
from results.rows import measured_rows
from results.table import table_text
from tightc.files import write_file_atomically


def write_pages(results: ResultsFolder, matrix: Matrix) -> None:
    """Writes runs.csv, the drawing, and into README.md the headlines of `matrix` and the tables.

    OptionError where the page is missing. Without matplotlib the drawing stays, and a line on stderr says so.
    """
    records = results.read_records()
    networks = measured_rows(records)
    if networks:
        write_file_atomically(results.table, table_text(records, results).encode())
        try:
            write_file_atomically(results.drawing, draw(networks))
        except ModuleNotFoundError as missing:
            print(f"no drawing without {missing.name}: pip install -e '.[scripts]'", file=sys.stderr)
    rewrite(results.page, page_bodies(results, matrix))


def page_bodies(results: ResultsFolder, matrix: Matrix) -> dict[str, str]:
    """What README.md has between its marks, by their name."""
    records = results.read_records()
    drawing = results.drawing.name if records and results.drawing.exists() else None
    return {
        "headlines": headlines(records, matrix.comparisons, matrix.published),
        "experiments": tables(records, drawing),
    }
