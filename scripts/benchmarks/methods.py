"""Every method on the same weights: lossless ones by passes, each tuned over its own fan-in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import onnx

import tightc
from benchmarks.networks import MODELS, RESNET20, missing, pruned
from benchmarks.page import SEED, Page
from make_vgg16 import vgg16
from tightc.model.file import Model, load_model

TITLE = "Every method on the same weights"
_RECORDED = Path(__file__).resolve().parents[2] / "docs" / "results" / "models"
_VWW = MODELS.parent / "mlperf-tiny" / "vww.onnx"
_TRAINED = ("r20-w-8x", "r20-cc-5x")
_SPARSITIES = (0.9, 0.98)
_FAN_INS = (4, 8)
_LOSSLESS = (
    ("structured", 1),
    ("vusa", 32),
    ("displace", 32),
    ("series-nm", 32),
    ("row-nm", 32),
    ("column-combine", 8),
    ("first-fit", 8),
    ("tight", 8),
)
_FAN_IN = 8
_SCHEDULE = "quick"
_MEASURES = {"passes": "fewer passes", "energy_pj": "less energy", "packed_bits": "fewer bits"}
_OWN = f"tight, fan-in {_FAN_IN}"


class Compared(NamedTuple):
    """A network that is compared: what the page calls it, its weights, and how they are made and compared."""

    title: str
    model: Model
    commands: tuple[str, ...]


def run(page: Page) -> None:
    """What is ahead of tight packing where, then a table for each network."""
    page.text(
        "All weights of a network packed by every method for one 32x32 array of ideal hardware. row-nm, series-nm, "
        "displace and vusa are [our reading of abstracts](../design/baselines.md), not the work of their authors; each "
        "is shown with the fan-in up to 32 of the fewest cycles. By area it would be another: `compare --equal-area`."
    )
    page.text(
        "Over tight: passes / those of tight with a fan-in of 8. Per area: speedup / (area / area of the dense array) "
        "by `nangate45`, with multiplexers of the row's fan-in. Energy gain: over the dense network. KiB: "
        "`packed_bits`. Dropped: weights that a lossy method left out; such rows are no comparison at equal loss "
        "before they are finetuned. whole-filters also leaves out weights that only multiply zeros, which the others "
        "pack; the last row of a table is tight without them too. `as arranged`: the packing that a model was trained "
        "with."
    )
    write_comparison(page, _networks(page))
    if not page.quick:
        _vgg16(page)


def write_comparison(page: Page, networks: Iterable[Compared]) -> None:
    """Where a lossless method is ahead of tight packing, then the table of each of `networks`."""
    found = [(network, _rows(network)) for network in networks]
    page.text(f"### Where a lossless method is ahead of tight with a fan-in of {_FAN_IN}")
    page.head("network", *_MEASURES.values())
    for network, rows in found:
        page.row(network.title.partition(":")[0], *_ahead(rows))
    page.end()
    for network, rows in found:
        _table(page, network, rows)


def _networks(page: Page) -> Iterator[Compared]:
    if missing(RESNET20):
        page.text(missing(RESNET20))
    else:
        yield Compared(
            "ResNet-20, pruned once to 0.9, not trained since",
            pruned(RESNET20, 0.9),
            ("tightc prune resnet20-cifar10.onnx --sparsity 0.9 -o pruned.onnx", command("pruned.onnx")),
        )
    if page.quick:
        return
    for name in _TRAINED:
        title = f"{name}: ResNet-20, trained for {'column combining' if '-cc-' in name else 'tight packing'}"
        model = tightc.unpack(tightc.load(_RECORDED / f"{name}.onnx"))[0]
        unpack = f"tightc unpack docs/results/models/{name}.onnx -o plain.onnx"
        yield Compared(title, model, (unpack, command("plain.onnx")))
    if _VWW.exists():
        yield Compared(
            "Visual wake words of MLPerf Tiny, pruned once to 0.83",
            pruned(_VWW, 0.83),
            ("tightc prune vww.onnx --sparsity 0.83 -o pruned.onnx", command("pruned.onnx")),
        )


def command(name: str) -> str:
    """The command that compares all methods on the model `name`."""
    fan_ins = ",".join(map(str, _FAN_INS))
    return (
        f"tightc compare {name} --method all --fan-in {fan_ins} --area nangate45 --temp-schedule {_SCHEDULE}"
    )


def _rows(network: Compared) -> list[dict[str, Any]]:
    """The rows of all methods, and that of tight without idle weights."""
    shared: dict[str, Any] = {
        "area": tightc.configs() / "area" / "nangate45.yaml",
        "temp_schedule": _SCHEDULE,
        "array": "32x32",
        "seed": SEED,
    }
    rows = tightc.compare(network.model, method="all", fan_in=_FAN_INS, **shared).layers
    live = tightc.permute(network.model, method="whole-filters", array="32x32")[0]
    last = tightc.compare(live, method="tight", fan_in=_FAN_IN, **shared).layers[0]
    return [*map(dict, rows), {**last, "variant": f"{_OWN}, without idle weights"}]


def _table(page: Page, network: Compared, rows: list[dict[str, Any]]) -> None:
    commands = ", then ".join(f"`{command}`" for command in network.commands)
    page.text(f"### {network.title}\n\nBy {commands}.")
    page.head("variant", "passes", "over tight", "speedup", "per area", "energy gain", "KiB", "dropped")
    for row in rows:
        page.row(
            row["variant"],
            row["passes"],
            row["passes"] / _own(rows)["passes"],
            row["speedup"],
            row["speedup_per_area"],
            row["energy_gain"],
            row["packed_bits"] / 2**13,
            row["dropped_weights"],
        )
    page.end()


def _vgg16(page: Page) -> None:
    """The passes of the lossless methods on VGG-16, the tuned ones with the fan-in that takes the fewest above."""
    page.text(
        "### VGG-16, passes alone\n\nRandom weights, pruned globally: masks of random weights, not of a trained "
        "network. `python scripts/make_vgg16.py vgg16.onnx`, then `tightc prune vgg16.onnx --sparsity S -o "
        "pruned.onnx`, then `tightc permute pruned.onnx --method METHOD --fan-in N --temp-schedule "
        f"{_SCHEDULE}`. All rows are lossless."
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "vgg16.onnx"
        onnx.save(vgg16(10, SEED), path)
        whole = load_model(path)
    page.head("sparsity", "method", "fan-in", "passes", "over tight", "rate", "bound at fan-in")
    for sparsity in _SPARSITIES:
        model = tightc.prune(whole, sparsity=sparsity)[0]
        totals = {
            (method, fan_in): tightc.permute(
                model, method=method, fan_in=fan_in, array="32x32", temp_schedule=_SCHEDULE, seed=SEED
            )[1].totals
            for method, fan_in in _LOSSLESS
        }
        own = totals["tight", _FAN_IN]["passes"]
        for (method, fan_in), found in totals.items():
            passes = found["passes"]
            rate, bound = found["matrix_compression_rate"], found["passes_lower_bound"]
            page.row(sparsity, method, fan_in, passes, passes / own, rate, bound)
    page.end()


def _own(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return next(row for row in rows if row["variant"] == _OWN)


def _ahead(rows: list[dict[str, Any]]) -> list[str]:
    """Which lossless variants are ahead of tight in each of the measures."""
    others = [row for row in rows if row["method"] != "tight" and not row["dropped_weights"]]
    better = [[row["variant"] for row in others if row[key] < _own(rows)[key]] for key in _MEASURES]
    return ["; ".join(names) or "none" for names in better]
