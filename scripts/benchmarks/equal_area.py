"""What fan-in and lane registers are worth when their area counts: speedup for equal area, by synthesized tables."""

from __future__ import annotations

import tightc
from benchmarks.networks import RESNET20
from benchmarks.page import SEED, Page
from tightc.example import RECIPE
from tightc.model.file import Model

TITLE = "Equal area: fan-in, lane registers and column combining"
_TABLES = ("nangate45", "sg13g2")
_FAN_INS = (2, 4, 8, 16, 32)
_EVERY = (1, 4, 32)


def run(page: Page) -> None:
    """One table for each cell library, a row for each packing and lane variant."""
    source = RECIPE.parent / "digits.onnx" if page.quick else RESNET20
    model = tightc.prune(tightc.load(source), sparsity=0.9)[0]
    packed = _packings(model, (4, 8) if page.quick else _FAN_INS)
    for name in _TABLES:
        page.text(
            f"{source.name} at sparsity 0.9, 32x32, complete sums bypass the accumulators; area and energy table "
            f"{name} ([synthesis](synthesis.md)). Per area: speedup / (area / area of the dense array with the same "
            "lanes). Energy gain: over the dense network on that array. g: columns that share a lane register. "
            "Buffers, wires and the network from banks to lanes have no area here. PEs "
            "are not clock gated: idle ones take energy, in the dense array too."
        )
        page.head("packing", "g", "passes", "speedup", "mm2", "of dense", "per area", "energy gain")
        for label, permuted in packed.items():
            for every in _EVERY:
                page.row(label, every, *_figures(permuted, name, every))
        page.end()


def _packings(model: Model, fan_ins: tuple[int, ...]) -> dict[str, Model]:
    """The model permuted by each method, by label."""
    found = {}
    for fan_in in fan_ins:
        found[f"tight, fan-in {fan_in}"] = tightc.permute(model, fan_in=fan_in, seed=SEED)[0]
    found["column combining, alpha 8"] = tightc.permute(
        model, method="column-combine", fan_in=8, alpha=8, seed=SEED
    )[0]
    found["structured"] = tightc.permute(model, method="structured", fan_in=1, seed=SEED)[0]
    return found


def _figures(model: Model, table: str, every: int) -> tuple[object, ...]:
    folder = tightc.configs()
    totals = tightc.simulate(
        model,
        area=folder / "area" / f"{table}.yaml",
        energy=folder / "energy" / f"{table}.yaml",
        columns_per_lane_register=every,
        accumulator_bypass=True,
    ).totals
    area, dense = totals["area_mm2"], totals["dense_area_mm2"]
    return (
        totals["passes"],
        totals["speedup"],
        area,
        area / dense,
        totals["speedup_per_area"],
        totals["energy_gain"],
    )
