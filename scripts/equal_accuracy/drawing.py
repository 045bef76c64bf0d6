"""Drop of accuracy over matrix compression rate, one line for each method."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from equal_accuracy.settings import LEVELS, Setting, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKS = "osD^vP*X"
_DEEPEST = 2.5  # points; larger drops are drawn here, with their figure


def draw(networks: Mapping[str, Sequence[Setting]]) -> bytes:
    """The networks side by side, as SVG: the same settings give the same bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"svg.hashsalt": "tightc", "svg.fonttype": "none", "font.size": 9})
    figure = Figure(figsize=(5 * len(networks), 4), layout="constrained")
    methods = sorted({one.method for settings in networks.values() for one in settings})
    looks = {method: (f"C{place % 10}", _MARKS[place % len(_MARKS)]) for place, method in enumerate(methods)}
    panels = figure.subplots(1, len(networks), squeeze=False)[0]
    for axes, (network, settings) in zip(panels, networks.items(), strict=True):
        _panel(axes, network, settings, looks)
        _lines(axes)
    named = {
        label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=5, fontsize=7)
    svg = io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return svg.getvalue()


def _panel(
    axes: Axes, network: str, settings: Sequence[Setting], looks: Mapping[str, tuple[str, str]]
) -> None:
    for method in dict.fromkeys(one.method for one in settings):
        color, mark = looks[method]
        points = [one for one in settings if one.method == method]
        for one in points:
            if len(one.records) > 1:
                rates, drops = one.each("matrix_compression_rate"), one.each("accuracy_drop")
                axes.plot(rates, drops, mark, color=color, markersize=3, alpha=0.5)
        at = [(one.mean("matrix_compression_rate"), one.mean("accuracy_drop")) for one in points]
        axes.plot(*_shown(at), mark, color=color, label=method)
        axes.plot(*_shown(_best_of(at)), color=color)
        for rate, drop in at:
            if drop > _DEEPEST:
                axes.annotate(
                    f"{drop:.2f}",
                    (rate, _DEEPEST),
                    (0, 5),
                    textcoords="offset points",
                    ha="center",
                    fontsize=7,
                )
    axes.axhline(0, color="black", linewidth=0.8, label="dense")
    axes.set_ylim(_DEEPEST + 0.1, min(0, *(one.mean("accuracy_drop") for one in settings)) - 0.1)
    axes.set(title=title(network), xlabel="matrix compression rate", ylabel="drop of accuracy, points")


def _shown(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Rates and drops of (rate, drop), the drops clipped to the drawing."""
    return [rate for rate, _ in points], [min(drop, _DEEPEST) for _, drop in points]


def _best_of(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The Pareto front of (rate, drop), by rate."""
    return [
        (rate, drop)
        for rate, drop in sorted(set(points))
        if not any((r, d) != (rate, drop) and r >= rate and d <= drop for r, d in points)
    ]


def _lines(axes: Axes) -> None:
    for level in LEVELS:
        axes.axhline(level.drop, color="0.5", linewidth=0.8, linestyle="--")
        axes.annotate(
            level.label, (1, level.drop), (-3, 2), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", fontsize=7,
        )  # fmt: skip
