"""Trained VGG-16 at equal area, and packed by every method: what tight packing and column combining trained for."""

from __future__ import annotations

import csv

import tightc
from benchmarks.methods import Compared, command, write_comparison
from benchmarks.page import FOLDER, SEED, Page
from benchmarks.recorded import figures
from tightc.model.file import Model

TITLE = "Trained VGG-16: equal area, and every method"
_RESULTS = FOLDER.parent / "results"
_TIGHT, _COMBINED = "v16-w-46x-s1", "v16-cc-8.1x-s1"
_KINDS = {_TIGHT: "trained for tight packing", _COMBINED: "trained for column combining"}
_TABLES = ("nangate45", "sg13g2")
_FAN_IN = 8


def run(page: Page) -> None:
    """A table for each cell library, then one of all methods for each model; nothing of it is quick."""
    names = () if page.quick else tuple(_KINDS)
    plain = {name: tightc.unpack(tightc.load(_RESULTS / "models" / f"{name}.onnx"))[0] for name in names}
    page.text(
        "The two packed models of [results](../results/README.md) with one seed and 8 epochs, for one 32x32 array. A "
        "lane register serves 4 columns and complete sums bypass the accumulators, for dense, column combining and "
        "tight alike. Per area: speedup / (area / area of the dense array). Energy gain: over the dense network, idle "
        "PEs included. uJ: energy of one image. Drop: points of accuracy below the dense network. `recorded`: the "
        f"packing that a model was trained with, of fan-in 16 for {_TIGHT} and 8 for {_COMBINED}. `tight`: "
        "packed anew for least energy, with the quick schedule. Over combined: "
        f"over the recorded packing of {_COMBINED}."
    )
    _equal_area(page, plain)
    _every_method(page, plain)


def _equal_area(page: Page, plain: dict[str, Model]) -> None:
    drops = _drops()
    packings = {
        name: {
            "recorded": tightc.load(_RESULTS / "models" / f"{name}.onnx"),
            f"tight, fan-in {_FAN_IN}": tightc.permute(
                model, fan_in=_FAN_IN, temp_schedule="quick", objective="energy", seed=SEED
            )[0],
        }
        for name, model in plain.items()
    }
    for table in _TABLES:
        page.text(f"### 32x32, {table}")
        page.head(
            "model", "drop", "packing", "passes", "speedup", "per area", "over combined", "energy gain",
            "over combined", "uJ",
        )  # fmt: skip
        for name, found in packings.items():
            _, _, least_per_area, least_energy, _ = figures(packings[_COMBINED]["recorded"], table)
            for label, packed in found.items():
                passes, speedup, per_area, energy, micro_joules = figures(packed, table)
                page.row(
                    name, drops[name], label, passes, speedup, per_area, per_area / least_per_area, energy,
                    energy / least_energy, micro_joules,
                )  # fmt: skip
        page.end()


def _every_method(page: Page, plain: dict[str, Model]) -> None:
    compared = [
        Compared(
            f"{name}: {_KINDS[name]}",
            model,
            (f"tightc unpack docs/results/models/{name}.onnx -o plain.onnx", command("plain.onnx")),
        )
        for name, model in plain.items()
    ]
    page.text(
        "All methods on ideal hardware, as on [the page of methods](methods.md), which explains the columns of the "
        "tables below."
    )
    write_comparison(page, compared)


def _drops() -> dict[str, float]:
    with (_RESULTS / "runs.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["id"]: float(row["accuracy_drop"]) for row in csv.DictReader(file) if row["accuracy_drop"]
        }
