"""The bits of the same int8 weights: Arm's compiler, packed tiles, the stream, and the entropy of the weights."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tightc
from benchmarks.page import FOLDER, SEED, Page
from tightc.example import RECIPE
from tightc.model.file import Model
from tightc.model.layer_view.layers import read_network

TITLE = "Stream: bits of the same weights, beside Arm's compiler"
_ROOT = FOLDER.parents[1]
_MODELS = _ROOT.parent / "shared" / "mlperf-tiny"
_VELA = _ROOT / ".venv-vela" / "bin" / "python"
_RESNET8, _AUTOENCODER = ("ResNet-8", "resnet8.onnx"), ("autoencoder", "ad.onnx")
_SPARSITIES = (0.9, 0.95)
_LARGEST = 127


@dataclass(frozen=True)
class Case:
    """An int8 network with zeros: its name, whether a layer has one scale for all filters, and the model."""

    name: str
    sparsity: float
    model: Model


def run(page: Page) -> None:
    """One row for each network and sparsity."""
    cases = _cases(page)
    page.text(
        "Networks of MLPerf Tiny, not trained: in each layer the smallest weights become zero, `prune --scope layer`. "
        "`quantize` makes int8 with a scale a filter, `permute` packs for 32x32 with fan-in 8. In the rows with one "
        "scale, all filters of a layer share theirs, as in the int8 file of MLPerf Tiny for this network."
    )
    page.text(
        "All columns are KiB of the weights alone, without biases and scales, and all store the same integers. "
        "Packed: `packed_bits`. Stream: `stream_bits`, with selects, lane lists and all headers. Entropy: the sum over "
        "layers of -c log2(c / weights) over the c weights of each value, zero among them. That is order 0, of values "
        "and positions together, for a coder that gets the table of each layer for nothing."
    )
    with tempfile.TemporaryDirectory() as folder:
        vela = _vela(page, cases, Path(folder))
    page.head(
        "network", "zeros", "int8", "Vela", "packed", "stream", "entropy", "stream / Vela", "stream / entropy",
        "passes, packed", "passes, stream",
    )  # fmt: skip
    for case, stored in zip(cases, vela, strict=True):
        page.row(case.name, f"{case.sparsity:.0%}", *_figures(case, stored))
    page.end()


def _cases(page: Page) -> list[Case]:
    """Those of the page; the embedded example where it is to be quick."""
    if page.quick:
        return [_case("digits", RECIPE.parent / "digits.onnx", 0.9)]
    cases = [_case(name, _MODELS / file, s) for name, file in (_RESNET8, _AUTOENCODER) for s in _SPARSITIES]
    ones = [Case(f"{case.name}, one scale", case.sparsity, _with_one_scale(case.model)) for case in cases[2:]]
    return [*cases, *ones]


def _case(name: str, path: Path, sparsity: float) -> Case:
    pruned = tightc.prune(tightc.load(path), sparsity=sparsity, scope="layer").model
    return Case(name, sparsity, tightc.quantize(pruned).model)


def _with_one_scale(model: Model) -> Model:
    """The int8 `model` with its weights rounded again, to the largest of a layer over 127."""
    network = read_network(model)
    tensors: dict[str, NDArray[Any]] = {}
    for layer in network.owners:
        weights, quantized = network.dequantized_matrix(layer), network.quantized[layer.weight]
        scale = np.abs(weights).max() / _LARGEST
        rounded = np.rint(weights / scale).astype(np.int8)
        tensors[layer.weight] = layer.tensor(rounded, network.shapes[layer.weight])
        tensors[quantized.scale_name] = np.full(quantized.scale.shape, scale, np.float32)
    return model.with_tensors(tensors)


def _vela(page: Page, cases: Sequence[Case], folder: Path) -> list[int | None]:
    """Bytes of Vela for each case; None where its environment is missing."""
    if page.quick or not _VELA.exists():
        page.text("Vela was not run: " + ("not with --quick." if page.quick else "`make vela` installs it."))
        return [None] * len(cases)
    paths = [folder / f"{number}.onnx" for number in range(len(cases))]
    for path, case in zip(paths, cases, strict=True):
        tightc.save(case.model, path)
    command = [_VELA, _ROOT / "scripts" / "vela.py", *paths]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    used = found["models"][0]
    page.text(
        f"Vela {found['vela']}, `scripts/vela.py` after `make vela`: {used['accelerator_configuration']}, "
        f"{used['system_config']}, {used['memory_mode']}, the defaults. The weights go into a TensorFlow Lite file "
        'unchanged. The figure is its "NPU encoded weights".'
    )
    return [row["bytes"] for row in found["models"]]


def _figures(case: Case, stored: int | None) -> tuple[int | float | None, ...]:
    """The cells of a case, in KiB, behind its name and sparsity."""
    network = read_network(case.model)
    matrices = [network.matrix(layer) for layer in network.owners]
    permuted = tightc.permute(case.model, array="32x32", fan_in=8, seed=SEED)
    packed = tightc.pack(permuted.model).report.totals
    stream, bound = packed["stream_bits"] / 8, sum(map(order_0_bits, matrices)) / 8
    sizes = (sum(matrix.size for matrix in matrices), stored, packed["packed_bits"] / 8, stream, bound)
    ratios = (stream / stored if stored else None, stream / bound)
    return (
        *(None if size is None else size / 1024 for size in sizes),
        *ratios,
        permuted.report.totals["passes"],
        packed["passes"],
    )


def order_0_bits(values: NDArray[Any]) -> float:
    """The entropy of order 0 of all `values`, times their number, in bits (Shannon 1948, section 6)."""
    _, counts = np.unique(values, return_counts=True)
    return float(-(counts * np.log2(counts / values.size)).sum())
