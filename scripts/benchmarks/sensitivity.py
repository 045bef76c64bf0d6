"""How much each entry of the synthesized tables moves the figures of a pruned ResNet-20."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tightc
from benchmarks.networks import RESNET20
from benchmarks.page import SEED, Page
from tightc.cost_model.sensitivity import CHANGES
from tightc.example import RECIPE
from tightc.model.file import Model

TITLE = "Sensitivity: what each entry of the tables does to a gain"
_TABLES = ("nangate45", "sg13g2")
_FAN_IN = 8
_EVERY = 4  # columns that share a lane register

Totals = Mapping[str, Any]


def run(page: Page) -> None:
    """Two tables for each cell library: entries of the energy table, and of the area table."""
    source = RECIPE.parent / "digits.onnx" if page.quick else RESNET20
    model = tightc.prune(tightc.load(source), sparsity=0.9)[0]
    tight = tightc.permute(model, fan_in=_FAN_IN, seed=SEED)[0]
    combined = tightc.permute(model, method="column-combine", fan_in=_FAN_IN, alpha=_FAN_IN, seed=SEED)[0]
    page.text(
        f"{source.name} at sparsity 0.9, 32x32, tight packing with fan-in {_FAN_IN}, a lane register for {_EVERY} "
        f"columns, complete sums bypass the accumulators. Column combining has alpha {_FAN_IN}, drops nothing, and "
        "runs on the same array. Each row changes one entry and leaves the others. Ideal hardware has no DRAM, so that "
        "entry moves nothing; fp32 entries are left out, since the array is int8."
    )
    for name in _TABLES:
        _energy(page, name, *(_totals(one, name) for one in (tight, combined)))
        _area(page, name, _totals(tight, name))


def _totals(model: Model, table: str) -> Totals:
    folder = tightc.configs()
    return tightc.simulate(
        model,
        area=folder / "area" / f"{table}.yaml",
        energy=folder / "energy" / f"{table}.yaml",
        columns_per_lane_register=_EVERY,
        accumulator_bypass=True,
    ).totals


def _energy(page: Page, name: str, tight: Totals, combined: Totals) -> None:
    """The gain of `tight`, and its energy against that of `combined`, whose dense array is the same."""
    over = tight["energy_gain"] / combined["energy_gain"]
    page.text(
        f"Energy, {name}: energy gain {tight['energy_gain']:.3f} over the dense array, "
        f"{tight['energy_gain_over_zero_gated']:.3f} over one that gates zeros, {over:.3f} over column combining."
    )
    page.head("entry", *(f"gain, {change}" for change in CHANGES), *(f"over combining, {c}" for c in CHANGES))
    gains, others = (_by_entry(totals["energy_gain_if"], "energy_gain") for totals in (tight, combined))
    for entry, changed in gains.items():
        if not entry.startswith("fp32"):
            page.row(
                entry,
                *(changed[change] for change in CHANGES),
                *(changed[change] / others[entry][change] for change in CHANGES),
            )
    page.end()


def _area(page: Page, name: str, tight: Totals) -> None:
    page.text(
        f"Area, {name}: speedup {tight['speedup']:.3f}, {tight['speedup_per_area']:.3f} per area. Column combining "
        "takes the same area, so that no entry changes the ratio to it. Elements of both fan-ins share their "
        "multiplier and adder: to change one alone shows the worst case."
    )
    page.head("entry", *(f"per area, {change}" for change in CHANGES))
    for entry, changed in _by_entry(tight["speedup_per_area_if"], "speedup_per_area").items():
        page.row(entry, *(changed[change] for change in CHANGES))
    page.end()


def _by_entry(rows: Sequence[Mapping[str, Any]], figure: str) -> dict[str, dict[str, float]]:
    """The figure after each of CHANGES, by entry, those of one entry in a mapping; ranges are left out."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["change"] in CHANGES:
            found.setdefault(row["entry"], {})[row["change"]] = row[figure]
    return found
