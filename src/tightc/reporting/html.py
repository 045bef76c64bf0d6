"""Reports as HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from tightc.names import message_text
from tightc.report import Report
from tightc.reporting.text import (
    TEXT_COLUMNS,
    cell_text,
    closing_lines,
    column_title,
    labels_of,
    table_columns,
    totals_lines,
    why_lines,
)


def report_html(report: Report) -> str:
    """A table of the layers, a list of the totals, and the notes."""
    parts = []
    if report.layers:
        columns = table_columns(report)
        head = "".join(f"<th>{escape(column_title(column))}</th>" for column in columns)
        labels = labels_of(report.layers)
        rows = "".join(
            f"<tr>{''.join(_cell(column, cell_text(column, row, labels)) for column in columns)}</tr>"
            for row in report.layers
        )
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")
    parts += [_list(why_lines(report)), _list(totals_lines(report)), _list(closing_lines(report))]
    return f"<div><b>{escape(report.stage)}</b>{''.join(parts)}</div>"


def _cell(column: str, text: str) -> str:
    side = "left" if column in TEXT_COLUMNS else "right"
    return f'<td style="text-align: {side}">{escape(message_text(text))}</td>'


def _list(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""
