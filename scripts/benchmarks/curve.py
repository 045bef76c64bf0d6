"""Quality over time: what more moves bring."""

from __future__ import annotations

import io
from dataclasses import dataclass

from benchmarks.measuring import Matrices, Permuted, permuted
from benchmarks.networks import RESNET20, SYNTHETIC, matrices, missing, synthetic
from benchmarks.page import Page
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule

TITLE = "Quality over time"
_MOVES = (0, 10, 30, 100, 300, 1000, 3000)
_OTHERS = ("structured", "first-fit")


@dataclass(frozen=True)
class _Curve:
    """`found` by moves for each weight; `others` by method."""

    name: str
    found: dict[int, Permuted]
    others: dict[str, Permuted]


def run(page: Page) -> None:
    """A table and a drawing for each of two problems."""
    page.text(
        "Tight packing, 32x32, with more and more moves for each weight, and the methods without a search, which take "
        f"no moves. {SYNTHETIC}"
    )
    if page.quick:
        _problem(page, "quick", "64x576 at density 0.1, fan-in 8", 8, {"layer": synthetic(64, 576, 0.1)})
        return
    if missing(RESNET20):
        page.text(missing(RESNET20))
    else:
        _problem(page, "curve-resnet20", "ResNet-20 at sparsity 0.9, fan-in 8", 8, matrices(RESNET20, 0.9))
    large = {"layer": synthetic(512, 4608, 0.05)}
    _problem(page, "curve-512x4608", "512x4608 at density 0.05, fan-in 10", 10, large)


def _problem(page: Page, name: str, title: str, fan_in: int, layers: Matrices) -> None:
    page.text(f"### {title}")
    page.head("method", "moves / weight", "seconds", "passes", "bound", "lane inputs")
    others = {method: permuted(layers, method=method, fan_in=fan_in) for method in _OTHERS}
    for method, one in others.items():
        page.row(method, None, *_figures(one))
    found = {}
    for moves in _MOVES[:3] if page.quick else _MOVES:
        found[moves] = permuted(
            layers, fan_in=fan_in, temp_schedule=TemperatureSchedule(moves_per_weight=moves)
        )
        page.row("tight", moves, *_figures(found[moves]))
    page.end()
    if not page.quick:
        page.figure(
            name, f"Passes and lane inputs over seconds: {title}", _drawn(_Curve(title, found, others))
        )


def _figures(one: Permuted) -> tuple[float, int, int, int]:
    total = one.total
    return one.seconds, total.passes, total.passes_lower_bound, total.lane_inputs


def _drawn(curve: _Curve) -> bytes:
    """Two drawings side by side, as SVG."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    matplotlib.rcParams.update({"svg.hashsalt": "tightc", "svg.fonttype": "none", "font.size": 9})
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    figure.suptitle(curve.name)
    passes, inputs = figure.subplots(1, 2)
    seconds = [one.seconds for one in curve.found.values()]
    bound = next(iter(curve.found.values())).total.passes_lower_bound
    for axes, label, measure in ((passes, "passes", "passes"), (inputs, "lane inputs", "lane_inputs")):
        axes.plot(seconds, [getattr(one.total, measure) for one in curve.found.values()], "o-", label="tight")
        for (method, one), color in zip(curve.others.items(), ("0.6", "tab:orange"), strict=True):
            axes.axhline(getattr(one.total, measure), color=color, label=method)
        axes.set(xscale="log", yscale="log", xlabel="seconds", ylabel=label)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.yaxis.set_minor_formatter("{x:,.0f}")
    passes.axhline(bound, color="black", linestyle=":", label="lower bound")
    for (moves, one), second in zip(curve.found.items(), seconds, strict=True):
        passes.annotate(
            f"{moves}", (second, one.total.passes), (0, 5), textcoords="offset points", fontsize=7
        )
    passes.legend()
    svg = io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return svg.getvalue()
