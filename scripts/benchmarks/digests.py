"""What the digests of a model cost when it is read, as a ratio within one run."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from unittest import mock

import tightc
from benchmarks.networks import RESNET50, layers_model
from benchmarks.page import SEED, Page
from tightc.model import file
from tightc.permutation.options import PermuteOptions
from tightc.pruning.options import PruneOptions

TITLE = "Digests: what they add to reading a model"


def run(page: Page) -> None:
    """One row for each form of the model."""
    repeats = 1 if page.quick else 15
    layers = RESNET50[:4] if page.quick else RESNET50
    page.text(
        f"{len(layers)} layers of the shapes of ResNet-50, sparsity 0.9, first-fit. `tightc.load` with digests "
        f"checked and without, in turn; CPU time, best of {repeats}. Target: a ratio below 1.05."
    )
    pruned = tightc.prune(layers_model(layers), PruneOptions(sparsity=0.9))[0]
    permuted = tightc.permute(pruned, PermuteOptions(method="first-fit"), seed=SEED)[0]
    packed = tightc.pack(permuted)[0]
    page.head("model", "MiB", "ratio", "ms checked", "ms unchecked")
    with tempfile.TemporaryDirectory() as folder:
        for name, model in (("pruned", pruned), ("permuted", permuted), ("packed", packed)):
            path = Path(folder) / f"{name}.onnx"
            tightc.save(model, path)
            checked, unchecked = _seconds(path, repeats)
            page.row(name, path.stat().st_size / 2**20, checked / unchecked, 1e3 * checked, 1e3 * unchecked)
    page.end()


def _seconds(path: Path, repeats: int) -> tuple[float, float]:
    """The best CPU times of loading with and without the check."""
    checked, unchecked = [], []
    for _ in range(repeats):
        checked.append(_loading(path))
        with mock.patch.object(file, "_check_digests", lambda *_: ()):
            unchecked.append(_loading(path))
    return min(checked), min(unchecked)


def _loading(path: Path) -> float:
    began = time.process_time()  # on one core, whatever else the machine does
    tightc.load(path)
    return time.process_time() - began
