"""runs.csv: a line for each run, with the figures as they are in its record."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from results.folder import Record, ResultsFolder
from results.rows import Measured, packed_row

_FIGURES = (
    "validation_accuracy", "accuracy", "accuracy_drop", "density", "matrix_compression_rate", "tightness", "passes",
    "cycles", "speedup", "energy_gain", "bytes",
)  # fmt: skip
COLUMNS = (
    "id", "row", "network", "method", "changes", "seed", "chosen_on", "epochs", "fan_in", "dense_accuracy", *_FIGURES,
    "seconds", "tightc", "model", "sha256",
)  # fmt: skip


def table_text(records: Sequence[Record], results: ResultsFolder) -> str:
    """The lines of `records`, by id, as CSV; what a run did not measure is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for record in sorted(records, key=lambda one: one["id"]):
        writer.writerow(_line(record, results))
    return text.getvalue()


def read_table(results: ResultsFolder) -> dict[str, dict[str, str]]:
    """The lines of runs.csv by id; none without the file."""
    if not results.table.exists():
        return {}
    with results.table.open(encoding="utf-8", newline="") as lines:
        return {line["id"]: line for line in csv.DictReader(lines)}


def _line(record: Record, results: ResultsFolder) -> dict[str, Any]:
    run_id = record["id"]
    measured = packed_row(record) or _last_measured(record)
    sha256 = results.model_sha256(run_id)
    figures = {name: _number(measured.get(name)) for name in _FIGURES}
    return {
        "id": run_id,
        "row": record["row"],
        "network": record["network"],
        "method": record["method"],
        "changes": "; ".join(f"{key}={value}" for key, value in record["changes"].items()),
        "seed": record["seed"],
        "chosen_on": record["chosen_on"],
        "epochs": record["epochs"],
        "fan_in": Measured((record,)).fan_in,
        "dense_accuracy": _number(_dense_accuracy(measured)),
        **figures,
        "seconds": record["seconds"],
        "tightc": record["versions"]["tightc"],
        "model": f"models/{run_id}.onnx" if sha256 else "",
        "sha256": sha256 or "",
    }


def _last_measured(record: Record) -> dict[str, Any]:
    """Of a dense network, which starts from random weights: there is no drop."""
    rows = [row for row in record["rows"] if row.get("accuracy") is not None]
    held_out = [row["accuracy"] for row in rows if row.get("split") == "validation"]
    if not rows:
        return {}
    return {**rows[-1], "accuracy_drop": None, "validation_accuracy": held_out[-1] if held_out else None}


def _dense_accuracy(measured: dict[str, Any]) -> float | None:
    """On the test set, of the network that the run starts from."""
    drop = measured.get("accuracy_drop")
    return None if drop is None else float(measured["accuracy"] + drop)


def _number(value: float | None) -> str:
    """Ten digits, so that 1.9200000000000017 reads 1.92."""
    return "" if value is None else f"{value:.10g}"
