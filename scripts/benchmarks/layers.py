"""Every layer shape of VGG-16 and ResNet-50 at three densities."""

from __future__ import annotations

import math

from benchmarks.measuring import MANY, lower_bounds, permuted, smallest_fan_in
from benchmarks.networks import LARGEST, SYNTHETIC, distinct_shapes, synthetic
from benchmarks.page import Page
from tightc.tile.measures import ratio

TITLE = "Layers of VGG-16 and ResNet-50, 32x32"


def run(page: Page) -> None:
    """A table for each density."""
    largest = " and ".join(f"{filters}x{inputs}" for filters, inputs in LARGEST)
    page.text(
        f"{SYNTHETIC} Every shape appears once; {largest} are under Speed. Tightness, lane inputs, seconds and moves "
        "are those at fan-in 16. Smallest: the smallest fan-in that reaches the pass bound, with its bound beside it. "
        "Tried are 16, 12, 10, 9, 8 and so on until one fails, then the values between. A fan-in larger than one that "
        f"succeeds is taken to succeed. Layers with more than {MANY:,} non-zeros are tried at 16, 12, 10 and 8 only."
    )
    shapes = [(64, 64), (64, 147)] if page.quick else distinct_shapes()
    for density in (0.1,) if page.quick else (0.05, 0.1, 0.2):
        page.text(f"### Density {density}")
        page.head(
            "layer",
            "non-zeros",
            "pass bound",
            "passes at 16",
            "at 8",
            "at 8 / bound",
            "tightness",
            "lane inputs",
            "smallest",
            "bound",
            "seconds",
            "M moves/s",
        )
        above, worst, needed = 0, 0.0, []
        for filters, inputs in shapes:
            matrix = synthetic(filters, inputs, density)
            bound, least = lower_bounds(matrix)
            wide, narrow = (permuted({"layer": matrix}, fan_in=fan_in) for fan_in in (16, 8))
            passes = {16: wide.total.passes, 8: narrow.total.passes}
            smallest = smallest_fan_in(matrix, passes)
            above += passes[16] > bound
            worst = max(worst, passes[8] / bound)
            needed.append(smallest or math.inf)
            page.row(
                f"{filters}x{inputs}",
                wide.total.nonzeros,
                bound,
                passes[16],
                passes[8],
                passes[8] / bound,
                ratio(wide.total.nonzeros, wide.total.area),
                wide.total.lane_inputs,
                smallest or "above 16",
                least,
                wide.seconds,
                wide.speed,
            )
        page.end()
        page.text(
            f"At fan-in 16 {len(shapes) - above} of {len(shapes)} layers take the fewest passes possible; at fan-in 8 "
            f"the most is {worst:.2f} times the bound. A fan-in of 10 is enough for {sum(n <= 10 for n in needed)}, "
            f"one of 12 for {sum(n <= 12 for n in needed)}."
        )
