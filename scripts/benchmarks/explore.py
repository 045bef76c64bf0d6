"""Explore beside the full grid and beside a shell loop: points that are skipped, and the time that takes."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
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

    @property
    def share(self) -> float:
        """The part of the time that went into points of the front."""
        seconds = [(row["seconds"], row["status"] == "front") for row in self.report.layers]
        return sum(own for own, front in seconds if front) / sum(own for own, _ in seconds)


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
        f"where one alone {_ONE}, one-shot, configs/schedules/{_SCHEDULE.name}, one thread, seed {SEED}. "
        "Full grid: with --exhaustive. Seconds are those of the processor, since other work ran beside. Front: the "
        "part of the full grid's time, by the clock, that its points on the front take, below which no skipping gets. "
        "Equal: whether both fronts are the same, to the byte."
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
        "front",
    )
    tightc.explore(
        model, array="8x8", fan_in=4, sparsity=0.99, temp_schedule=_SCHEDULE
    )  # compiles the kernels
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "full.sqlite"
        whole = {
            sparsity: _timed(model, {**own, "sparsity": (sparsity,), "exhaustive": True, "store": store})
            for sparsity in few
        }
        seconds = {sparsity: one.processor for sparsity, one in whole.items()}
        _row(page, model, {**own, "sparsity": few}, store, seconds)
        _row(page, model, {**own, "sparsity": (_ONE,), "front": "cycles,energy,bytes"}, store, seconds)
        _row(page, model, {**own, "sparsity": (_ONE,), "area": _AREA}, store, seconds)
        every = {**own, "sparsity": (_ONE,), "area": _AREA, "front": "cycles,energy,area,bytes"}
        last = _row(page, model, every, store, seconds)
        page.end()
        loop = _one_by_one(source, own, Path(folder))
    points = last.report.totals["points"]
    page.text(
        "The first row is the default front. With area most points are on the front. With bytes too the "
        "bounds of most others lie below what dominates them. Then bounds save little time or none."
    )
    page.text(
        f"The same {points} points of sparsity {_ONE} one by one, as a shell loop of permute, pack and simulate, three "
        f"processes a point: {loop:.2f} s of the processor. The last row takes {last.processor / loop:.3f} of that, "
        f"--exhaustive {seconds[_ONE] / loop:.3f}."
    )


def _row(
    page: Page, model: tightc.Model, options: dict[str, Any], store: Path, seconds: dict[float, float]
) -> _Run:
    """The front by bounds beside that of the full grid, whose points are in `store`."""
    found = _timed(model, options)
    whole = _timed(model, {**options, "exhaustive": True, "store": store})
    full = sum(seconds[sparsity] for sparsity in options["sparsity"])
    totals = found.report.totals
    assert not whole.report.totals["evaluated"], "the store has all points"
    page.row(
        ", ".join(totals["measures"]),
        len(options["sparsity"]),
        totals["points"],
        totals["skipped_points"],
        totals["front_points"],
        "yes" if found.front == whole.front else "no",
        found.processor,
        full,
        found.processor / full,
        whole.share,
    )
    return found


def _timed(model: tightc.Model, options: dict[str, Any]) -> _Run:
    processor = time.process_time()
    report = tightc.explore(model, **options, temp_schedule=_SCHEDULE, jobs=1, seed=SEED)
    return _Run(report, time.process_time() - processor)


def _one_by_one(source: Path, grid: dict[str, str], folder: Path) -> float:
    """Seconds of the processor for the points of one sparsity, by a process for each stage of each point."""
    before = _children()
    _stage(["prune", str(source), "--sparsity", str(_ONE), "-o", "pruned.onnx"], folder)
    for array, fan_in in product(grid["array"].split(","), grid["fan_in"].split(",")):
        chosen = ["--array", array, "--fan-in", fan_in, "--temp-schedule", str(_SCHEDULE), "--jobs", "1"]
        _stage(["permute", "pruned.onnx", *chosen, "--seed", str(SEED), "-o", "permuted.onnx"], folder)
        _stage(["pack", "permuted.onnx", "-o", "packed.onnx"], folder)
        _stage(["simulate", "packed.onnx", "--array", array, "--area", str(_AREA)], folder)
    return _children() - before


def _stage(arguments: Sequence[str], folder: Path) -> None:
    command = [sys.executable, "-m", "tightc", *arguments, "-q"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
