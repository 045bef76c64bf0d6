"""The smallest fan-in that each layer of the ResNet-20 needs for the fewest passes."""

from __future__ import annotations

from benchmarks.measuring import arranged, lower_bounds, smallest_fan_in
from benchmarks.networks import RESNET20, matrices, missing
from benchmarks.page import Page

TITLE = "Fan-in: ResNet-20 at sparsity 0.9, layer by layer, 32x32"


def run(page: Page) -> None:
    """One row for each layer."""
    if missing(RESNET20):
        page.text(missing(RESNET20))
        return
    page.text(
        "Smallest: the fan-in at which tight packing still takes the fewest passes that are possible. Tried are 16, "
        "12, 10, 9, 8 and so on until one fails, then what was left out above it; a larger fan-in than one that does "
        "is taken to do as well. Bound: no lossless packing in so few passes can do with less."
    )
    layers = matrices(RESNET20, 0.9)
    if page.quick:
        layers = dict(list(layers.items())[:3])
    at = {fan_in: arranged(layers, fan_in=fan_in) for fan_in in (16, 8)}
    page.head(
        "layer", "filters x inputs", "non-zeros", "pass bound", "passes at 16", "at 8", "smallest", "bound"
    )
    smallest = []
    for name, matrix in layers.items():
        passes = {fan_in: found.layers[name].passes for fan_in, found in at.items()}
        bound, least = lower_bounds(matrix)
        found = smallest_fan_in(matrix, passes)
        smallest.append(found or 99)
        page.row(
            name,
            f"{matrix.filters}x{matrix.inputs}",
            at[16].layers[name].nonzeros,
            bound,
            passes[16],
            passes[8],
            found or "above 16",
            least,
        )
    page.end()
    eight, ten = (sum(one <= most for one in smallest) for most in (8, 10))
    page.text(f"Of {len(smallest)} layers {eight} need a fan-in of 8 at most and {ten} one of 10 at most.")
