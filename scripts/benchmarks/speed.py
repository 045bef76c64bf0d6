"""How long packing takes: networks, threads, sizes, the kernel alone."""

from __future__ import annotations

import time
from collections.abc import Callable

import tightc
from benchmarks.kernel import kernel_speed
from benchmarks.measuring import PEAK, best_seconds, peak, permuted, reset_peak, warm
from benchmarks.networks import LARGEST, RESNET20, RESNET50, SYNTHETIC, missing, pruned, resnet50, synthetic
from benchmarks.page import SEED, Page
from tightc.permutation.options import PermuteOptions

TITLE = "Speed"
_SIDES = (512, 900, 1581, 2811, 5000)
_DENSITY = 0.1
_LIMIT = 60


def run(page: Page) -> None:
    """Every part with warm kernels."""
    warm("tight")
    page.text(f"Tight packing, 32x32, fan-in 16, kernels compiled before. {SYNTHETIC}")
    _kernel(page)
    _resnet20(page)
    _threads(page)
    _sizes(page)
    if not page.quick:
        _resnet50(page)
        _largest(page)


def _kernel(page: Page) -> None:
    page.text("### The kernel on one core, full 32x32 tiles, million moves a second, best of 5")
    page.head("tiles", "M moves/s")
    for tiles in (1, 8):
        page.row(tiles, kernel_speed(tiles, moves=200_000 if page.quick else 3_000_000) / 1e6)
    page.end()


def _resnet20(page: Page) -> None:
    repeats = 1 if page.quick else 5
    page.text(f"### The whole ResNet-20 at sparsity 0.9, `tightc.permute`, best of {repeats}")
    if missing(RESNET20):
        page.text(missing(RESNET20))
        return
    model = pruned(RESNET20, 0.9)
    seconds = best_seconds(lambda: tightc.permute(model, PermuteOptions(), seed=SEED), repeats)
    page.text(f"{seconds:.2f} s.")


def _threads(page: Page) -> None:
    repeats = 1 if page.quick else 3
    page.text(f"### One thread and two, best of {repeats} each, in turn")
    layer = synthetic(64 if page.quick else 512, 2304, _DENSITY)
    works: dict[str, Callable[[int], object]] = {
        f"{layer.filters}x{layer.inputs} at {_DENSITY}": lambda jobs: permuted({"layer": layer}, jobs=jobs)
    }
    if not missing(RESNET20):
        model = pruned(RESNET20, 0.9)
        works["ResNet-20 at 0.9"] = lambda jobs: tightc.permute(model, PermuteOptions(jobs=jobs), seed=SEED)
    page.head("what", "seconds, one", "seconds, two", "one / two")
    for name, work in works.items():
        best = {1: float("inf"), 2: float("inf")}
        for _ in range(repeats):
            for jobs in best:
                best[jobs] = min(best[jobs], best_seconds(lambda w=work, j=jobs: w(j), 1))  # type: ignore[misc]
        page.row(name, best[1], best[2], best[1] / best[2])
    page.end()


def _sizes(page: Page) -> None:
    page.text(f"### Square layers at density {_DENSITY}, seconds for each non-zero")
    page.head("layer", "non-zeros", "passes", "bound", "seconds", "us / non-zero", "M moves/s", "peak MiB")
    costs = []
    for side in (256, 512) if page.quick else _SIDES:
        layers = {"layer": synthetic(side, side, _DENSITY)}
        tries = [permuted(layers) for _ in range(3 if side <= 1000 else 1)]
        found = min(tries, key=lambda one: one.seconds)
        total = found.total
        costs.append(found.seconds / total.nonzeros)
        page.row(
            f"{side}x{side}",
            total.nonzeros,
            total.passes,
            total.passes_lower_bound,
            found.seconds,
            1e6 * costs[-1],
            found.speed,
            None if found.peak is None else round(found.peak),
        )
    page.end()
    page.text(f"Most over least: {max(costs) / min(costs):.2f}.")


def _resnet50(page: Page) -> None:
    model = resnet50(_DENSITY)
    weights = sum(filters * inputs for filters, inputs in RESNET50)
    page.text(
        f"### A network of the size of ResNet-50, `tightc.permute`\n\n{len(RESNET50)} layers with the shapes of "
        f"ResNet-50's, {weights / 1e6:.1f} million weights, density {_DENSITY}. {PEAK}"
    )
    reset_peak()
    began = time.perf_counter()
    totals = tightc.permute(model, PermuteOptions(), seed=SEED)[1].totals
    seconds, top = time.perf_counter() - began, peak()
    page.head("non-zeros", "passes", "bound", "tightness", "seconds", "peak MiB")
    page.row(
        totals["nonzeros"],
        totals["passes"],
        totals["passes_lower_bound"],
        totals["tightness"],
        seconds,
        None if top is None else round(top),
    )
    page.end()


def _largest(page: Page) -> None:
    page.text(
        f"### The two largest layers of VGG-16 at density {_DENSITY}\n\nWith a time limit of {_LIMIT} s, within which "
        "the search ends by itself where it takes less."
    )
    page.head("layer", "non-zeros", "passes", "bound", "seconds", "us / non-zero", "M moves/s", "peak MiB")
    for filters, inputs in LARGEST:
        found = permuted({"layer": synthetic(filters, inputs, _DENSITY)}, time_limit=float(_LIMIT))
        total = found.total
        page.row(
            f"{filters}x{inputs}",
            total.nonzeros,
            total.passes,
            total.passes_lower_bound,
            found.seconds,
            1e6 * found.seconds / total.nonzeros,
            found.speed,
            None if found.peak is None else round(found.peak),
        )
    page.end()
