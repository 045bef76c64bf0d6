"""Reports as tables."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tightc.cli.uncovered import uncovered_lines
from tightc.inspection.options import SPARSITIES
from tightc.report import Figures, Report

_LOSSES = {"accuracy_drop": "drop at", "divergence": "KL at"}
# what a stage's table shows, in this order; everything is in --json
_COLUMNS = {
    "inspect": "name operator matrix vectors density empty_filters empty_inputs macs "
    + " ".join(f"{figure}_at_{sparsity}" for figure in _LOSSES for sparsity in SPARSITIES),
    "prune": "name operator matrix weights nonzeros density",
    "finetune": "name nonzeros density",
    "quantize": "name operator matrix weights nonzeros rounded_to_zero error input_scale",
    "run": "stage accuracy density matrix_compression_rate passes cycles speedup energy_gain bytes state",
    "simulate": "name matrix vectors method passes cycles stall_cycles dense_cycles speedup utilisation roof energy_pj "
    "energy_gain engine_cycles value_error",
    "compare": "model variant passes cycles stall_cycles speedup over_column_combine energy_pj energy_gain "
    "energy_gain_over_column_combine matrix_compression_rate dropped_weights packed_bits fan_in_max",
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
    "stall_cycles": "stalls",
    "engine_cycles": "engine cycles",
    "value_error": "value error",
    "vectors": "M",
    "matrix": "N x K",
    "empty_filters": "empty filters",
    "empty_inputs": "empty inputs",
    "fan_in_max": "fan-in",
    "lane_inputs": "lane inputs",
    "energy_pj": "energy",
    "energy_gain": "energy gain",
    "over_column_combine": "vs combining",
    "energy_gain_over_column_combine": "energy vs combining",
    "dropped_weights": "dropped",
    "rounded_to_zero": "to zero",
    "input_scale": "input scale",
    "packed_bits": "bits",
    **{
        f"{figure}_at_{sparsity}": f"{title} {sparsity}"
        for figure, title in _LOSSES.items()
        for sparsity in SPARSITIES
    },
}
_RATIOS = {"matrix_compression_rate", "pass_compression", "speedup", "energy_gain", "bit_compression"}
_RATIOS |= {"over_column_combine", "energy_gain_over_column_combine"}
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
    *(f"divergence_at_{sparsity}" for sparsity in SPARSITIES),
    "stall_cycles",
    "packed_bits",
    "energy_gain_over_column_combine",
    "dropped_weights",
    "method",
    "roof",
    "utilisation",
    "dense_cycles",
    "energy_pj",
    "dense_passes",
    "lane_inputs",
    "operator",
]
_FIRST_TO_GO += ["energy_gain", "empty_filters", "empty_inputs", "weights", "nonzeros", "fan_in_max"]
_SHORTEST_NAME = 16
_WIDE = 1000


def summary(report: Report) -> str:
    """The report in one line."""
    figures = [f"{name} {shown(name, report.totals[name])}" for name in _SUMMARY if name in report.totals]
    return f"{report.stage}: {', '.join(figures)}"


def render(report: Report, *, to_stderr: bool) -> None:
    """Prints the layers, the totals and the notes; of inspect also what is not covered."""
    console = console_on(to_stderr=to_stderr)
    columns = _COLUMNS.get(report.stage, _PACKED_COLUMNS).split()
    if report.layers:
        columns = [column for column in columns if _tells(column, report.layers)]
        console.print(table(columns, report.layers, console.width))
    for name, value in report.totals.items():
        if not _is_nested(value):
            console.print(f"{name.removesuffix('_pj')}: {shown(name, value)}", highlight=False, markup=False)
    for line in uncovered_lines(report, whole=True) if report.stage == "inspect" else ():
        console.print(line, highlight=False, markup=False)
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
        spare = max(0, needs.get("name", 0) - _SHORTEST_NAME)
        if sum(needs.values()) + gaps * (len(needs) - 1) - spare > width:
            needs.pop(column, None)
    if "name" in needs:
        room = width - sum(needs.values()) - gaps * (len(needs) - 1) + needs["name"]
        texts["name"] = [_from_the_end(name, max(room, _SHORTEST_NAME)) for name in texts["name"]]
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, gaps, 0, 0))
    for column in needs:
        is_text = column in ("name", "operator", "method", "stage", "state", "roof", "model", "variant")
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
    if name.startswith("accuracy_drop_at"):
        return f"{value:.2f}"
    if name in ("value_error", "error", "input_scale"):
        return f"{value:.1e}"
    if name.endswith("_pj"):
        return f"{value / 1e6:,.2f} uJ" if value >= 1e4 else f"{value / 1e3:,.2f} nJ"
    if name in _RATIOS:
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


def _is_nested(value: Any) -> bool:
    """Whether a figure is many, which only JSON shows."""
    return isinstance(value, Mapping) or (
        isinstance(value, list) and any(isinstance(e, Mapping) for e in value)
    )


def _tells(column: str, rows: Sequence[Figures]) -> bool:
    """Whether a column has anything to say: some are there on request only, and without buffers nothing stalls."""
    if column in ("roof", "engine_cycles", "value_error") or column.startswith(tuple(_LOSSES)):
        return column in rows[0]
    if column == "model":
        return len({row[column] for row in rows}) > 1
    if column in ("stall_cycles", "over_column_combine", "energy_gain_over_column_combine"):
        return any(row[column] for row in rows)
    return True


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
