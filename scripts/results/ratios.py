"""The ratio of a figure of two rows, and how much it varies with the seed."""

from __future__ import annotations

from statistics import mean, stdev

from results.rows import ENOUGH_SEEDS, Measured


def ratio_of(over: Measured, under: Measured, figure: str) -> str:
    """The ratio of the means, or mean and standard deviation of the ratios at each seed where enough have both rows."""
    ratio = over.mean(figure) / under.mean(figure)
    below = dict(zip(under.seed_numbers, under.each(figure), strict=True))
    pairs = zip(over.seed_numbers, over.each(figure), strict=True)
    ratios = [value / below[seed] for seed, value in pairs if seed in below]
    if len(ratios) < ENOUGH_SEEDS:
        return f"{ratio:.2f}"
    return f"{mean(ratios):.2f} ± {stdev(ratios):.2f}"
