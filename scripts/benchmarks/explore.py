"""Explore beside the full grid: points that are skipped, and the time that takes, on the ResNet-20."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import tightc
from benchmarks.networks import RESNET20, missing
from benchmarks.page import SEED, Page
from tightc.example import RECIPE
from tightc.report import Report

TITLE = "Explore: a grid of 64 points by bounds, and all of it"
_GRID = {"array": "8x8,16x16,32x32,64x64", "fan_in": "2,4,8,16"}
_SPARSITIES = (0.8, 0.85, 0.9, 0.95)
_ONE = 0.9
_AREA = tightc.configs() / "area" / "nangate45.yaml"
_SCHEDULE = tightc.configs() / "schedules" / "quick.yaml"
_FRONT = ("number", "cycles", "energy_pj", "area_mm2", "packed_bytes")


@dataclass(frozen=True)
class _Run:
    """A report, and the seconds of the processor that it took."""

    report: Report
    processor: float

    @property
    def front(self) -> list[tuple[Any, ...]]:
        """The points of the front with their figures."""
        rows = self.report.layers
        return [tuple(row.get(name) for name in _FRONT) for row in rows if row["status"] == "front"]


def run(page: Page) -> None:
    """A row for each set of measures: the front by bounds, beside the same of the full grid."""
    source = RECIPE.parent / "digits.onnx" if page.quick else RESNET20
    if missing(source):
        page.text(missing(source))
        return
    model = tightc.load(source)
    own = {**_GRID, **({"array": "8x8,16x16", "fan_in": "4,8"} if page.quick else {})}
    few = (_ONE,) if page.quick else _SPARSITIES
    page.text(
        f"{source.name}, arrays {own['array']}, fan-ins {own['fan_in']}, sparsities {', '.join(map(str, few))}, "
        f"one-shot, configs/schedules/{_SCHEDULE.name}, one thread, seed {SEED}. Full grid: with --exhaustive. Seconds "
        "are those of the processor, since other work ran beside. Equal: whether both fronts are the same, to the byte."
    )
    page.head(
        "measures of the front",
        "sparsities",
        "points",
        "skipped",
        "on the front",
        "equal",
        "seconds",
        "full grid",
        "ratio",
    )
    tightc.explore(
        model, array="8x8", fan_in=4, sparsity=0.99, temp_schedule=_SCHEDULE
    )  # compiles the kernels
    _row(page, model, {**own, "sparsity": few})
    for extra in (
        {"front": "cycles,energy,bytes"},
        {"area": _AREA},
        {"area": _AREA, "front": "cycles,energy,area,bytes"},
    ):
        _row(page, model, {**own, "sparsity": (_ONE,), **extra})
    page.end()
    page.text(
        "The first row is the default front. With bytes or area most points are on the front, or their bounds lie "
        "below what dominates them: then bounds cost more time than they save, and `--exhaustive` is as fast."
    )


def _row(page: Page, model: tightc.Model, options: dict[str, Any]) -> None:
    found, whole = (_timed(model, {**options, "exhaustive": every}) for every in (False, True))
    totals = found.report.totals
    page.row(
        ", ".join(totals["measures"]),
        len(options["sparsity"]),
        totals["points"],
        totals["skipped_points"],
        totals["front_points"],
        "yes" if found.front == whole.front else "no",
        found.processor,
        whole.processor,
        found.processor / whole.processor,
    )


def _timed(model: tightc.Model, options: dict[str, Any]) -> _Run:
    processor = time.process_time()
    report = tightc.explore(model, **options, temp_schedule=_SCHEDULE, jobs=1, seed=SEED)
    return _Run(report, time.process_time() - processor)
