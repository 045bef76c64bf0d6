"""Trained models of docs/results at equal area: tight packing and column combining with the same liberties."""

from __future__ import annotations

import csv
from pathlib import Path

import tightc
from benchmarks.page import SEED, Page
from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.area_table import AreaTable
from tightc.config.yaml import read_options
from tightc.cost_model.area import ArrayForm, area_mm2
from tightc.model.file import Model
from tightc.tile.array import ArrayShape

TITLE = "Trained models at equal area"
_RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
_TABLES = ("nangate45", "sg13g2")
_TIGHT = ("r20-w-8x", "r20-w-8x-e20-s1", "r20-w-8x-e20-s2", "r20-w-10x", "r20-w-6.5x")
_COMBINED = ("r20-cc-5x", "r20-cc-5x-s1", "r20-cc-6x-s1", "r20-cc-8x-s1")
_WITHOUT_MODEL = ("v16-w-46x", "v16-w-59x", "v16-w-26x", "v16-cc-8.1x", "v16-cc-8.7x")
_ARRAYS = ("8x8", "16x16", "32x32", "64x64")
_FAN_INS = (4, 8)
_EVERY = 4


def run(page: Page) -> None:
    """One table of models for each cell library, then one of arrays."""
    page.text(
        "The packed models of [results](../results/README.md), unpacked and packed anew; weights and accuracies are as "
        f"recorded. A lane register serves {_EVERY} columns and complete sums bypass the accumulators, for dense, "
        "column combining and tight alike. Per area: speedup / (area / area of the dense array). Energy gain: over "
        "the dense network, idle PEs included. uJ: energy of one image. Drop: points of accuracy below the dense "
        "network. `recorded`: the packing that a model was trained with."
    )
    rows = _rows()
    names = [name for name in (*_TIGHT, *_COMBINED) if (_RESULTS / "models" / f"{name}.onnx").exists()]
    names = names[:1] if page.quick else names
    plain = {name: tightc.unpack(tightc.load(_RESULTS / "models" / f"{name}.onnx"))[0] for name in names}
    for table in _TABLES[:1] if page.quick else _TABLES:
        page.text(f"### 32x32, {table}")
        page.head("model", "epochs", "drop", "packing", "passes", "speedup", "per area", "energy gain", "uJ")
        for name, model in plain.items():
            head = (name, rows[name]["epochs"], float(rows[name]["accuracy_drop"]))
            for label, packed in _packings(name, model).items():
                page.row(*head, label, *figures(packed, table))
        page.end()
    if not page.quick:
        _arrays(page, plain)
    _speedups(page, rows)


def _arrays(page: Page, plain: dict[str, Model]) -> None:
    """Speedup per area and energy over those of column combining, for several arrays."""
    page.text(
        "### Arrays, nangate45\n\nEach figure divides that of tight packing (the better of its fan-ins by speedup per "
        "area) by that of column combining of `r20-cc-5x` (alpha 8, the mean of its two seeds). On arrays other than "
        "32x32 column combining is packed anew with gamma 0, which takes more passes than the lanes that it was "
        "trained with."
    )
    page.head("array", "model", "fan-in", "passes", "combined", "throughput per area", "energy")
    for array in _ARRAYS:
        combined = [_combined(name, plain[name], array) for name in _COMBINED[:2] if name in plain]
        passes, per_area, energy = (sum(one[i] for one in combined) / len(combined) for i in range(3))
        for name in ("r20-w-8x", "r20-w-8x-e20-s1", "r20-w-8x-e20-s2", *_COMBINED[:2]):
            found = {
                fan_in: _of(tightc.permute(plain[name], array=array, fan_in=fan_in, seed=SEED)[0])
                for fan_in in _FAN_INS
            }
            best = max(found, key=lambda fan_in: found[fan_in][1])
            own = found[best]
            page.row(array, name, best, own[0], passes, own[1] / per_area, own[2] / energy)
    page.end()


def _speedups(page: Page, rows: dict[str, dict[str, str]]) -> None:
    """Speedup per area of rows without a kept model: the recorded speedup for the area of its fan-in."""
    page.text(
        "### VGG-16, from recorded cycles\n\nTheir models were not kept, so energy and lanes as wires are not known. "
        "Per area: the recorded speedup on ideal hardware, with a lane register in every PE, / (area / dense area)."
    )
    page.head(
        "row", "seeds", "epochs", "fan-in", "drop", "speedup", *(f"per area, {table}" for table in _TABLES)
    )
    for name in _WITHOUT_MODEL:
        row = rows[name]
        speedup, fan_in = float(row["speedup"]), int(row["fan_in"])
        each = [speedup / _area_ratio(fan_in, table) for table in _TABLES]
        page.row(name, 1, row["epochs"], fan_in, float(row["accuracy_drop"]), speedup, *each)
    page.end()


def _area_ratio(fan_in: int, name: str) -> float:
    """Area of a 32x32 array of that fan-in / that of the dense one."""
    table = read_options(tightc.configs() / "area" / f"{name}.yaml", AreaTable)
    form = ArrayForm.of(Accelerator(ArrayShape(32, 32)), fan_in, None)
    return sum(area_mm2(form, table).values()) / sum(area_mm2(form.dense, table).values())


def _rows() -> dict[str, dict[str, str]]:
    with (_RESULTS / "runs.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def _packings(name: str, model: Model) -> dict[str, Model]:
    """The packings of one model, by label."""
    found = {"recorded": tightc.load(_RESULTS / "models" / f"{name}.onnx")}
    for fan_in in _FAN_INS:
        found[f"tight, fan-in {fan_in}"] = tightc.permute(model, fan_in=fan_in, seed=SEED)[0]
    return found


def _combined(name: str, model: Model, array: str) -> tuple[float, float, float]:
    if array == "32x32":
        return _of(tightc.load(_RESULTS / "models" / f"{name}.onnx"))
    return _of(tightc.permute(model, array=array, method="column-combine", fan_in=8, alpha=8, seed=SEED)[0])


def _of(model: Model) -> tuple[float, float, float]:
    """(passes, speedup per area, energy gain) by the first table."""
    passes, _, per_area, energy, _ = figures(model, _TABLES[0])
    return passes, per_area, energy


def figures(model: Model, table: str) -> tuple[float, float, float, float, float]:
    """(passes, speedup, speedup per area, energy gain, uJ of one image)."""
    folder = tightc.configs()
    totals = tightc.simulate(
        model,
        area=folder / "area" / f"{table}.yaml",
        energy=folder / "energy" / f"{table}.yaml",
        columns_per_lane_register=_EVERY,
        accumulator_bypass=True,
    ).totals
    return (
        totals["passes"],
        totals["speedup"],
        totals["speedup_per_area"],
        totals["energy_gain"],
        totals["energy_per_inference_uj"],
    )
