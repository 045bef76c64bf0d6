"""Every method on the ResNet-20 at three sparsities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.measuring import PEAK, Permuted, permuted
from benchmarks.networks import RESNET20, RESNET20_BN, matrices, missing
from benchmarks.page import Page
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.registry import method_names
from tightc.tile.measures import ratio

TITLE = "ResNet-20: every method, 32x32"
_HEAD = (
    "sparsity",
    "method",
    "fan-in",
    "passes",
    "bound",
    "area compression",
    "tightness",
    "largest fan-in",
    "lane inputs",
    "dropped",
    "dropped magnitude",
    "seconds",
    "M moves/s",
    "peak MiB",
)


def run(page: Page) -> None:
    """Both forms of the network."""
    page.text(
        "All layers of the network together. The bound is on lossless packings: those that drop weights may take fewer "
        f"passes. {PEAK}"
    )
    for path in (RESNET20,) if page.quick else (RESNET20, RESNET20_BN):
        page.text(f"### {path.name}, pruned globally")
        if missing(path):
            page.text(missing(path))
        else:
            _network(page, path)


def _cases() -> list[tuple[str, dict[str, Any]]]:
    """What the rows are called, and the options of each."""
    combining = {"method": "column-combine", "fan_in": 8, "alpha": 8}
    cases: list[tuple[str, dict[str, Any]]] = [
        ("dense", {"method": "dense", "fan_in": 1, "alpha": 1}),
        ("structured", {"method": "structured", "fan_in": 1, "alpha": 1}),
        ("first-fit", {"method": "first-fit", "fan_in": 16}),
        ("first-fit", {"method": "first-fit", "fan_in": 8}),
        *((f"column-combine, gamma {gamma}", {**combining, "gamma": gamma}) for gamma in (0.0, 0.5, 1.75)),
        ("nm 2:4", {"method": "nm", "fan_in": 4, "alpha": 4}),
        ("tight", {"method": "tight", "fan_in": 16}),
        ("tight", {"method": "tight", "fan_in": 8}),
    ]
    return [(name, options) for name, options in cases if options["method"] in method_names()]


def _network(page: Page, path: Path) -> None:
    found: dict[tuple[float, str, int], Permuted] = {}
    sparsities = (0.9,) if page.quick else (0.8, 0.9, 0.95)
    page.head(*_HEAD)
    for sparsity in sparsities:
        layers = matrices(path, sparsity)
        for name, options in _cases():
            if page.quick:
                options["temp_schedule"] = TemperatureSchedule(moves_per_weight=20)
            one = permuted(layers, **options)
            found[sparsity, name, options["fan_in"]] = one
            page.row(*_row(sparsity, name, options["fan_in"], one))
    page.end()
    page.text(
        "Column combining, with multiplexers of 8 inputs (alpha 8), beside tight packing on the same masks:"
    )
    page.head("sparsity", "method", "fan-in", "passes", "area compression", "dropped", "dropped magnitude")
    for (sparsity, name, fan_in), one in found.items():
        if name.startswith(("column-combine", "tight")):
            figures = one.total.figures()
            page.row(
                f"{sparsity}",
                name,
                fan_in,
                one.total.passes,
                figures["matrix_compression_rate"],
                *_dropped(one),
            )
    page.end()


def _row(sparsity: float, name: str, fan_in: int, one: Permuted) -> tuple[Any, ...]:
    total, figures = one.total, one.total.figures()
    return (
        f"{sparsity}",
        name,
        fan_in,
        total.passes,
        total.passes_lower_bound,
        figures["matrix_compression_rate"],
        figures["tightness"],
        total.fan_in_max,
        total.lane_inputs,
        *_dropped(one),
        one.seconds,
        one.speed,
        None if one.peak is None else round(one.peak),
    )


def _dropped(one: Permuted) -> tuple[str, str]:
    """Shares of the non-zeros and of their sum of squares."""
    total = one.total
    return (
        f"{ratio(total.dropped_weights, total.nonzeros) or 0:.1%}",
        f"{ratio(total.dropped_squares, total.total_squares) or 0:.1%}",
    )
