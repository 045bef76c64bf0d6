"""SCALE-Sim 3.0.0 side by side with tightc on three layers of ResNet-20."""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import tightc
from benchmarks.measuring import ARRAY, Times, seconds
from benchmarks.page import SEED, Page
from tightc.accelerator.accelerator import Accelerator
from tightc.config.input_sizes import InputSizeOptions
from tightc.model.file import Model, load_model_bytes
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.simulation.engine.loaded_tile import Operands
from tightc.simulation.engine.run import run_dense
from tightc.simulation.options import SimulateOptions
from tightc.simulation.report.scalesim import export_scalesim
from tightc.simulation.simulate import layer_costs
from tightc.simulation.workload import read_workload

_LAYERS = ((34, 16), (18, 32), (10, 64))  # side of the input, padding included; channels in and out
_INSTALL = ("--quiet", "--disable-pip-version-check", "--retries=1", "--timeout=15", "--only-binary=:all:")
_COMMAND, _LEAST = "SCALE-Sim's command", "SCALE-Sim without traces and progress bars"
# times SCALE-Sim from inside: its command, and its class with the least that it can do
_DRIVER = """
import contextlib, io, json, runpy, sys, time
clock = time.perf_counter
from scalesim.scale_sim import scalesim
found = {}
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    began = clock()
    runpy.run_module("scalesim.scale", run_name="__main__", alter_sys=True)
    found["command"] = clock() - began
    began = clock()
    files = {"config": "scale.cfg", "topology": "topology.csv", "layout": "topology.csv"}
    scalesim(save_disk_space=True, verbose=False, **files).run_scale(top_path="results")
    found["least"] = clock() - began
print(json.dumps(found))
"""


def compare(page: Page, repeats: int) -> None:
    """A table of times and one of cycles."""
    page.text(
        "### SCALE-Sim 3.0.0 on the same three layers, 32x32, weight-stationary\n\n3x3 convolutions of ResNet-20, all "
        "three in one run. `layer_costs` is the closed form after reading, `tightc.simulate` reads the model and makes "
        "the report too, the cycle engine computes the values in float32."
    )
    with tempfile.TemporaryDirectory() as folder:
        found = "with --quick it is not installed" if page.quick else _installed(Path(folder) / "environment")
        if isinstance(found, str):
            page.text(f"SCALE-Sim was not run: {found}.")
            _tables(page, _Ours(_model()), None, repeats)
        else:
            other = _ScaleSim(found, Path(folder))
            page.text(
                f"SCALE-Sim runs in an environment of its own, with {other.surroundings()}. It is timed inside its "
                "process, so start and imports do not count. It runs as its command does, which writes traces, and "
                "through its class with as little work as possible. It computes no values. The repeats of all ways "
                "take turns. Ratios are of the best times."
            )
            _tables(page, _Ours(_model()), other, repeats)


def _tables(page: Page, ours: _Ours, other: _ScaleSim | None, repeats: int) -> None:
    runs: dict[str, Callable[[], object]] = {
        "`layer_costs`": ours.layer_costs,
        "`tightc.simulate`": ours.simulate,
        "cycle engine": ours.step,
    }
    for run in runs.values():
        run()
    took: dict[str, list[float]] = {}
    for _ in range(repeats):
        for name, figure in (other.run() if other else {}).items():
            took.setdefault(name, []).append(figure)
        for name, run in runs.items():
            took.setdefault(name, []).append(seconds(run))
    found = {name: Times(min(every), median(every)) for name, every in took.items()}
    page.head("what", "ms", "median", f"faster than {_COMMAND}", f"than {_LEAST}")
    for name, figure in found.items():
        than = [found[base].best / figure.best for base in (_COMMAND, _LEAST) if other and name in runs]
        page.row(name, *figure.ms, *(than or (None, None)))
    page.end()
    page.text("Cycles; SCALE-Sim counts from 0, so that one is added to its own.")
    page.head("layer", "SCALE-Sim", "closed form", "cycle engine")
    counted = other.cycles() if other else [None] * len(_LAYERS)
    for (side, channels), *cycles in zip(_LAYERS, counted, ours.layer_costs(), ours.step(), strict=True):
        page.row(f"{side}x{side}, {channels} to {channels}", *cycles)
    page.end()


class _Ours:
    """The ways in which tightc simulates a model; each gives the cycles of every layer but for `simulate`."""

    def __init__(self, model: Model) -> None:
        self._model, self._accelerator = model, Accelerator(ARRAY)
        self._workload = read_workload(model, SimulateOptions())
        rng = np.random.default_rng(SEED)
        self._operands = [
            Operands(
                layer_matrix(self._workload.network, entry.layer),
                rng.standard_normal((entry.gemm.vectors, entry.layer.inputs), np.float32),
            )
            for entry in self._workload.layers
        ]

    def layer_costs(self) -> list[int]:
        """The closed form."""
        return [cost.actual.cycles for cost in layer_costs(self._workload, self._accelerator, "ws")]

    def step(self) -> list[int]:
        """The cycle engine."""
        return [run_dense("ws", operands, self._accelerator).cycles for operands in self._operands]

    def simulate(self) -> None:
        """All that the command does after loading, with the closed form."""
        tightc.simulate(self._model, SimulateOptions(array=ARRAY))


@dataclass(frozen=True)
class _ScaleSim:
    """SCALE-Sim in the environment of `python`; it works in `folder`."""

    python: Path
    folder: Path

    def run(self) -> dict[str, float]:
        """Seconds of every way, in a new process."""
        _, _, readme = export_scalesim(_model(), self.folder, ARRAY, "ws", InputSizeOptions())
        (command,) = (line for line in readme.read_text().splitlines() if line.startswith("    python "))
        arguments = shlex.split(command)[3:]  # python -m scalesim.scale
        result = subprocess.run(
            [self.python, "-c", _DRIVER, *arguments],
            cwd=self.folder,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        took = json.loads(result.stdout)
        return {_COMMAND: took["command"], _LEAST: took["least"]}

    def surroundings(self) -> str:
        """The versions of what it runs on."""
        reported = (
            "import platform, numpy; print(f'Python {platform.python_version()}, numpy {numpy.__version__}')"
        )
        result = subprocess.run([self.python, "-c", reported], check=True, stdout=subprocess.PIPE, text=True)
        return result.stdout.strip()

    def cycles(self) -> list[int]:
        """What it counted for each layer, from 1 as we do."""
        with (self.folder / "results" / "tightc" / "COMPUTE_REPORT.csv").open(newline="") as lines:
            return [int(line["Total Cycles"]) + 1 for line in csv.DictReader(lines, skipinitialspace=True)]


def _installed(folder: Path) -> Path | str:
    """The Python of a new environment that has SCALE-Sim; why not where there is none."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    command = [python, "-m", "pip", "install", *_INSTALL, "scalesim==3.0.0", "numpy<2"]
    try:
        pip = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return "the package registry gave it not within 300 s"
    if pip.returncode:
        fault = (pip.stderr.strip().splitlines() or ["no reason given"])[-1]
        return f"the package registry cannot be reached (pip: {fault})"
    return python


def _model() -> Model:
    """The three layers side by side."""
    rng = np.random.default_rng(SEED)
    nodes, inputs, outputs, weights = [], [], [], []
    for number, (side, channels) in enumerate(_LAYERS):
        x, w, y = f"x{number}", f"w{number}", f"y{number}"
        values = rng.standard_normal((channels, channels, 3, 3), np.float32)
        weights.append(numpy_helper.from_array(values, w))
        nodes.append(helper.make_node("Conv", [x, w], [y], name=f"layer{number}"))
        inputs.append(helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, channels, side, side]))
        sides = [1, channels, side - 2, side - 2]
        outputs.append(helper.make_tensor_value_info(y, TensorProto.FLOAT, sides))
    graph = helper.make_graph(nodes, "layers", inputs, outputs, weights)
    proto = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    return load_model_bytes(proto.SerializeToString(), "layers.onnx")
