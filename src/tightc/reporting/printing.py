"""A whole report as text, as wide as a terminal: its tables, totals, notes and main figures."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from tightc.report import Report
from tightc.reporting.headline import headlines, main_rows
from tightc.reporting.text import (
    closing_lines,
    fitted_table,
    labels_of,
    left_out_line,
    short_totals_lines,
    table_columns,
    totals_lines,
    whole_tables,
    why_lines,
)

_FALLBACK_TERMINAL = (120, 24)
_REMEDY = "-v shows all, --json and --csv have them"


def report_text(report: Report) -> str:
    """The whole report, as wide as the terminal, or 120 characters where there is none."""
    width = shutil.get_terminal_size(_FALLBACK_TERMINAL).columns
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=width, no_color=True), whole=True)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def print_report(report: Report, console: Console, *, whole: bool) -> None:
    """Writes the table of the layers, the totals, the notes and the main figures to `console`.

    Without the `whole`, a table has the columns that there is room for, and simulate's the layers of most cycles; the
    totals that the last line sums up are left out. For inspect also what is not covered is written.
    """
    for part in _table_parts(report, console.width, whole=whole):
        if isinstance(part, str):
            console.print(part, highlight=False, markup=False)
        else:
            console.print(part)
    totals = totals_lines(report) if whole else short_totals_lines(report)
    for line in (*why_lines(report), *totals, *closing_lines(report), *headlines(report)):
        console.print(line, highlight=False, markup=False)


def _table_parts(report: Report, width: int, *, whole: bool) -> Iterator[Table | str]:
    """The table of the layers, and lines on what it leaves out."""
    if not report.layers:
        return
    columns = table_columns(report)
    if whole:
        for number, part in enumerate(whole_tables(columns, report.layers, width)):
            if number:
                yield ""
            yield part
        return
    rows, rest = main_rows(report)
    fitted = fitted_table(columns, rows, width, labels_of(report.layers))
    yield fitted.table
    if rest:
        yield rest
    if fitted.left_out:
        yield left_out_line(fitted.left_out, _REMEDY)
