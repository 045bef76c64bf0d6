"""MLPerf Tiny: four networks at their official thresholds, in int8, for the fewest cycles, energy and bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

import tightc
from benchmarks.page import SEED, Page
from benchmarks.tiny_networks import (
    BUILD,
    NETWORKS,
    PHOTOGRAPHS,
    SHARED,
    Network,
    Quality,
    measured,
    write_halves,
)

TITLE = "MLPerf Tiny: four networks at their thresholds"
GOALS = ("dense", "cycles", "energy", "bytes")
STEPS = {  # sparsities that were tried with the halves swapped
    "resnet8": "0.5",
    "vww": "0.93, 0.95",
    "kws": "0.35, 0.4, 0.45, 0.5, 0.7",
    "ad": "0.5, 0.6, 0.7",
}
FLOAT = ("kws-packed", "vww-packed", "vww-dead")  # further recipes, in float32
RECIPES = Path(__file__).resolve().parents[2] / "configs" / "mlperf-tiny"
_ARRAY, _FAN_IN = "32x32", 8


@dataclass(frozen=True)
class _Row:
    """A network for a goal: the last model of its recipe, its figures on the array, its quality on held-out samples."""

    network: Network
    goal: str
    model: Path
    totals: Mapping[str, Any]
    quality: Quality


def run(page: Page) -> None:
    """The table, how sure it is, the commands of its rows, and the dead filters of visual wake words."""
    if not SHARED.is_dir() or not PHOTOGRAPHS.exists():
        page.text(
            "Left out: there is no ../shared/mlperf-tiny with networks and test sets, or no ../shared/data."
        )
        return
    networks = [one for one in NETWORKS if not page.quick or one.name == "kws"]
    page.text(
        "The reference networks of MLPerf Tiny, pruned within their official thresholds, with weights and activations "
        f"in int8. They are packed for an array of {_ARRAY} with a fan-in of {_FAN_IN}, and simulated on ideal "
        "hardware. Speedup and energy gain are over the dense int8 network on the same array. Bytes are those of the "
        "ONNX file, graph included; the [weight stream](../stream.md) holds the weights alone."
    )
    goals = GOALS[:1] if page.quick else GOALS
    rows = [row for network in networks for row in _rows(network, goals)]
    _table(page, rows)
    if page.quick:
        return
    _how_sure(page, rows)
    _official_images(page, rows)
    _dead_filters(page)
    _commands(page)
    _limits(page)


def _rows(network: Network, goals: Sequence[str]) -> Iterator[_Row]:
    """Runs the recipe of each row, or takes what an earlier run left. All goals but dense pack the same weights."""
    if not network.is_trained:
        write_halves(network)
    found: dict[bool, Quality] = {}
    for goal in goals:
        model, is_dense = _ran(f"{network.name}-{goal}"), goal == "dense"
        if is_dense not in found:
            found[is_dense] = measured(network, model, "odd")
        totals = tightc.simulate(tightc.load(model), array=_ARRAY if is_dense else None).totals
        yield _Row(
            network, goal, model, {**tightc.inspect(tightc.load(model)).totals, **totals}, found[is_dense]
        )


def _table(page: Page, rows: list[_Row]) -> None:
    page.head(
        "network", "goal", "sparsity", "passes", "cycles", "speedup", "energy gain", "bytes", "int8 quality",
        "interval of 95 %", "threshold",
    )  # fmt: skip
    for row in rows:
        network, totals = row.network, row.totals
        page.row(
            network.name,
            row.goal,
            f"{1 - totals['density']:.2f}",
            totals["passes"],
            totals["cycles"],
            f"{totals['speedup']:.2f}x",
            f"{totals['energy_gain']:.2f}x",
            totals["bytes"],
            *_cells(network, row.quality),
            _threshold(network),
        )
    page.end()
    texts = "; ".join(f"`{network.name}`: {network.title}" for network in {row.network: 0 for row in rows})
    page.text(f"{texts}. Quality is top-1 accuracy, for `ad` the area under the ROC curve (AUC).")
    sizes = {(row.network.name, row.goal): row.totals["bytes"] for row in rows}
    larger = [name for name, goal in sizes if goal == "bytes" and sizes[name, goal] >= sizes[name, "dense"]]
    if larger:
        page.text(
            f"Packed files are larger than the dense int8 file in {' and '.join(f'`{name}`' for name in larger)}: the "
            "lists of inputs take more bytes than the zeros save."
        )


def _how_sure(page: Page, rows: list[_Row]) -> None:
    """What each quality was measured on, and how the sparsities were chosen."""
    page.text("### How sure")
    page.text(
        "Samples of even number calibrate, and those of odd number measure: 500 images or words, 124 recordings. "
        "Labels only measure. All samples of a half calibrate, so the quality does not depend on a seed. Sparsities "
        "were chosen with the halves swapped, from the steps below: the largest whose int8 network loses no more than "
        "the threshold leaves to the dense float network. In `kws` 0.4 did not pass and 0.45 did: a half is too small "
        "to tell them apart."
    )
    page.text(
        "`resnet8` has 200 official images, which decide nothing alone: half a point is one of them. The dense network "
        "is trained on the 50,000 labeled images of CIFAR-10 as JPEG, and pruned with 512 of them. Only one sparsity "
        "was tried. Even images of the test set admitted it, the 5,000 odd ones measure. JPEG costs accuracy. The "
        "threshold there is therefore half a point below the dense float network, as 85 % are below the official "
        "85.5 %. One seed, so one decimal."
    )
    page.text(
        "Intervals are Wilson's for accuracy and DeLong's for the AUC: what another draw of samples would change. "
        "Where the threshold is inside an interval, it is met on these samples, and not proven."
    )
    page.head(
        "network", "steps of sparsity", "dense float, swapped", "int8 at the chosen", "loses", "may lose"
    )
    for network in {row.network: 0 for row in rows}:
        dense, swapped = _swapped(network)
        digits = 3 if network.is_autoencoder else 1
        figures = (dense.value, swapped.value, dense.value - swapped.value, network.slack)
        page.row(network.name, STEPS[network.name], *(f"{figure:.{digits}f}" for figure in figures))
    page.end()


def _swapped(network: Network) -> tuple[Quality, ...]:
    """Quality on the even half: of the dense float network, and of the pruned int8 one calibrated without that half."""
    folder = BUILD / f"{network.name}-{'cycles' if network.is_trained else 'swapped'}"
    if not network.is_trained:
        _calibrate_swapped(network, folder)
    return tuple(measured(network, model, "even") for model in (network.model, folder / "02-quantize.onnx"))


def _calibrate_swapped(network: Network, folder: Path) -> None:
    """Runs prune and quantize of the recipe for cycles with the odd half."""
    recipe = yaml.safe_load((RECIPES / f"{network.name}-cycles.yaml").read_text(encoding="utf-8"))
    recipe["model"] = str(network.model)
    recipe["data"]["data"] = str(BUILD / f"{network.name}-swapped.npz")
    recipe["stages"] = recipe["stages"][:2]
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    tightc.run_recipe(path, folder, seed=SEED)


def _official_images(page: Page, rows: list[_Row]) -> None:
    """ResNet-8 on the 200 official images, which it was neither trained nor chosen on."""
    page.text("### ResNet-8 on its 200 official images")
    page.text(
        "The networks of the table, trained on JPEG, on the official images, which are lossless. The reference weights "
        "have 85.5 % there."
    )
    page.head("weights", "int8 accuracy", "interval of 95 %")
    for row in rows:
        if row.network.is_trained and row.goal in ("dense", "cycles"):
            name = "dense" if row.goal == "dense" else "pruned"
            page.row(name, *_cells(row.network, measured(row.network, row.model, "official")))
    page.end()


def _commands(page: Page) -> None:
    page.text("### A row by itself")
    page.text(
        "The section first writes the halves to `build/mlperf-tiny`, from test sets that are not part of this "
        "repository. Each row is then a recipe. Those for energy and bytes permute the weights of the one for cycles. "
        "For bytes, the objective is the one that gave the smallest file of those tried:"
    )
    names = [f"{network.name}-{goal}" for network in NETWORKS for goal in GOALS]
    lines = [
        f"tightc run configs/mlperf-tiny/{name}.yaml -o build/mlperf-tiny/{name}" for name in (*names, *FLOAT)
    ]
    page.text("\n".join(["```sh", *lines, "```"]))


def _dead_filters(page: Page) -> None:
    """The networks with depthwise layers as they come: what packing alone gains, and what dead filters give away."""
    kws, vww = (one for name in ("kws", "vww") for one in NETWORKS if one.name == name)
    dense = tightc.load(vww.model)
    ordinary = [
        row for row in tightc.inspect(dense).layers if row["operator"] == "Conv" and row["groups"] == 1
    ]
    page.text("### Nothing pruned, and dead filters")
    page.text(
        "Packing alone saves passes where layers are depthwise, since their groups share tiles. In `vww`, "
        f"{sum(row['dead_filters'] for row in ordinary):,} of the {sum(row['filters'] for row in ordinary):,} filters "
        "of ordinary convolutions are dead: no weight above 1e-8 of the layer's largest. `tightc inspect` counts them. "
        "A sparsity of 0.83 therefore costs nothing there, and says little about a compressor. These rows are in "
        "float32, without data or training, on all 1,000 official samples:"
    )
    page.head("", "passes", "cycles", "speedup", "energy gain", "bytes", "accuracy", "interval of 95 %")
    for name, network, recipe in (
        ("`kws`, dense", kws, None),
        ("`kws`, only packed", kws, FLOAT[0]),
        ("`vww`, dense", vww, None),
        ("`vww`, only packed", vww, FLOAT[1]),
        ("`vww`, pruned to 0.83", vww, FLOAT[2]),
    ):
        model = _ran(recipe) if recipe else network.model
        totals = tightc.simulate(tightc.load(model), array=None if recipe else _ARRAY).totals
        page.row(
            name, totals["passes"], totals["cycles"], f"{totals['speedup']:.2f}x", f"{totals['energy_gain']:.2f}x",
            model.stat().st_size, *_cells(network, measured(network, model, "all")),
        )  # fmt: skip
    page.end()


def _ran(recipe: str) -> Path:
    """The last model of a recipe, which is run where an earlier run did not leave it."""
    report = tightc.run_recipe(RECIPES / f"{recipe}.yaml", BUILD / recipe, seed=SEED)
    last = next(row["name"] for row in reversed(report.layers) if row["bytes"] is not None)
    return BUILD / recipe / f"{last}.onnx"


def _limits(page: Page) -> None:
    page.text("### Limits")
    page.text(
        "- No official result: the halves are not the official sets, and a simulator is no device.\n"
        "- Ideal hardware has no stalls and no DRAM. Where weights come from flash, bytes weigh more than cycles.\n"
        "- Nothing was trained after pruning. All three goals have the same weights, whose quality is measured once.\n"
        "- A row for energy may take more cycles than the dense network: more passes then read fewer inputs.\n"
        "- `vww` has dead filters, so its figures are mostly not earned by a compressor.\n"
        "- `resnet8` is measured on JPEG images with a threshold of our own, after three epochs of training."
    )


@cache
def _threshold(network: Network) -> str:
    """The official floor; for the network that is measured on JPEG as far below the dense one."""
    if network.is_autoencoder:
        return f"{network.floor:g}"
    if not network.is_trained:
        return f"{network.floor:g} %"
    return f"{measured(network, network.model, 'odd').value - network.slack:.1f} %"


def _cells(network: Network, found: Quality) -> tuple[str, str]:
    low, high = found.interval
    if network.is_autoencoder:
        return f"{found.value:.3f}", f"{low:.3f} to {high:.3f}"
    return f"{found.value:.1f} %", f"{low:.1f} to {high:.1f} %"
