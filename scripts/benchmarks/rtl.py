"""What `tightc rtl` costs in time and memory, beside `tightc permute` on the same model in the same run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import tightc
from benchmarks.networks import RESNET20
from benchmarks.page import SEED, Page
from tightc.example import RECIPE
from tightc.model.file import Model

_PROGRAM = """
import sys
from tightc.cli.main import run
if run(sys.argv[1:]):
    sys.exit(1)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
TITLE = "RTL: writing a network"


def run(page: Page) -> None:
    """One row for each command."""
    source = RECIPE.parent / "digits.onnx" if page.quick else RESNET20
    page.text(
        f"{source.name} at sparsity 0.9, int8 with activations calibrated on 64 images of noise, array 32x32, fan-in "
        "8. Each command is a process of its own; wall time and the peak of its memory. `rtl` also runs the network in "
        "onnxruntime. Targets: less time than `permute`, less than 1 GiB."
    )
    page.head("command", "s", "of permute", "MiB")
    with tempfile.TemporaryDirectory() as folder:
        quantized, permuted = Path(folder) / "int8.onnx", Path(folder) / "permuted.onnx"
        tightc.save(_quantized(tightc.load(source)), quantized)
        array = ["--array", "32x32", "--fan-in", "8"]
        seconds, memory = _measured(["permute", quantized, *array, "-o", permuted])
        page.row("permute", seconds, 1.0, memory)
        for batch in (1, 16):
            command = ["rtl", permuted, *array, "--batch", batch, "-o", Path(folder) / "rtl"]
            taken, memory = _measured(command)
            page.row(f"rtl --batch {batch}", taken, taken / seconds, memory)
    page.end()


def _quantized(model: Model) -> Model:
    """`model` pruned and quantized."""
    pruned = tightc.prune(model, sparsity=0.9)[0]
    name = model.proto.graph.input[0]
    sides = [axis.dim_value for axis in name.type.tensor_type.shape.dim][1:]
    noise = np.random.default_rng(SEED).standard_normal((64, *sides)).astype(np.float32)
    return tightc.quantize(pruned, images={name.name: noise})[0]


def _measured(arguments: list[object]) -> tuple[float, float]:
    """Seconds and peak MiB of a command."""
    begin = time.perf_counter()
    command = [sys.executable, "-c", _PROGRAM, *map(str, arguments), "-q"]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return time.perf_counter() - begin, int(said) / 1024
