"""The parts of a report as text: tables of the layers, the totals and the notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rich.table import Table

from tightc.inspection.options import SPARSITIES
from tightc.names import escape, message_text
from tightc.report import Figures, Report
from tightc.reporting.fitting import Column, Fitted, fit, split
from tightc.reporting.uncovered import uncovered_lines

_LOSSES = {"accuracy_drop": "drop at", "divergence": "KL at"}
# the columns of each stage's table, in order; everything is in --json
_COLUMNS = {
    "inspect": "name operator type matrix vectors density empty_filters dead_filters empty_inputs macs "
    + " ".join(f"{figure}_at_{sparsity}" for figure in _LOSSES for sparsity in SPARSITIES),
    "prune": "name operator matrix weights nonzeros density",
    "finetune": "name nonzeros density",
    "quantize": "name operator matrix weights nonzeros rounded_to_zero error input_scale",
    "run": "stage accuracy split density matrix_compression_rate passes cycles speedup energy_gain bytes state",
    "compress": "sparsity budget epochs drop drop_error within passes cycles speedup energy_gain "
    "matrix_compression_rate bytes",
    "simulate": "name matrix vectors method passes gap cycles stall_cycles dense_cycles speedup utilisation roof "
    "energy_pj energy_gain engine_cycles value_error",
    "rtl": "name matrix vectors method passes cycles requantized reads simulated_cycles bytes_by_rounding",
    "compare": "model variant passes cycles stall_cycles speedup latency_ms area_mm2 speedup_per_area "
    "over_column_combine over_column_combine_per_area energy_pj energy_gain "
    "energy_gain_over_zero_gated energy_gain_over_column_combine matrix_compression_rate dropped_weights "
    "packed_bits fan_in_max",
    "explore": "number model sparsity method array fan_in status by cycles speedup energy_pj energy_gain area_mm2 "
    "packed_bytes accuracy passes",
    "check": "name value operator limit result",
    "diff": "name change weights_changed largest_change density passes cycles energy_pj bytes method type",
    "verify": "name kind type values differing largest_difference error result",
}
_PACKED_COLUMNS = (
    "name matrix nonzeros passes passes_lower_bound gap dense_passes "
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
    "dead_filters": "dead filters",
    "empty_inputs": "empty inputs",
    "fan_in_max": "fan-in",
    "lane_inputs": "lane inputs",
    "energy_pj": "energy",
    "energy_gain": "energy gain",
    "over_column_combine": "vs combining",
    "over_column_combine_per_area": "per area vs combining",
    "energy_gain_over_zero_gated": "energy vs gated",
    "energy_gain_over_column_combine": "energy vs combining",
    "dropped_weights": "dropped",
    "rounded_to_zero": "to zero",
    "input_scale": "input scale",
    "packed_bits": "bits",
    "drop_error": "±",
    "area_mm2": "mm2",
    "latency_ms": "ms",
    "packed_bytes": "bytes",
    "number": "N",
    "speedup_per_area": "per area",
    "simulated_cycles": "simulated cycles",
    "bytes_by_rounding": "rounded",
    "shape": "array",
    "dram": "DRAM",
    **{
        f"{figure}_at_{sparsity}": f"{title} {sparsity}"
        for figure, title in _LOSSES.items()
        for sparsity in SPARSITIES
    },
}
_RATIOS = {"matrix_compression_rate", "pass_compression", "speedup", "energy_gain", "bit_compression"}
_RATIOS |= {"speedup_per_area", "over_column_combine"}
_RATIOS |= {"energy_gain_over_column_combine", "energy_gain_over_zero_gated", "over_column_combine_per_area"}
_SUMMARY = (
    "weights",
    "nonzeros",
    "density",
    "matrix_compression_rate",
    "passes",
    "passes_lower_bound",
    "bytes_out",
    "passed",
    "equal",
)
_LEAST_NEEDED = [
    "state",
    *(f"divergence_at_{sparsity}" for sparsity in SPARSITIES),
    "energy_gain_over_zero_gated",
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
    "type",
    "operator",
    "largest_change",
    "weights_changed",
]
_LEAST_NEEDED += [
    "gap",
    "empty_filters",
    "dead_filters",
    "empty_inputs",
    "weights",
    "nonzeros",
    "fan_in_max",
    "density",
    "energy_gain",
]
# what a row is of: in every table, never cut
_KEYS = {"name", "stage", "model", "variant", "number"}
# the totals that are shown although the last line of the report sums up the others
_KEPT_TOTALS = {"simulate": {"verified_layers", "value_error"}, "run": set[str]()}
TEXT_COLUMNS = {
    "name",
    "operator",
    "type",
    "method",
    "stage",
    "split",
    "state",
    "roof",
    "model",
    "variant",
    "status",
    "reads",
    "shape",
    "clock",
    "buffers",
    "dram",
    "result",
    "change",
    "kind",
}
_NO_LABELS: Mapping[str, str] = MappingProxyType({})


def summary(report: Report) -> str:
    """The report in one line."""
    figures = [f"{name} {shown(name, report.totals[name])}" for name in _SUMMARY if name in report.totals]
    return f"{report.stage}: {', '.join(figures)}"


def table_columns(report: Report) -> list[str]:
    """The columns of the table of the layers: those of the stage that hold something."""
    columns = _COLUMNS.get(report.stage, _PACKED_COLUMNS).split()
    return [column for column in columns if _is_filled(column, report.layers)]


def why_lines(report: Report) -> Iterator[str]:
    """A line for each layer that says why it gains what it gains, where that was asked for."""
    labels = labels_of(report.layers)
    for row in report.layers:
        if "why" in row:
            yield message_text(f"{cell_text('name', row, labels)}: {row['why']}")


def totals_lines(report: Report) -> Iterator[str]:
    """A line for each measure of the network; nested ones are in JSON only, and so are lists without entries."""
    return _lines_of(report.totals)


def short_totals_lines(report: Report) -> Iterator[str]:
    """The lines of `totals_lines` that have a value, without those that the last line of a report sums up."""
    kept = _KEPT_TOTALS.get(report.stage, report.totals)
    found = {name: value for name, value in report.totals.items() if name in kept and value is not None}
    return _lines_of(found)


def _lines_of(totals: Figures) -> Iterator[str]:
    for name, value in totals.items():
        if not _is_nested(value) and value != []:
            yield message_text(f"{name.removesuffix('_pj').removesuffix('_uj')}: {shown(name, value)}")


def closing_lines(report: Report) -> Iterator[str]:
    """What inspect does not cover, then the notes."""
    if report.stage == "inspect":
        yield from uncovered_lines(report, whole=True)
    yield from note_lines(report)


def note_lines(report: Report) -> Iterator[str]:
    """A line for each note."""
    for note in report.notes:
        yield message_text(f"note: {note}")


def fitted_table(
    columns: Sequence[str], rows: Sequence[Figures], width: int, labels: Mapping[str, str] = _NO_LABELS
) -> Fitted:
    """One table of `rows` with the columns that `width` characters have room for; numbers are right-aligned.

    Those of _LEAST_NEEDED are left out first, in that order. `labels`: as of labels_of.
    """
    made = _columns(columns, rows, labels)
    return fit(list(made.values()), width, [made[name] for name in _LEAST_NEEDED if name in made])


def whole_tables(columns: Sequence[str], rows: Sequence[Figures], width: int) -> Iterator[Table]:
    """Tables of `rows` that have all columns together, each no wider than `width` characters."""
    return split(list(_columns(columns, rows, labels_of(rows)).values()), width)


def left_out_line(left_out: Sequence[Column], remedy: str) -> str:
    """Which columns a table has no room for."""
    return f"no room for {', '.join(column.title for column in left_out)}; {remedy}"


def _columns(columns: Sequence[str], rows: Sequence[Figures], labels: Mapping[str, str]) -> dict[str, Column]:
    return {
        name: Column(
            column_title(name),
            tuple(cell_text(name, row, labels) for row in rows),
            left=name in TEXT_COLUMNS,
            key=name in _KEYS,
            shortens=name == "name",
        )
        for name in columns
    }


def shown(name: str, value: Any) -> str:
    """A measure as people read it, with its unit."""
    if value is None:
        return "-"
    if is_pair(value):
        one, two = (shown(name, value[side]) for side in "ab")
        return one if one == two else f"{one} -> {two}"
    if name in ("value", "limit"):  # of a requirement, in the unit of its measure
        is_large = isinstance(value, int) or value.is_integer() or abs(value) >= 1e5
        return f"{value:,.0f}" if is_large else f"{value:.6g}"
    if name in ("accuracy", "train_accuracy", "validation_accuracy"):
        return f"{value:.2f} %"
    if name.startswith("accuracy_drop_at") or name in ("drop", "drop_error"):
        return f"{value:.2f}"
    if name in ("output_error", "largest_change", "largest_difference"):
        return f"{value:.1e}" if value else "0"
    if name == "sparsity":
        return f"{value:g}"
    if name in ("value_error", "error", "input_scale"):
        return f"{value:.1e}"
    if name.endswith("_pj"):
        return f"{value / 1e6:,.2f} uJ" if value >= 1e4 else f"{value / 1e3:,.2f} nJ"
    if name.endswith("_uj"):
        return shown("_pj", 1e6 * value)
    if name in _RATIOS:
        return f"{value:.2f}x"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, int):
        return f"{value:,}"
    return (", ".join(map(str, value)) or "-") if isinstance(value, list) else str(value)


def is_pair(value: Any) -> bool:
    """Whether a figure is that of two models beside each other."""
    return isinstance(value, Mapping) and value.keys() == {"a", "b"}


def _is_nested(value: Any) -> bool:
    """Whether a figure is many, which only JSON shows."""
    return (isinstance(value, Mapping) and not is_pair(value)) or (
        isinstance(value, list) and any(isinstance(e, Mapping) for e in value)
    )


def _is_filled(column: str, rows: Sequence[Figures]) -> bool:
    """Whether a column holds anything: some are measured on request only, and without buffers nothing stalls."""
    if column in (
        "roof",
        "engine_cycles",
        "value_error",
        "simulated_cycles",
        "bytes_by_rounding",
        "area_mm2",
        "speedup_per_area",
        "latency_ms",
    ) or column.startswith(tuple(_LOSSES)):
        return column in rows[0]
    if column == "by":
        return any(row[column] for row in rows)
    if column in ("sparsity", "accuracy"):
        return any(row.get(column) is not None for row in rows)
    if column in ("split", "budget"):
        return column in rows[0]
    if is_pair(rows[0].get(column)):
        return any(row[column]["a"] != row[column]["b"] for row in rows)
    if column in ("weights_changed", "largest_change"):
        return any(row[column] != 0 for row in rows)
    if column == "change":
        return any(row[column] != "changed" for row in rows)
    if column == "gap":
        return any(row.get(column) is not None for row in rows)
    if column == "model":
        return len({row[column] for row in rows}) > 1
    if column == "over_column_combine" and "over_column_combine_per_area" in rows[0]:
        return False
    if column == "over_column_combine_per_area":
        return any(row.get(column) for row in rows)
    if column in ("stall_cycles", "over_column_combine", "energy_gain_over_column_combine"):
        return any(row[column] for row in rows)
    return True


def column_title(column: str) -> str:
    """The heading of a column."""
    return _TITLES.get(column, column.replace("_", " "))


def labels_of(rows: Sequence[Figures]) -> dict[str, str]:
    """The readable name of each layer by its name; `rows` of another kind have none."""
    return {row["name"]: row["label"] for row in rows if "label" in row}


def cell_text(column: str, row: Figures, labels: Mapping[str, str] = _NO_LABELS) -> str:
    """A cell of the table of the layers, escaped. `labels`: as of labels_of, for the layers that rows refer to."""
    if column == "matrix":
        groups = f" x {row['groups']}" if row["groups"] > 1 else ""
        return f"{row['filters']} x {row['inputs']}{groups}"
    if column == "name":
        own = row.get("label", row["name"])
        shared = row.get("shares")
        return escape(f"{own} (weight of {labels.get(shared, shared)})" if shared else own)
    if column == "reads":
        return escape(shown(column, labels.get(row[column], row[column])))
    if column == "gap":  # a layer without a packing has none
        return shown(column, row.get(column))
    return escape(shown(column, row[column]))
