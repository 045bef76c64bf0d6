"""What simulate and run say at their end, and the rows that simulate shows without -v."""

from __future__ import annotations

from typing import Any

import pytest

from tightc.report import Report
from tightc.reporting.headline import headlines, main_rows

TOTALS = {
    "array": "16x16",
    "hardware": "ideal",
    "speedup": 7.021,
    "energy_gain": 4.566,
    "passes": 1041,
    "passes_lower_bound": 1039,
    "gap": 2,
}
DENSE = {name: value for name, value in TOTALS.items() if name not in ("passes_lower_bound", "gap")}
ROW = {"name": "one", "cycles": 5}


@pytest.mark.parametrize(
    ("totals", "line"),
    [
        (TOTALS, "ideal 16x16: speedup 7.02x, energy gain 4.57x, 1,041 passes (bound 1,039, gap 2)"),
        (
            {**TOTALS, "hardware": "tight-16x16"},
            "tight-16x16: speedup 7.02x, energy gain 4.57x, 1,041 passes (bound 1,039, gap 2)",
        ),
        (
            {**TOTALS, "hardware": "tight-32x32"},
            "tight-32x32 16x16: speedup 7.02x, energy gain 4.57x, 1,041 passes (bound 1,039, gap 2)",
        ),
        # tiles of one layer take several passes
        (
            {**TOTALS, "passes": 1500},
            "ideal 16x16: speedup 7.02x, energy gain 4.57x, 1,500 passes (gap of the tiles 2)",
        ),
        (DENSE, "ideal 16x16: speedup 7.02x, energy gain 4.57x, 1,041 passes"),
        (
            {**TOTALS, "gap": None, "dropped_weights": 1200},
            "ideal 16x16: speedup 7.02x, energy gain 4.57x, 1,041 passes, 1,200 weights dropped",
        ),
    ],
)
def test_a_simulation_ends_with_its_gains_and_its_passes_beside_the_bound(
    totals: dict[str, Any], line: str
) -> None:
    assert list(headlines(Report("simulate", totals, [ROW]))) == [line]


def test_other_reports_and_one_without_layers_have_no_such_line() -> None:
    assert (
        list(headlines(Report("simulate", TOTALS))) == list(headlines(Report("prune", TOTALS, [ROW]))) == []
    )


def run_row(name: str, **figures: Any) -> dict[str, Any]:
    head = {
        "name": name,
        "stage": name.partition("-")[2],
        "bytes": 4000,
        "accuracy": 99.6,
        "accuracy_drop": 0.0,
    }
    return {**head, "speedup": 1.0, "energy_gain": 1.0, **figures}


PACKED = run_row("02-pack", bytes=500, accuracy=99.2, accuracy_drop=0.4, speedup=7.0, energy_gain=4.5)
ONLY_REPORTS = run_row("02-simulate", bytes=None, accuracy=None, accuracy_drop=None)


@pytest.mark.parametrize(
    ("row", "lines"),
    [
        (
            PACKED,
            ["500 bytes (8.00x smaller), accuracy 99.20 % (drop 0.40), speedup 7.00x, energy gain 4.50x",
             "packed model: runs/net/02-pack.onnx"],
        ),
        (
            {**PACKED, "name": "02-prune", "stage": "prune", "accuracy": None, "accuracy_drop": None},
            ["500 bytes (8.00x smaller), speedup 7.00x, energy gain 4.50x", "model: runs/net/02-prune.onnx"],
        ),
    ],
)  # fmt: skip
def test_a_run_ends_with_its_last_model(row: dict[str, Any], lines: list[str]) -> None:
    report = Report(
        "run", {"folder": "runs/net"}, [run_row("00-dense"), run_row("01-prune"), row, ONLY_REPORTS]
    )
    assert list(headlines(report)) == lines


def test_a_run_that_makes_no_model_names_none() -> None:
    rows = [run_row("00-dense"), ONLY_REPORTS]
    assert list(headlines(Report("run", {"folder": "out", "report": None}, rows))) == []
    page = "out/report.html"
    assert list(headlines(Report("run", {"folder": "out", "report": page}, rows))) == [f"report: {page}"]


def test_a_simulation_shows_the_layers_of_most_cycles_in_the_order_of_the_network() -> None:
    cycles = [5, 900, 1, 800, 700, 600, 500, 400, 300, 200, 100, 90, 80, 70]
    rows = [{"name": f"layer {number}", "cycles": number_of} for number, number_of in enumerate(cycles)]
    shown, line = main_rows(Report("simulate", {}, rows))
    assert [row.name for row in shown] == [f"layer {number}" for number in range(14) if number not in (0, 2)]
    assert line == f"2 more layers with {6 / sum(cycles):.1%} of the cycles; -v, --json and --csv have them"
    for few in (Report("simulate", {}, rows[:12]), Report("prune", {}, rows)):
        assert main_rows(few) == (few.layers, "")
