"""Trains a detector, prunes it while its teacher finetunes it without labels, packs it, and measures each step.

Needs CIFAR-10 for its photographs, torch and pycocotools (pip install 'tightc[finetune,scripts]'):

    python scripts/detector.py --photographs cifar10.tar.gz --seeds 3

The scenes are digits of two scales on photographs. Held-out scenes have other photographs and digits of other scans.
Training goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import tightc
from detection.detections import as_labels
from detection.network import VALUES, export
from detection.scenes import Scenes, draw_scenes
from detection.training import train
from tightc.config.image_shape import ImageShape
from tightc.data.source import open_images
from tightc.errors import TightcError

PHOTOGRAPHS = ImageShape(3, 32, 32)
METRIC = "detection.detections:mean_average_precision"
STEPS = ("dense", "pruned", "finetuned", "packed")


@dataclass(frozen=True)
class Sizes:
    """Numbers of scenes and epochs, and the fraction of weights that pruning removes."""

    scenes: int
    held_out: int
    epochs: int
    finetune_epochs: int
    sparsity: float


def scenes_of(split: Any, count: int, photographs: str, seed: np.random.SeedSequence) -> Scenes:
    """Scenes of the photographs and digits of `split`, train or test."""
    with np.load(tightc.examples() / "digits.npz") as digits:
        scans = digits[f"x_{split}"], digits[f"y_{split}"]
    pixels = open_images(photographs, split, PHOTOGRAPHS).pixels
    return draw_scenes(count, pixels, scans, np.random.default_rng(seed))


def measure(seed: int, sizes: Sizes, photographs: str, folder: Path) -> dict[str, Any]:
    """The figures of one seed: for each of STEPS its measures, and what packing gains."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn, held_out, master = np.random.SeedSequence(seed).spawn(3)
    test = scenes_of("test", sizes.held_out, photographs, held_out)
    scenes = scenes_of("train", sizes.scenes, photographs, drawn)
    number = int(master.generate_state(1)[0] % 2**31)
    if not (folder / "dense.onnx").exists():
        detector = train(scenes, sizes.epochs, number, _print_epoch)
        export(detector, folder / "partial.onnx")
        (folder / "partial.onnx").rename(folder / "dense.onnx")
    np.savez(folder / "unlabeled.npz", x=scenes.images)
    images = test.images.astype(np.float32) / 255
    dense = tightc.load(folder / "dense.onnx")
    by_labels = tightc.load_images({"image": images, "y": test.boxes}, dense)
    by_dense = tightc.load_images(
        {"image": images, "y": as_labels(run(folder / "dense.onnx", images))}, dense
    )
    pruned = tightc.prune(dense, sparsity=sizes.sparsity).model
    finetuned = tightc.finetune(  # which prunes while it trains
        dense,
        tightc.load_images(folder / "unlabeled.npz", dense),
        teacher=dense,
        distill_values=VALUES,
        sparsity=sizes.sparsity,
        optimizer="adamw",
        epochs=sizes.finetune_epochs,
        seed=number,
        batch_size=32,
        checkpoint=str(folder / "finetune.checkpoint"),
    ).model
    permuted = tightc.permute(finetuned, array=(32, 32), fan_in=16, seed=number)
    packed = tightc.pack(permuted.model).model
    simulated = tightc.simulate(packed)
    figures: dict[str, Any] = {
        "matrix_compression_rate": permuted.report.matrix_compression_rate,
        "speedup": simulated.speedup,
        "energy_gain": simulated.energy_gain,
    }
    for step, model in zip(STEPS, (dense, pruned, finetuned, packed), strict=True):
        tightc.save(model, folder / f"{step}.onnx")
        right, same = (tightc.evaluate(model, labeled, metric=METRIC) for labeled in (by_labels, by_dense))
        figures[step] = {
            "map": right.totals["map"],
            "map50": right.totals["map50"],
            "agreement": same.totals["map50"],
        }
    return figures


def run(path: Path, images: np.ndarray) -> np.ndarray:
    """The detections of the network at `path` on `images`, by stock onnxruntime."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    batches = np.split(images, range(64, len(images), 64))
    return np.concatenate([session.run(None, {"image": batch})[0] for batch in batches])


def table(all_figures: list[dict[str, Any]]) -> Iterable[str]:
    """Means over the seeds as Markdown, with the largest distance from the mean."""
    yield "| network | mAP 0.50:0.95 | mAP 0.50 | agreement with dense |"
    yield "|---|---|---|---|"
    for step in STEPS:
        cells = (
            _mean([figures[step][name] for figures in all_figures]) for name in ("map", "map50", "agreement")
        )
        yield f"| {step} | {' | '.join(cells)} |"
    gains = (f"{name.replace('_', ' ')} {_mean([f[name] for f in all_figures])}" for name in _GAINS)
    yield ""
    yield f"{', '.join(gains)}; {len(all_figures)} seeds"


_GAINS = ("matrix_compression_rate", "speedup", "energy_gain")


def _mean(values: list[float]) -> str:
    mean = float(np.mean(values))
    return f"{mean:.1f}" if len(values) == 1 else f"{mean:.1f} ± {np.abs(np.array(values) - mean).max():.1f}"


def _print_epoch(epoch: int, loss: float) -> None:
    print(f"epoch {epoch}  loss {loss:.3f}", file=sys.stderr, flush=True)


def main() -> None:
    """Measures the seeds one after the other and prints their means."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photographs", required=True, help="CIFAR-10 in a form that --data of tightc takes")
    parser.add_argument(
        "--work", type=Path, default=Path("build/detector"), help="folder of networks and scenes"
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0 on (default 3)")
    parser.add_argument("--scenes", type=int, default=4000, help="scenes to train with (default 4000)")
    parser.add_argument("--held-out", type=int, default=500, help="scenes to measure with (default 500)")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of the dense network (default 20)")
    parser.add_argument("--finetune-epochs", type=int, default=20, help="epochs by the teacher (default 20)")
    parser.add_argument("--sparsity", type=float, default=0.9, help="fraction of zero weights (default 0.9)")
    asked = parser.parse_args()
    sizes = Sizes(asked.scenes, asked.held_out, asked.epochs, asked.finetune_epochs, asked.sparsity)
    measured = []
    for seed in range(asked.seeds):
        folder = asked.work / f"seed{seed}"
        if not (folder / "figures.json").exists():
            figures = measure(seed, sizes, asked.photographs, folder)
            (folder / "figures.json").write_text(json.dumps(figures, indent=1))
        measured.append(json.loads((folder / "figures.json").read_text()))
    print("\n".join(table(measured)))


if __name__ == "__main__":
    try:
        main()
    except TightcError as fault:
        sys.exit(f"error: {fault}")
