"""Prunes EfficientNet-Lite0 without training or labels, packs it, and measures how often it agrees with itself.

Needs the network and a folder of photographs, without class folders:

    make efficientnet  # writes build/efficientnet-lite0.onnx
    python scripts/efficientnet_lite.py build/efficientnet-lite0.onnx PHOTOGRAPHS

Half of the photographs, drawn by the seed, calibrate; the other half measures. Agreement is the percentage of these to
which the packed network gives the class that the dense one gives: it needs no labels, and it is no accuracy.

Depthwise layers keep all weights; each other layer loses the same fraction. Networks that are in the folder already are
not made again, so that the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tightc
from mutants.page import wilson
from tightc.errors import OptionError

MEAN, STD = 127 / 255, 128 / 255  # what the network was trained with
RESIZE, CROP = 256, 224
SELECTION = {"scope": "layer", "skip": ["*depthwise*"]}
CALIBRATION_IMAGES = 64
KINDS = {
    "depthwise": "_depthwise_",
    "expanding": "_expand_",
    "projecting": "_project_",
    "stem, head, classifier": "",
}
KIND_COLUMNS = ("layers", "number", "dense passes", "passes", "speedup", "energy gain")
COLUMNS = (
    "sparsity", "density", "agreement, %", "95 % interval", "by magnitude, %", "passes", "cycles", "speedup",
    "energy gain", "bytes",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A packed network: its figures by simulation, its size, and on how many of the held-out images it agrees."""

    sparsity: float
    agreeing: int
    by_magnitude: int
    images: int
    simulation: tightc.Report
    size: int

    def cells(self) -> list[str]:
        """As they stand in the table."""
        low, high = wilson(self.agreeing, self.images)
        return [
            f"{self.sparsity:g}",
            f"{self.simulation.totals['density']:.3f}",
            f"{100 * self.agreeing / self.images:.1f}",
            f"{100 * low:.1f} to {100 * high:.1f}",
            f"{100 * self.by_magnitude / self.images:.1f}",
            f"{self.simulation.totals['passes']:,}",
            f"{self.simulation.totals['cycles']:,}",
            f"{self.simulation.totals['speedup']:.2f}x",
            f"{self.simulation.totals['energy_gain']:.2f}x",
            f"{self.size:,}",
        ]


@dataclass(frozen=True)
class Photographs:
    """Those that calibrate, and those that measure."""

    calibrating: tightc.NormalizedImages
    measuring: tightc.NormalizedImages


def halves(photographs: tightc.NormalizedImages, seed: int) -> Photographs:
    """Both halves of `photographs`, drawn by `seed`; OptionError for fewer than two."""
    count = len(photographs.images)
    if count < 2:
        raise OptionError(f"photographs: expected at least 2, got {count}", "give a folder with more")
    chosen = np.zeros(count, bool)
    chosen[np.random.default_rng(seed).permutation(count)[: count // 2]] = True
    first, second = (
        tightc.NormalizedImages(photographs.images.chosen(which), photographs.normalization)
        for which in (chosen, ~chosen)
    )
    return Photographs(first, second)


def agreeing(model: tightc.Model, dense: tightc.Model, images: tightc.NormalizedImages) -> int:
    """To how many of `images` both networks give the same class."""
    share = float(tightc.evaluate(model, images, teacher=dense).totals["agreement"])
    return round(share / 100 * len(images.images))


def kept(path: Path, make: Callable[[], tightc.Model]) -> tightc.Model:
    """The network at `path`, made where it is not there yet."""
    if not path.exists():
        tightc.save(make(), path)
    return tightc.load(path)


def measure(dense: tightc.Model, photographs: Photographs, sparsity: float, seed: int, work: Path) -> Row:
    """`dense` pruned by OBS, permuted for 32x32 with a fan-in of 8, and packed; with its figures."""

    def prune() -> tightc.Model:
        return tightc.prune(
            dense,
            criterion="obs",
            sparsity=sparsity,
            images=photographs.calibrating,
            calibration_images=CALIBRATION_IMAGES,
            seed=seed,
            **SELECTION,
        ).model

    def pack() -> tightc.Model:
        pruned = kept(work / f"pruned-{sparsity:g}.onnx", prune) if sparsity else dense
        permuted = tightc.permute(pruned, array="32x32", fan_in=8, temp_schedule="quick", seed=seed)
        return tightc.pack(permuted.model).model

    path = work / f"packed-{sparsity:g}.onnx"
    packed = kept(path, pack)
    by_magnitude = tightc.prune(dense, sparsity=sparsity, **SELECTION).model if sparsity else dense
    return Row(
        sparsity,
        agreeing(packed, dense, photographs.measuring),
        agreeing(by_magnitude, dense, photographs.measuring),
        len(photographs.measuring.images),
        tightc.simulate(packed),
        path.stat().st_size,
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines])


def by_kind(layers: Iterable[Mapping[str, Any]]) -> Iterator[list[str]]:
    """The figures of all layers of a kind, each layer of the first that its name has a part of."""
    left = list(layers)
    for kind, part in KINDS.items():
        found = [layer for layer in left if part in layer["label"]]
        left = [layer for layer in left if part not in layer["label"]]

        def of(figure: str, found: Sequence[Mapping[str, Any]] = found) -> float:
            return sum(layer[figure] for layer in found)

        if found:
            yield [
                kind,
                f"{len(found)}",
                f"{of('dense_passes'):,}",
                f"{of('passes'):,}",
                f"{of('dense_cycles') / of('cycles'):.2f}x",
                f"{of('dense_energy_pj') / of('energy_pj'):.2f}x",
            ]


def main() -> None:
    """Prints a row for each sparsity, and the kinds of layers at the last one; keeps the networks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="the network, made by scripts/make_efficientnet_lite.py")
    parser.add_argument("photographs", help="folder or archive of image files")
    parser.add_argument(
        "--sparsity", type=float, nargs="+", default=[0, 0.3, 0.5],
        help="fractions of zero weights (default 0 0.3 0.5)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the halves and the search (default 0)")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("build/efficientnet-lite"),
        help="folder of the networks that are made",
    )
    asked = parser.parse_args()
    dense = tightc.load(asked.model)
    photographs = halves(
        tightc.load_images(asked.photographs, dense, mean=MEAN, std=STD, resize=RESIZE, crop=CROP), asked.seed
    )
    asked.work.mkdir(parents=True, exist_ok=True)
    rows = []
    for sparsity in asked.sparsity:
        rows.append(measure(dense, photographs, sparsity, asked.seed, asked.work))
        print(" ".join(rows[-1].cells()), file=sys.stderr, flush=True)
    print(table(COLUMNS, (row.cells() for row in rows)))
    print(f"\nBy kind of layer, at a sparsity of {rows[-1].sparsity:g}:\n")
    print(table(KIND_COLUMNS, by_kind(rows[-1].simulation.layers)))


if __name__ == "__main__":
    try:
        main()
    except tightc.TightcError as fault:
        sys.exit(f"error: {fault}")
