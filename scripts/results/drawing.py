"""Drop of accuracy over compression and over speedup, one line for each method."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from results.rows import Measured, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKS = "osD^vP*Xph"
_DEEPEST = 2.5  # points; larger drops are drawn here, with their figure
_GAINS = {"matrix compression rate": "matrix_compression_rate", "speedup": "speedup"}


def draw(networks: Mapping[str, Sequence[Measured]]) -> bytes:
    """The networks side by side, as SVG: the same rows give the same bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"svg.hashsalt": "tightc", "svg.fonttype": "none", "font.size": 9})
    figure = Figure(figsize=(5 * len(networks), 7), layout="constrained")
    methods = sorted({one.method for rows in networks.values() for one in rows})
    looks = {method: (f"C{place % 10}", _MARKS[place % len(_MARKS)]) for place, method in enumerate(methods)}
    panels = figure.subplots(len(_GAINS), len(networks), squeeze=False)
    for line, (label, gain) in zip(panels, _GAINS.items(), strict=True):
        for axes, (network, rows) in zip(line, networks.items(), strict=True):
            _panel(axes, gain, rows, looks)
            axes.set(title=title(network), xlabel=label, ylabel="drop of accuracy, points")
    named = {
        label: line
        for axes in panels.flat
        for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=4, fontsize=7)
    svg = io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return svg.getvalue()


def _panel(axes: Axes, gain: str, rows: Sequence[Measured], looks: Mapping[str, tuple[str, str]]) -> None:
    for method in dict.fromkeys(one.method for one in rows):
        color, mark = looks[method]
        of_method = [one for one in rows if one.method == method]
        for one in of_method:
            _mark(axes, gain, one, looks[method])
        axes.plot([], [], mark, color=color, label=method)
        front = front_of([(one.mean(gain), one.mean("accuracy_drop")) for one in of_method])
        axes.plot([rate for rate, _ in front], [min(drop, _DEEPEST) for _, drop in front], color=color)
    axes.axhline(0, color="black", linewidth=0.8, label="dense")
    axes.axhline(1, color="0.5", linewidth=0.8, linestyle="--", label="one point")
    axes.plot([], [], "o", color="0.5", markerfacecolor="none", label="one seed, chosen on the test set")
    axes.set_ylim(_DEEPEST + 0.1, min(0, *(min(one.each("accuracy_drop")) for one in rows)) - 0.1)


def _mark(axes: Axes, gain: str, one: Measured, look: tuple[str, str]) -> None:
    """The mean of a row, hollow where the test set chose it, with a bar from its least to its largest drop."""
    color, mark = look
    drops, rate, drop = one.each("accuracy_drop"), one.mean(gain), one.mean("accuracy_drop")
    face = "none" if one.chosen_on_test else color
    axes.plot([rate], [min(drop, _DEEPEST)], mark, color=color, markerfacecolor=face)
    axes.plot(
        [rate, rate], [min(min(drops), _DEEPEST), min(max(drops), _DEEPEST)], color=color, linewidth=0.8
    )
    if drop > _DEEPEST:
        text = f"{drop:.1f}"
        axes.annotate(text, (rate, _DEEPEST), (0, 5), textcoords="offset points", ha="center", fontsize=7)


def front_of(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The Pareto front of (gain, drop), by gain."""
    return [
        (gain, drop)
        for gain, drop in sorted(set(points))
        if not any((g, d) != (gain, drop) and g >= gain and d <= drop for g, d in points)
    ]
