"""Memory of every stage on files of gigabytes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

import tightc
from benchmarks.networks import RESNET50, layers_model
from benchmarks.page import SEED, Page

TITLE = "Scale: the stages on models of gigabytes"
MIB = 2**20
DENSITY = 0.1
_FIT = ("--method", "first-fit", "--jobs", "2")
_STAGES = (
    ("inspect", "dense", ()),
    ("prune", "dense", ("--sparsity", "0.92")),
    ("permute", "prune", _FIT),
    ("pack", "permute", ()),
    ("unpack", "pack", ()),
    ("simulate", "pack", ()),
)


def run(page: Page) -> None:
    """A row for each stage of each model."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("SCALE_FOLDER")) as folder:
        _stages(page, Path(folder))


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock and of computing, and peak memory in MiB, of a command."""

    seconds: float
    computing: float
    peak: float


def _stages(page: Page, folder: Path) -> None:
    page.text(
        "The command line on files: layers of the shapes of ResNet-50 in one file, and nine MatMul layers of 8192x8192 "
        "float32 with external data. Peak is the resident memory of the process. Beyond is what it takes more than the "
        "same command on a model of a kilobyte, in sizes of the file that it reads. Target: at most 2.5, or for files "
        "above 2 GiB a peak below 1.5 times the largest layer plus 1 GiB. Permute is first-fit on two threads."
    )
    products(folder / "small.onnx", 8, 2)
    small = _chain(folder, "small")
    large = {"nine": (512, 9)} if page.quick else {"nine": (8192, 9)}
    page.head("model", "stage", "file MiB", "peak MiB", "beyond", "bound MiB", "s")
    tightc.save(layers_model(RESNET50[:4] if page.quick else RESNET50), folder / "resnet50.onnx")
    for stage, cost in _chain(folder, "resnet50").items():
        size = _size(folder, "resnet50", stage)
        beyond = (cost.peak - small[stage].peak) / size
        page.row("ResNet-50", stage, size, cost.peak, beyond, small[stage].peak + 2.5 * size, cost.seconds)
    for name, (side, layers) in large.items():
        products(folder / f"{name}.onnx", side, layers)
        bound = 1024 + 1.5 * 4 * side**2 / MIB
        for stage, cost in _chain(folder, name).items():
            size = _size(folder, name, stage)
            beyond = (cost.peak - small[stage].peak) / size
            page.row(f"{layers} of {side}x{side}", stage, size, cost.peak, beyond, bound, cost.seconds)
    page.end()


def _chain(folder: Path, name: str) -> dict[str, Cost]:
    """The cost of every stage, each on the file of an earlier one."""
    costs = {}
    for stage, source, options in _STAGES:
        read = folder / (f"{name}.onnx" if source == "dense" else f"{name}-{source}.onnx")
        writes = stage not in ("inspect", "simulate")
        out = ["-o", str(folder / f"{name}-{stage}.onnx")] if writes else []
        costs[stage] = measured([stage, str(read), *options, *out, "-q"])
    return costs


def _size(folder: Path, name: str, stage: str) -> float:
    """MiB of the file that a stage reads, but of the larger one where it writes a plain model from a packed one."""
    source = next(source for own, source, _ in _STAGES if own == stage)
    read = folder / (f"{name}.onnx" if source == "dense" else f"{name}-{source}.onnx")
    plain = folder / f"{name}.onnx"
    return max(file_bytes(read), file_bytes(plain) if source == "pack" else 0) / MIB


def file_bytes(file: Path) -> int:
    """The bytes of a model file and of its external data."""
    return sum(path.stat().st_size for path in file.parent.glob(f"{file.name}*"))


# started by a small process: the peak of a child counts what its parent held when it was forked
_LAUNCHER = """
import os, resource, subprocess, sys, time
began = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
seconds = time.perf_counter() - began
found = resource.getrusage(resource.RUSAGE_CHILDREN)
print(seconds, found.ru_utime + found.ru_stime, found.ru_maxrss / 1024)
"""


def measured(arguments: Sequence[str]) -> Cost:
    """The cost of a command of tightc."""
    command = [sys.executable, "-S", "-c", _LAUNCHER, sys.executable, "-m", "tightc", *arguments]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Cost(*map(float, found.stdout.split()))


def products(file: Path, side: int, layers: int) -> None:
    """Write a model of square MatMul layers with external data, a few rows at a time."""
    nodes, tensors, offset = [], [], 0
    with open(f"{file}.data", "wb") as stream:
        for layer in range(layers):
            nodes.append(helper.make_node("MatMul", [f"x{layer}", f"w{layer}"], [f"x{layer + 1}"]))
            rng = np.random.default_rng([SEED, layer])
            for row in range(0, side, 256):
                shape = (min(256, side - row), side)
                values = rng.standard_normal(shape, np.float32)
                values[rng.random(shape, np.float32) >= DENSITY] = 0
                stream.write(values.tobytes())
            tensor = TensorProto(name=f"w{layer}", data_type=TensorProto.FLOAT, dims=[side, side])
            tensor.data_location = TensorProto.EXTERNAL
            place = {"location": f"{file.name}.data", "offset": offset, "length": 4 * side**2}
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
            tensors.append(tensor)
            offset += 4 * side**2
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, side]) for name in ("x0", f"x{layers}")
    ]
    graph = helper.make_graph(nodes, "products", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    file.write_bytes(model.SerializeToString())
