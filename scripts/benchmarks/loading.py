"""What it takes to load a packed file in onnxruntime, and to inspect a large model, as ratios within one run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime

import tightc
from benchmarks.networks import RESNET50, deep_model, layers_model
from benchmarks.page import SEED, Page
from tightc.inspection.options import InspectOptions
from tightc.model.file import Model
from tightc.permutation.options import PermuteOptions
from tightc.pruning.options import PruneOptions

TITLE = "Loading: packed files in onnxruntime, and inspect"


def run(page: Page) -> None:
    """One row for each number of layers, then one for each form of a large model."""
    with tempfile.TemporaryDirectory() as folder:
        _loading(page, Path(folder))
        _inspecting(page, Path(folder))


def _loading(page: Page, folder: Path) -> None:
    repeats = 1 if page.quick else 7
    page.text(
        "3x3 convolutions of 16 channels in a row, sparsity 0.9, first-fit. A session of onnxruntime with its default "
        f"optimization and one thread, of the pruned and of the packed file in turn; CPU time, best of {repeats}. "
        "Target: the ms for a layer stay the same."
    )
    page.head("layers", "packed/plain", "ms packed", "ms plain", "ms packed a layer")
    for layers in (5, 10) if page.quick else (75, 150, 300, 600):
        files = [folder / f"{form}-{layers}.onnx" for form in ("plain", "packed")]
        for model, file in zip(_forms(deep_model(layers)), files, strict=True):
            tightc.save(model, file)
        plain, packed = _best([lambda file=file: _session(file) for file in files], repeats)
        page.row(layers, packed / plain, 1e3 * packed, 1e3 * plain, 1e3 * packed / layers)
    page.end()


def _inspecting(page: Page, folder: Path) -> None:
    repeats = 1 if page.quick else 5
    layers = RESNET50[:4] if page.quick else RESNET50
    page.text(
        f"`tightc.load` and `tightc.inspect` of {len(layers)} layers of the shapes of ResNet-50, against `onnx.load` "
        f"and `onnx.checker.check_model` with `full_check`, in turn; wall time, best of {repeats}: the digest of the "
        "file is computed on a second core. Target for the plain model: a ratio of at most 1.3."
    )
    page.head("model", "MiB", "ratio", "ms inspect", "ms onnx")
    for form, model in zip(("plain", "packed"), _forms(layers_model(layers)), strict=True):
        file = folder / f"{form}.onnx"
        tightc.save(model, file)
        actions = [lambda file=file: _inspect(file), lambda file=file: _check(file)]
        own, bare = _best(actions, repeats, time.perf_counter)
        page.row(form, file.stat().st_size / 2**20, own / bare, 1e3 * own, 1e3 * bare)
    page.end()


def _forms(model: Model) -> tuple[Model, Model]:
    """The model pruned, and that packed."""
    pruned = tightc.prune(model, PruneOptions(sparsity=0.9))[0]
    permuted = tightc.permute(pruned, PermuteOptions(method="first-fit"), seed=SEED)[0]
    return pruned, tightc.pack(permuted)[0]


def _session(file: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _inspect(file: Path) -> None:
    tightc.inspect(tightc.load(file), InspectOptions())


def _check(file: Path) -> None:
    onnx.checker.check_model(onnx.load(file), full_check=True)


def _best(
    actions: list[Callable[[], None]], repeats: int, clock: Callable[[], float] = time.process_time
) -> list[float]:
    """The best seconds of each of `actions`, which run in turn; CPU seconds with the default `clock`."""
    found = []
    for _ in range(repeats):
        times = []
        for action in actions:
            began = clock()
            action()
            times.append(clock() - began)
        found.append(times)
    return [min(times) for times in zip(*found, strict=True)]
