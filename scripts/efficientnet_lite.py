"""Prunes EfficientNet-Lite0 without training or labels, packs it, and measures how often it agrees with itself.

Needs the network and a folder of photographs, without class folders:

    make efficientnet  # writes build/efficientnet-lite0.onnx
    python scripts/efficientnet_lite.py build/efficientnet-lite0.onnx PHOTOGRAPHS

Half of the photographs, drawn by the seed, calibrate; the other half measures. Agreement is the percentage of these to
which the packed network gives the class that the dense one gives: it needs no labels, and it is no accuracy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import tightc
from mutants.page import wilson
from tightc.errors import OptionError

MEAN, STD = 127 / 255, 128 / 255  # what the network was trained with
RESIZE, CROP = 256, 224
COLUMNS = (
    "sparsity", "criterion", "agreement, %", "95 % interval", "passes", "cycles", "speedup", "energy gain", "bytes",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A packed network: its figures by simulation, its size, and on how many of the held-out images it agrees."""

    sparsity: float
    criterion: str
    agreeing: int
    images: int
    totals: dict[str, float]
    size: int

    def cells(self) -> list[str]:
        """As they stand in the table."""
        low, high = wilson(self.agreeing, self.images)
        return [
            f"{self.sparsity:g}",
            self.criterion,
            f"{100 * self.agreeing / self.images:.1f}",
            f"{100 * low:.1f} to {100 * high:.1f}",
            f"{self.totals['passes']:,}",
            f"{self.totals['cycles']:,}",
            f"{self.totals['speedup']:.2f}x",
            f"{self.totals['energy_gain']:.2f}x",
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


def measure(
    dense: tightc.Model, photographs: Photographs, sparsity: float, criterion: str, seed: int
) -> tuple[Row, tightc.Model]:
    """`dense` pruned, permuted for 32x32 with a fan-in of 8, and packed; with its figures."""
    seen = photographs.calibrating if criterion == "obs" else None
    pruned = dense
    if sparsity:
        pruned = tightc.prune(dense, criterion=criterion, sparsity=sparsity, images=seen, seed=seed).model
    permuted = tightc.permute(pruned, array="32x32", fan_in=8, seed=seed).model
    packed = tightc.pack(permuted).model
    found = agreeing(packed, dense, photographs.measuring)
    totals = tightc.simulate(packed).totals
    size = len(packed.to_bytes())
    return Row(sparsity, criterion, found, len(photographs.measuring.images), totals, size), packed


def table(rows: Sequence[Row]) -> Iterable[str]:
    """The rows as Markdown."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|" + "---|" * len(COLUMNS)
    for row in rows:
        yield f"| {' | '.join(row.cells())} |"


def main() -> None:
    """Prints a row for each sparsity and criterion, and writes the packed networks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="the network, made by scripts/make_efficientnet_lite.py")
    parser.add_argument("photographs", help="folder or archive of image files")
    parser.add_argument(
        "--sparsity", type=float, nargs="+", default=[0.3, 0.5, 0.7],
        help="fractions of zero weights (default 0.3 0.5 0.7)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the halves and the search (default 0)")
    parser.add_argument(
        "--work", type=Path, default=Path("build/efficientnet-lite"), help="folder of the packed networks"
    )
    asked = parser.parse_args()
    dense = tightc.load(asked.model)
    photographs = halves(
        tightc.load_images(asked.photographs, dense, mean=MEAN, std=STD, resize=RESIZE, crop=CROP), asked.seed
    )
    asked.work.mkdir(parents=True, exist_ok=True)
    wanted = [(0.0, "none"), *((one, kind) for one in asked.sparsity for kind in ("magnitude", "obs"))]
    rows = []
    for sparsity, criterion in wanted:
        row, packed = measure(dense, photographs, sparsity, criterion, asked.seed)
        tightc.save(packed, asked.work / f"{criterion}-{sparsity:g}.onnx")
        print(" ".join(row.cells()), file=sys.stderr, flush=True)
        rows.append(row)
    print("\n".join(table(rows)))


if __name__ == "__main__":
    try:
        main()
    except tightc.TightcError as fault:
        sys.exit(f"error: {fault}")
