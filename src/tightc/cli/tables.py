"""Reports as tables."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tightc.report import Figures, Report

# what a stage's table shows, in this order; everything is in --json
_COLUMNS = {
    "inspect": "name operator matrix vectors density empty_filters empty_inputs macs",
    "prune": "name operator matrix weights nonzeros density",
    "finetune": "name nonzeros density",
    "run": "stage accuracy density matrix_compression_rate passes cycles speedup energy_gain bytes state",
    "simulate": "name matrix vectors method passes cycles dense_cycles speedup utilisation energy_pj energy_gain",
}
_PACKED_COLUMNS = (
    "name matrix nonzeros passes passes_lower_bound dense_passes "
    "matrix_compression_rate tightness fan_in_max lane_inputs"
)
_TITLES = {
    "matrix_compression_rate": "compression",
    "passes_lower_bound": "bound",
    "dense_passes": "dense passes",
    "dense_cycles": "dense cycles",
    "vectors": "M",
    "matrix": "N x K",
    "empty_filters": "empty filters",
    "empty_inputs": "empty inputs",
    "fan_in_max": "fan-in",
    "lane_inputs": "lane inputs",
    "energy_pj": "energy",
    "energy_gain": "energy gain",
}
_SUMMARY = (
    "weights",
    "nonzeros",
    "density",
    "matrix_compression_rate",
    "passes",
    "passes_lower_bound",
    "bytes_out",
)
_FIRST_TO_GO = [
    "method",
    "utilisation",
    "dense_cycles",
    "energy_pj",
    "dense_passes",
    "lane_inputs",
    "operator",
]
_FIRST_TO_GO += ["energy_gain", "empty_filters", "empty_inputs", "weights", "nonzeros"]
_SHORTEST_NAME = 16
_WIDE = 1000


def summary(report: Report) -> str:
    """The report in one line."""
    figures = [f"{name} {shown(name, report.totals[name])}" for name in _SUMMARY if name in report.totals]
    return f"{report.stage}: {', '.join(figures)}"


def render(report: Report, *, to_stderr: bool) -> None:
    """Prints the layers, the totals, what is not covered and the notes."""
    console = console_on(to_stderr=to_stderr)
    columns = _COLUMNS.get(report.stage, _PACKED_COLUMNS).split()
    if report.layers:
        console.print(table(columns, report.layers, console.width))
    for name, value in report.totals.items():
        if not isinstance(value, Mapping):
            console.print(f"{name.removesuffix('_pj')}: {shown(name, value)}", highlight=False, markup=False)
    for entry in report.uncovered:
        macs = "unknown" if entry["macs"] is None else f"{entry['macs']:,}"
        text = f"not covered: {entry['operator']} {entry['name']} ({macs} MACs): {entry['reason']}"
        console.print(text, highlight=False, markup=False)
    for note in report.notes:
        console.print(f"note: {note}", highlight=False, markup=False)


def table(columns: Sequence[str], rows: Sequence[Figures], width: int) -> Table:
    """A table of `rows`, one column for each key in `columns`; numbers are right-aligned.

    Where `width` characters do not do, the columns of _FIRST_TO_GO are left out one by one, then names lose their
    beginning, which layers of a network share.
    """
    texts = {column: [_cell(column, row) for row in rows] for column in columns}
    needs = {column: max(map(len, [_title(column), *cells])) for column, cells in texts.items()}
    gaps = 2
    for column in _FIRST_TO_GO:
        if sum(needs.values()) + gaps * (len(needs) - 1) - needs.get("name", 0) + _SHORTEST_NAME > width:
            needs.pop(column, None)
    if "name" in needs:
        room = width - sum(needs.values()) - gaps * (len(needs) - 1) + needs["name"]
        texts["name"] = [_from_the_end(name, max(room, _SHORTEST_NAME)) for name in texts["name"]]
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, gaps, 0, 0))
    for column in needs:
        is_text = column in ("name", "operator", "method", "stage", "state")
        made.add_column(_title(column), justify="left" if is_text else "right", no_wrap=True)
    for cells in zip(*(texts[column] for column in needs), strict=True):
        made.add_row(*(Text(cell, no_wrap=True) for cell in cells))  # Text: names may hold brackets
    return made


def shown(name: str, value: Any) -> str:
    """A figure as people read it."""
    if value is None:
        return "-"
    if name in ("accuracy", "train_accuracy"):
        return f"{value:.2f} %"
    if name.endswith("_pj"):
        return f"{value / 1e6:,.2f} uJ" if value >= 1e4 else f"{value / 1e3:,.2f} nJ"
    if name in ("matrix_compression_rate", "pass_compression", "speedup", "energy_gain", "bit_compression"):
        return f"{value:.2f}x"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, int):
        return f"{value:,}"
    return (", ".join(map(str, value)) or "-") if isinstance(value, list) else str(value)


def console_on(*, to_stderr: bool) -> Console:
    """A console that does not fold tables where nobody sees its width."""
    stream = sys.stderr if to_stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _WIDE)


def _title(column: str) -> str:
    return _TITLES.get(column, column.replace("_", " "))


def _from_the_end(name: str, length: int) -> str:
    return name if len(name) <= length else "…" + name[len(name) - length + 1 :]


def _cell(column: str, row: Figures) -> str:
    if column == "matrix":
        groups = f" x {row['groups']}" if row["groups"] > 1 else ""
        return f"{row['filters']} x {row['inputs']}{groups}"
    if column == "name" and row.get("shares"):
        return f"{row['name']} (weight of {row['shares']})"
    return shown(column, row[column])
