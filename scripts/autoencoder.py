"""Prunes an autoencoder for anomaly detection, finetunes it by its teacher without labels, and measures the AUC.

Needs torch (pip install 'tightc[finetune]'), and the network and the recordings of MLPerf Tiny:

    python scripts/autoencoder.py ad.onnx ad.npz --seeds 3

One half of the recordings, with anomalies and without their labels, trains; the other measures. Both halves hold
recordings of all machines.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import tightc

SPARSITIES = (0.5, 0.8)
CRITERIA = ("magnitude", "obs")
SLICES = 5  # of a recording, which the network sees at once
STEP = np.float32(1 / 256)  # dB of a stored unit
COLUMNS = ("as pruned", "finetuned")

Floats = NDArray[np.float32]


def windows(recordings: NDArray[np.int16]) -> Floats:
    """(recordings, slices, bands) in stored units as (recordings, windows, SLICES * bands) dB, oldest slice first."""
    count = recordings.shape[1] - SLICES + 1
    parts = [recordings[:, first : first + count] for first in range(SLICES)]
    return np.concatenate(parts, axis=2).astype(np.float32) * STEP


def halves(groups: NDArray[np.int64], randomness: np.random.Generator) -> NDArray[np.bool_]:
    """Which recordings train: half of each group, at random."""
    order = randomness.permutation(len(groups))
    chosen = np.zeros(len(groups), bool)
    for group in np.unique(groups):
        chosen[order[groups[order] == group][::2]] = True
    return chosen


def measure(path: Path, recordings: Path, seed: int, epochs: int) -> dict[tuple[str, float], list[float]]:
    """The AUC as pruned and finetuned, by criterion and sparsity; the dense one as ("dense", 0)."""
    with np.load(recordings) as stored:
        spectra, labels = windows(stored["inputs"]), stored["labels"].astype(np.int64)
        groups = 2 * stored["machine"].astype(np.int64) + labels
    chosen = halves(groups, np.random.default_rng(seed))
    dense = tightc.load(path)
    unlabeled = tightc.load_images({"input": spectra[chosen]}, dense)
    held_out = tightc.load_images({"input": spectra[~chosen], "y": labels[~chosen]}, dense)

    def auc(model: tightc.Model) -> float:
        return float(tightc.evaluate(model, held_out, metric="auc").auc)

    found = {("dense", 0.0): [auc(dense)]}
    for criterion in CRITERIA:
        for sparsity in SPARSITIES:
            seen = unlabeled if criterion == "obs" else None
            pruned = tightc.prune(dense, criterion=criterion, sparsity=sparsity, images=seen).model
            finetuned = tightc.finetune(
                pruned, unlabeled, teacher=dense, optimizer="adamw", epochs=epochs, seed=seed
            ).model
            found[criterion, sparsity] = [auc(pruned), auc(finetuned)]
    return found


def table(measured: list[dict[tuple[str, float], list[float]]]) -> Iterable[str]:
    """Means over the seeds as Markdown, with the largest distance from the mean."""
    yield f"| criterion | sparsity | {' | '.join(COLUMNS)} |"
    yield "|---|---|---|---|"
    for criterion, sparsity in measured[0]:
        columns = np.array([found[criterion, sparsity] for found in measured]).T
        cells = [f"{column.mean():.3f} ± {np.abs(column - column.mean()).max():.3f}" for column in columns]
        yield f"| {criterion} | {sparsity:g} | {' | '.join([*cells, ''][:2])} |"


def main() -> None:
    """Prints the AUC of each criterion and sparsity, over all seeds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="the autoencoder, input: (windows, 640)")
    parser.add_argument("recordings", type=Path, help=".npz of inputs, labels and machine")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 0 on (default 3)")
    parser.add_argument("--epochs", type=int, default=10, help="epochs by the teacher (default 10)")
    asked = parser.parse_args()
    measured = [measure(asked.model, asked.recordings, seed, asked.epochs) for seed in range(asked.seeds)]
    print("\n".join(table(measured)))


if __name__ == "__main__":
    try:
        main()
    except (tightc.TightcError, FileNotFoundError) as fault:
        sys.exit(f"error: {fault}")
