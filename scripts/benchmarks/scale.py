"""Memory and time over the size of a model: the stages on files of gigabytes, and the search over all magnitudes."""

from __future__ import annotations

import io
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

TITLE = "Scale: models of gigabytes"
_MIB = 2**20
_DENSITY = 0.1
_FIT = ("--method", "first-fit", "--jobs", "2")
_STAGES = (
    ("inspect", "dense", ()),
    ("prune", "dense", ("--sparsity", "0.92")),
    ("permute", "prune", _FIT),
    ("pack", "permute", ()),
    ("unpack", "pack", ()),
    ("simulate", "pack", ()),
)
_SIZES = {"tight": (10**5, 10**6, 10**7, 10**8), "first-fit": (10**5, 10**6, 10**7, 10**8, 10**9)}
_PARAMETERS, _WORKERS = 7e9, 16


def run(page: Page) -> None:
    """The stages on large files, then the search."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("SCALE_FOLDER")) as folder:
        _stages(page, Path(folder))
        _search(page, Path(folder))


@dataclass(frozen=True)
class _Cost:
    """Seconds and peak memory, MiB, of a command."""

    seconds: float
    peak: float


def _stages(page: Page, folder: Path) -> None:
    page.text(
        "The command line on files: layers of the shapes of ResNet-50 in one file, and nine MatMul layers of 8192x8192 "
        "float32 with external data. Peak is the resident memory of the process. Beyond is what it takes more than the "
        "same command on a model of a kilobyte, in sizes of the file that it reads. Target: at most 2.5, or for files "
        "above 2 GiB a peak below 1.5 times the largest layer plus 1 GiB. Permute is first-fit on two threads."
    )
    _products(folder / "small.onnx", 8, 2)
    small = _chain(folder, "small")
    large = {"nine": (512, 9)} if page.quick else {"nine": (8192, 9)}
    page.head("model", "stage", "file MiB", "peak MiB", "beyond", "bound MiB", "s")
    tightc.save(layers_model(RESNET50[:4] if page.quick else RESNET50), folder / "resnet50.onnx")
    for stage, cost in _chain(folder, "resnet50").items():
        size = _size(folder, "resnet50", stage)
        beyond = (cost.peak - small[stage].peak) / size
        page.row("ResNet-50", stage, size, cost.peak, beyond, small[stage].peak + 2.5 * size, cost.seconds)
    for name, (side, layers) in large.items():
        _products(folder / f"{name}.onnx", side, layers)
        bound = 1024 + 1.5 * 4 * side**2 / _MIB
        for stage, cost in _chain(folder, name).items():
            size = _size(folder, name, stage)
            beyond = (cost.peak - small[stage].peak) / size
            page.row(f"{layers} of {side}x{side}", stage, size, cost.peak, beyond, bound, cost.seconds)
    page.end()


def _search(page: Page, folder: Path) -> None:
    sizes = {method: own[:2] for method, own in _SIZES.items()} if page.quick else _SIZES
    page.text(
        f"`tightc permute` of float32 MatMul layers at density {_DENSITY}, 32x32, fan-in 16, on two threads: ten "
        "layers, or one below a million weights. Peak is the resident memory of the process."
    )
    page.head("method", "weights", "non-zeros", "s", "us / non-zero", "peak MiB", "file MiB")
    found: dict[str, list[tuple[int, _Cost]]] = {}
    for method, own in sizes.items():
        for weights in own:
            layers = 1 if weights < 10**6 else 10
            side = round((weights / layers) ** 0.5)
            source = folder / f"{weights}.onnx"
            if not source.exists():
                _products(source, side, layers)
            arguments = ["permute", str(source), "--method", method, "--jobs", "2"]
            cost = _measured([*arguments, "-o", str(folder / "found.onnx"), "-q"])
            found.setdefault(method, []).append((layers * side**2, cost))
            nonzeros = layers * side**2 * _DENSITY
            size = _bytes(source) / _MIB
            page.row(method, weights, nonzeros, cost.seconds, 1e6 * cost.seconds / nonzeros, cost.peak, size)
    page.end()
    if not page.quick:
        page.figure("scale", "Seconds and peak memory over the number of weights", _drawn(found))
    weights, cost = found["tight"][-1]
    core_hours = 2 * cost.seconds * _PARAMETERS / weights / 3600
    page.text(
        f"On paper, from the last row of tight: a model of {_PARAMETERS:.0e} weights at this density takes "
        f"{core_hours / 2:.1f} hours on this machine, and {core_hours / _WORKERS:.1f} on {_WORKERS} Dask workers of a "
        "core each, as far as its layers are many more than the workers."
    )


def _chain(folder: Path, name: str) -> dict[str, _Cost]:
    """The cost of every stage, each on the file of an earlier one."""
    costs = {}
    for stage, source, options in _STAGES:
        read = folder / (f"{name}.onnx" if source == "dense" else f"{name}-{source}.onnx")
        writes = stage not in ("inspect", "simulate")
        out = ["-o", str(folder / f"{name}-{stage}.onnx")] if writes else []
        costs[stage] = _measured([stage, str(read), *options, *out, "-q"])
    return costs


def _size(folder: Path, name: str, stage: str) -> float:
    """MiB of the file that a stage reads, but of the larger one where it writes a plain model from a packed one."""
    source = next(source for own, source, _ in _STAGES if own == stage)
    read = folder / (f"{name}.onnx" if source == "dense" else f"{name}-{source}.onnx")
    plain = folder / f"{name}.onnx"
    return max(_bytes(read), _bytes(plain) if source == "pack" else 0) / _MIB


def _bytes(file: Path) -> int:
    """The bytes of a model file and of its external data."""
    return sum(path.stat().st_size for path in file.parent.glob(f"{file.name}*"))


# started by a small process: the peak of a child counts what its parent held when it was forked
_LAUNCHER = """
import os, resource, subprocess, sys, time
began = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
seconds = time.perf_counter() - began
print(seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""


def _measured(arguments: Sequence[str]) -> _Cost:
    command = [sys.executable, "-S", "-c", _LAUNCHER, sys.executable, "-m", "tightc", *arguments]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds, peak = map(float, found.stdout.split())
    return _Cost(seconds, peak)


def _products(file: Path, side: int, layers: int) -> None:
    """Write a model of square MatMul layers with external data, a few rows at a time."""
    nodes, tensors, offset = [], [], 0
    with open(f"{file}.data", "wb") as stream:
        for layer in range(layers):
            nodes.append(helper.make_node("MatMul", [f"x{layer}", f"w{layer}"], [f"x{layer + 1}"]))
            rng = np.random.default_rng([SEED, layer])
            for row in range(0, side, 256):
                shape = (min(256, side - row), side)
                values = rng.standard_normal(shape, np.float32)
                values[rng.random(shape, np.float32) >= _DENSITY] = 0
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


def _drawn(found: dict[str, list[tuple[int, _Cost]]]) -> bytes:
    """Seconds and memory over weights, both logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "tightc"
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for axis, label, value in (
        (axes[0], "seconds", lambda cost: cost.seconds),
        (axes[1], "peak memory, MiB", lambda cost: cost.peak),
    ):
        for method, own in found.items():
            axis.loglog([weights for weights, _ in own], [value(cost) for _, cost in own], "o-", label=method)
        axis.set_xlabel("weights")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    axes[0].legend()
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    plt.close(figure)
    return stream.getvalue()
