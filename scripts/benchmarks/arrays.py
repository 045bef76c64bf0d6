"""Tight packing on arrays of four sizes and four fan-ins."""

from __future__ import annotations

from benchmarks.measuring import Matrices, permuted
from benchmarks.networks import RESNET20, SYNTHETIC, matrices, missing, synthetic
from benchmarks.page import Page
from tightc.tile.array import ArrayShape
from tightc.tile.measures import ratio

TITLE = "Arrays and fan-ins"
_SHAPES = ((64, 576), (256, 1152))


def run(page: Page) -> None:
    """A table for the ResNet-20 and for some layers."""
    page.text(f"Tight packing. {SYNTHETIC}")
    if missing(RESNET20):
        page.text(missing(RESNET20))
    elif not page.quick:
        page.text("### ResNet-20 at sparsity 0.9, all layers")
        _table(page, matrices(RESNET20, 0.9))
    for filters, inputs in _SHAPES[:1] if page.quick else _SHAPES:
        page.text(f"### {filters}x{inputs} at density 0.1")
        _table(page, {"layer": synthetic(filters, inputs, 0.1)})


def _table(page: Page, layers: Matrices) -> None:
    page.head("array", "fan-in", "passes", "bound", "passes / bound", "tightness", "seconds")
    for side in (16, 32) if page.quick else (16, 32, 64, 128):
        for fan_in in (8, 16) if page.quick else (4, 8, 16, 32):
            found = permuted(layers, array=ArrayShape(side, side), fan_in=fan_in)
            total = found.total
            page.row(
                f"{side}x{side}",
                fan_in,
                total.passes,
                total.passes_lower_bound,
                total.passes / total.passes_lower_bound,
                ratio(total.nonzeros, total.area),
                found.seconds,
            )
    page.end()
