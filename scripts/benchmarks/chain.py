"""What the commands and a packed model cost in time, as ratios within one run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

import tightc
from benchmarks.measuring import best_seconds
from benchmarks.networks import RESNET20
from benchmarks.page import SEED, Page
from tightc.example import RECIPE
from tightc.model.file import Model
from tightc.model.layer_view.image_classifier import image_input
from tightc.model.runtime.session import create_session
from tightc.permutation.options import PermuteOptions
from tightc.pruning.options import PruneOptions

TITLE = "The chain: ratios within one run"


def run(page: Page) -> None:
    """One row for each ratio."""
    source = RESNET20 if RESNET20.exists() and not page.quick else RECIPE.parent / "digits.onnx"
    repeats = 1 if page.quick else 7

    def seconds(action: Callable[[], object]) -> float:
        action()
        return best_seconds(action, repeats)

    page.text(f"{source.name} at sparsity 0.9; each time is the best of {repeats}, after one to warm up.")
    model = tightc.prune(tightc.load(str(source)), PruneOptions(sparsity=0.9))[0]
    permuted, _ = tightc.permute(model, PermuteOptions(), seed=SEED)
    packed, _ = tightc.pack(permuted)
    page.head("what", "ratio", "ms", "ms of the other")

    feeds = _batch(model)
    plain_session, packed_session = (create_session(m.to_bytes(), m.origin) for m in (model, packed))
    plain = seconds(lambda: plain_session.run(None, feeds))
    compact = seconds(lambda: packed_session.run(None, feeds))
    _row(page, "inference of a batch of 64, packed / plain", compact, plain)
    opening = [seconds(lambda m=m: create_session(m.to_bytes(), m.origin)) for m in (packed, model)]  # type: ignore[misc]
    _row(page, "loading into onnxruntime, packed / plain", *opening)

    one, two = (
        seconds(lambda j=jobs: tightc.permute(model, PermuteOptions(jobs=j), seed=SEED))  # type: ignore[misc]
        for jobs in (1, 2)
    )
    _row(page, "permute, one thread / two", one, two)

    command = str(Path(sys.executable).parent / "tightc")
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/pruned.onnx"
        tightc.save(model, path)
        call = [command, "permute", path, "-q", "-o", f"{folder}/permuted.onnx"]
        whole = seconds(lambda: subprocess.run(call, check=True))
        start = seconds(lambda: subprocess.run([command, "inspect", path, "-q"], check=True))
        help_ = seconds(lambda: subprocess.run([command, "--help"], check=True, stdout=subprocess.DEVNULL))
        bare = seconds(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    _row(page, "`tightc permute` / `tightc inspect`", whole, start)
    _row(page, "`tightc --help` / `python -c pass`", help_, bare)
    page.end()


def _row(page: Page, what: str, one: float, other: float) -> None:
    page.row(what, one / other, 1e3 * one, 1e3 * other)


def _batch(model: Model) -> dict[str, np.ndarray]:
    """64 empty images."""
    wanted = image_input(model.proto, model.origin)
    sides = (wanted.shape.channels, wanted.shape.height, wanted.shape.width)
    return {wanted.name: np.zeros((64, *(side or 1 for side in sides)), np.float32)}
