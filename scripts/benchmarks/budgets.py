"""Trained within a budget of energy, at equal area: tight packing over column combining, by seed."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import tightc
from benchmarks.page import SEED, Page
from benchmarks.recorded import figures
from tightc.model.file import Model

TITLE = "Trained within a budget of energy: tight packing and column combining at equal area"
_RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
_TABLES = ("nangate45", "sg13g2")
_FAN_INS = (4, 8)
_SEEDS = (1, 2, 3)


class _Pair(NamedTuple):
    """Two rows of docs/results on the same array."""

    array: str
    tight: str
    combined: str


class _Measured(NamedTuple):
    """A trained model as an array runs it: points of accuracy lost, and what `figures` gives."""

    drop: float
    fan_in: int
    passes: float
    speedup: float
    per_area: float
    energy_gain: float
    micro_joules: float


_PAIRS = (
    _Pair("8x8", "r20-8x8-e-5x", "r20-8x8-cc-e-4x"),
    _Pair("8x8", "r20-8x8-e-6.2x", "r20-8x8-cc-e-4x"),
    _Pair("32x32", "r20-e-5x", "r20-cc-e-4.5x"),
    _Pair("32x32", "r20-e-4.5x", "r20-cc-e-4.5x"),
)


def run(page: Page) -> None:
    """For each cell library a table of the models, then one of the ratios of each pair."""
    page.text(
        "ResNet-20, 20 epochs each, the packed models of [results](../results/README.md). A lane register serves 4 "
        "columns and complete sums bypass the accumulators, for dense, column combining and tight alike. Per area: "
        "speedup / (area / area of the dense array). Energy gain: over the dense network, idle PEs included. uJ: "
        "energy of one image. Drop: points of accuracy below the dense network, on the test set. Column combining has "
        "the packing that it was trained with. Tight is packed for fan-ins of "
        f"{' and '.join(map(str, _FAN_INS))} with the objective energy and seed {SEED}; the faster one per area counts."
    )
    pairs = _PAIRS[:1] if page.quick else _PAIRS
    drops = _drops()
    rows = {(one.array, name): name == one.tight for one in pairs for name in (one.tight, one.combined)}
    for table in _TABLES[:1] if page.quick else _TABLES:
        found = {
            (array, name, seed): _measured(f"{name}-s{seed}", drops, array, table, repacked=tight)
            for (array, name), tight in rows.items()
            for seed in _SEEDS
            if f"{name}-s{seed}" in drops
        }
        page.text(f"### Models, {table}")
        page.head("array", "model", "drop", "fan-in", "passes", "speedup", "per area", "energy gain", "uJ")
        for (array, name, seed), one in found.items():
            page.row(array, f"{name}-s{seed}", *one)
        page.end()
        _ratios(page, pairs, found, table)


def _ratios(
    page: Page, pairs: tuple[_Pair, ...], found: dict[tuple[str, str, int], _Measured], table: str
) -> None:
    """Tight over column combining, at the seeds that both have."""
    page.text(f"### Tight over column combining, {table}")
    page.head("array", "tight", "combined", "seeds", "drops", "throughput per area", "energy")
    for array, tight, combined in pairs:
        both = [
            (found[array, tight, seed], found[array, combined, seed])
            for seed in _SEEDS
            if {(array, tight, seed), (array, combined, seed)} <= found.keys()
        ]
        if not both:
            continue
        drops = " / ".join(_spread([pair[side].drop for pair in both]) for side in range(2))
        page.row(
            array,
            tight,
            combined,
            len(both),
            drops,
            _spread([own.per_area / other.per_area for own, other in both]),
            _spread([other.micro_joules / own.micro_joules for own, other in both]),
        )
    page.end()


def _measured(run_id: str, drops: dict[str, float], array: str, table: str, *, repacked: bool) -> _Measured:
    """A kept model as it was trained, or packed anew for `table`: of the fan-ins the fastest per area."""
    recorded = tightc.load(_RESULTS / "models" / f"{run_id}.onnx")
    if not repacked:
        return _Measured(drops[run_id], _fan_in(recorded), *figures(recorded, table))
    plain = tightc.unpack(recorded)[0]
    packed = [
        tightc.permute(
            plain,
            array=array,
            fan_in=fan_in,
            objective="energy",
            energy=tightc.configs() / "energy" / f"{table}.yaml",
            columns_per_lane_register=4,
            accumulator_bypass=True,
            seed=SEED,
        )[0]
        for fan_in in _FAN_INS
    ]
    each = [_Measured(drops[run_id], _fan_in(model), *figures(model, table)) for model in packed]
    return max(each, key=lambda one: one.per_area)


def _fan_in(model: Model) -> int:
    return int(tightc.simulate(model).totals["fan_in"])


def _drops() -> dict[str, float]:
    """Points of accuracy that each run with a kept model lost, by its id."""
    with (_RESULTS / "runs.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: float(row["accuracy_drop"]) for row in csv.DictReader(file) if row["model"]}


def _spread(values: list[float]) -> str:
    """Mean and standard deviation; the mean alone of fewer than three."""
    if len(values) < len(_SEEDS):
        return f"{mean(values):.2f}"
    return f"{mean(values):.2f} ± {stdev(values):.2f}"
