"""Every method on the same weights: lossless ones by passes, each tuned over its own fan-in."""

from __future__ import annotations

from collections.abc import Iterator
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
_TRAINED = ("r20-w-8x", "r20-w-10x", "r20-cc-5x", "r20-cc-8x-s1")
_SPARSITIES = (0.9, 0.98)
_FAN_INS = (4, 8, 16)
_OWN = "tight, fan-in 8"


class _Network(NamedTuple):
    """A network that is compared: what the page calls it, its weights and the temperature schedule."""

    title: str
    model: Model
    schedule: str
    commands: tuple[str, ...]


def run(page: Page) -> None:
    """A table for each network, then what is ahead of tight packing where something is."""
    page.text(
        "All weights of a network packed by every method for one 32x32 array of ideal hardware. row-nm, series-nm, "
        "displace and vusa are [our reading of abstracts](../design/baselines.md), not the work of their authors; each "
        "is shown with the best of several fan-ins, up to 32. whole-filters also leaves out weights that only multiply "
        "zeros, which the others pack. Over tight: passes / those of tight with a fan-in of 8. "
        "Per area: speedup / (area / area of the dense array) by `nangate45`, with multiplexers of the row's fan-in. "
        "Energy gain: over the dense network. KiB: `packed_bits`. Dropped: weights that a lossy method left out; such "
        "rows are no comparison at equal loss before they are finetuned."
    )
    said = [_table(page, network) for network in _networks(page)]
    page.text("### Where tight is not ahead\n\n" + "\n".join(f"- {line}" for line in said))


def _networks(page: Page) -> Iterator[_Network]:
    if missing(RESNET20):
        page.text(missing(RESNET20))
    else:
        yield _Network(
            "ResNet-20, pruned once to 0.9, not trained since",
            pruned(RESNET20, 0.9),
            "default",
            ("tightc prune resnet20-cifar10.onnx --sparsity 0.9 -o pruned.onnx", _command("pruned.onnx")),
        )
    if page.quick:
        return
    for name in _TRAINED:
        title = f"{name}: ResNet-20, trained for {'column combining' if '-cc-' in name else 'tight packing'}"
        model = tightc.unpack(tightc.load(_RECORDED / f"{name}.onnx"))[0]
        unpack = f"tightc unpack docs/results/models/{name}.onnx -o plain.onnx"
        yield _Network(title, model, "default", (unpack, _command("plain.onnx")))
    if _VWW.exists():
        yield _Network(
            "Visual wake words of MLPerf Tiny, pruned once to 0.83",
            pruned(_VWW, 0.83),
            "default",
            ("tightc prune vww.onnx --sparsity 0.83 -o pruned.onnx", _command("pruned.onnx")),
        )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "vgg16.onnx"
        onnx.save(vgg16(10, SEED), path)
        whole = load_model(path)
    for sparsity in _SPARSITIES:
        yield _Network(
            f"VGG-16, random weights pruned to {sparsity}: masks of random weights, not of a trained network",
            tightc.prune(whole, sparsity=sparsity)[0],
            "quick",
            (
                "python scripts/make_vgg16.py vgg16.onnx",
                f"tightc prune vgg16.onnx --sparsity {sparsity} -o pruned.onnx",
                _command("pruned.onnx") + " --temp-schedule quick",
            ),
        )


def _command(name: str) -> str:
    fan_ins = ",".join(map(str, _FAN_INS))
    return f"tightc compare {name} --method all --fan-in {fan_ins} --area configs/area/nangate45.yaml"


def _table(page: Page, network: _Network) -> str:
    """The table of one network; the sentence on what is ahead of tight there."""
    commands = ", then ".join(f"`{command}`" for command in network.commands)
    page.text(f"### {network.title}\n\nBy {commands}.")
    rows = tightc.compare(
        network.model,
        method="all",
        fan_in=_FAN_INS[:2] if page.quick else _FAN_INS,
        area=tightc.configs() / "area" / "nangate45.yaml",
        temp_schedule=network.schedule,
        array="32x32",
        seed=SEED,
    ).layers
    by_variant = {row["variant"]: row for row in rows}
    own = by_variant[_OWN]
    page.head("variant", "passes", "over tight", "speedup", "per area", "energy gain", "KiB", "dropped")
    for row in rows:
        page.row(
            row["variant"],
            row["passes"],
            row["passes"] / own["passes"],
            row["speedup"],
            row["speedup_per_area"],
            row["energy_gain"],
            row["packed_bits"] / 2**13,
            row["dropped_weights"],
        )
    page.end()
    return f"{network.title}: {_ahead(rows, own)}."


def _ahead(rows: list[dict[str, Any]], own: dict[str, Any]) -> str:
    """Which lossless variants are ahead of tight, by passes, energy, speedup per area and bits."""
    others = [row for row in rows if row["method"] != "tight" and not row["dropped_weights"]]
    measures = {
        "passes": "passes",
        "energy_pj": "energy",
        "speedup_per_area": "speedup per area",
        "packed_bits": "bits",
    }
    found = []
    for key, name in measures.items():
        sign = -1 if key == "speedup_per_area" else 1
        better = [row["variant"] for row in others if sign * row[key] < sign * own[key]]
        found.append(f"by {name} {' and '.join(better) if better else 'none'}")
    return f"{found[0]}, {found[1]}, {found[2]}, {found[3]}"
