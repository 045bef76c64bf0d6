"""All that is made of the records: runs.csv, the drawing and the tables of the page."""

from __future__ import annotations

import sys

from results.drawing import draw
from results.folder import ResultsFolder
from results.matrix import Matrix
from results.page import rewrite
from results.rows import measured_rows
from results.table import table_text
from tightc.files import write_file_atomically


def write_pages(results: ResultsFolder, matrix: Matrix) -> None:
    """Writes runs.csv, the drawing, and the tables of README.md with the comparisons of `matrix`.

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
    exists = networks and results.drawing.exists()
    rewrite(results.page, records, matrix.comparisons, results.drawing.name if exists else None)
