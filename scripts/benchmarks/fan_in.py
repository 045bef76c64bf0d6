"""The smallest fan-in that each layer of the ResNet-20 needs for the fewest passes."""

from __future__ import annotations

import math

from benchmarks.measuring import Matrices, lower_bounds, permuted, smallest_fan_in
from benchmarks.networks import RESNET20, RESNET20_BN, matrices, missing
from benchmarks.page import Page

TITLE = "Fan-in: ResNet-20 at sparsity 0.9, layer by layer, 32x32"


def run(page: Page) -> None:
    """A table for each form of the network, one row for each layer."""
    page.text(
        "Smallest: the fan-in at which tight packing still takes the fewest passes that are possible. Tried are 16, "
        "12, 10, 9, 8 and so on until one fails, then the values between. A fan-in larger than one that succeeds is "
        "taken to succeed. Bound: no lossless packing in as few passes has a smaller fan-in."
    )
    for path in (RESNET20,) if page.quick else (RESNET20, RESNET20_BN):
        page.text(f"### {path.name}, pruned globally")
        if missing(path):
            page.text(missing(path))
        else:
            layers = matrices(path, 0.9)
            _table(page, dict(list(layers.items())[:3]) if page.quick else layers)


def _table(page: Page, layers: Matrices) -> None:
    at = {fan_in: permuted(layers, fan_in=fan_in) for fan_in in (16, 8)}
    page.head(
        "layer", "filters x inputs", "non-zeros", "pass bound", "passes at 16", "at 8", "smallest", "bound"
    )
    needed = []
    for name, matrix in layers.items():
        passes = {fan_in: found.layers[name].passes for fan_in, found in at.items()}
        bound, least = lower_bounds(matrix)
        smallest = smallest_fan_in(matrix, passes)
        needed.append(smallest or math.inf)
        page.row(
            name,
            f"{matrix.filters}x{matrix.inputs}",
            at[16].layers[name].nonzeros,
            bound,
            passes[16],
            passes[8],
            smallest or "above 16",
            least,
        )
    page.end()
    eight, ten = (sum(one <= most for one in needed) for most in (8, 10))
    page.text(f"Of {len(needed)} layers {eight} need a fan-in of 8 at most and {ten} one of 10 at most.")
