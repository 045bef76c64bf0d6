"""The search side by side with that of version 0.2.0: passes, processor time and memory of the same commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import tightc
from benchmarks.networks import MODELS, RESNET20, SYNTHETIC, missing, synthetic
from benchmarks.page import Page

TITLE = "The search and that of 0.2.0"
_ROOT = Path(__file__).resolve().parents[2]
_OLDER = ("0.2.0", "b5ea6faf146d1fe251ce0f5b5309622dd8407ee5")
_SHARED = MODELS.parent
_BOTH = ("passes", "energy")
# name, model, sparsity (None: the weights as they are), pairs of fan-in and objective
_NETWORKS: list[tuple[str, Path, float | None, list[tuple[int, str]]]] = [
    (
        "ResNet-20 at 0.9",
        RESNET20,
        0.9,
        [(8, "passes"), (8, "energy"), *((n, "passes") for n in (2, 3, 4, 6, 16))],
    ),
    ("VWW (MobileNet) at 0.83", _SHARED / "mlperf-tiny" / "vww.onnx", 0.83, [(8, name) for name in _BOTH]),
    ("KWS (DS-CNN) at 0.8", _SHARED / "mlperf-tiny" / "kws.onnx", 0.8, [(8, name) for name in _BOTH]),
    (
        "weights of r20-cc-5x",
        _ROOT / "docs" / "results" / "models" / "r20-cc-5x.onnx",
        None,
        [(8, name) for name in _BOTH],
    ),
]
_LAYERS = (
    (512, 512, 0.1, 16),
    (1581, 1581, 0.1, 16),
    (256, 1024, 0.05, 7),
    (512, 4608, 0.05, 8),
    (512, 4608, 0.1, 16),
)
_RUN = "from tightc.cli.main import main; main()"
_MIB = 1024


@dataclass(frozen=True)
class _Problem:
    """A model and what it is packed for."""

    name: str
    fan_in: int
    objective: str
    model: Path


@dataclass(frozen=True)
class _Run:
    """What one command took: `passes` above the bound, processor seconds, peak MiB."""

    passes: int
    bound: int
    seconds: float
    peak: float


def run(page: Page) -> None:
    """A row for each problem: both versions in turn, the least of several repetitions."""
    repeats = 1 if page.quick else 2
    page.text(
        f"`tightc permute MODEL --fan-in N --jobs 1`, this version and {_OLDER[0]} in turn, {repeats} times each, "
        "seed 0. Seconds: of the processor, user and system, the least of the repetitions; the start is included. "
        "Energy gain: by `simulate` of this version, over the dense network, on ideal hardware. "
        f"{SYNTHETIC}"
    )
    first: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        older = _checked_out(Path(folder))
        if older is None:
            page.text(f"Left out: the history of this clone does not hold {_OLDER[0]}.")
            return
        page.head(
            "problem",
            "fan-in",
            "objective",
            "bound",
            "passes",
            "0.2.0",
            "energy gain",
            "0.2.0",
            "seconds",
            "0.2.0",
            "MiB",
            "0.2.0",
        )
        sources = {"new": _ROOT / "src", "old": older / "src"}
        for problem in _problems(Path(folder), page.quick):
            runs: dict[str, list[_Run]] = {which: [] for which in sources}
            gains = {}
            for _ in range(repeats + 1):  # the first compiles
                for which, source in sources.items():
                    out = Path(folder) / f"{which}.onnx"
                    runs[which].append(_permute(source, problem, out))
                    gains[which] = tightc.simulate(tightc.load(out))
            new, old = (_least(runs[which][1:]) for which in ("new", "old"))
            page.row(
                problem.name, problem.fan_in, problem.objective, new.bound, new.passes, old.passes,
                *(gains[which].totals["energy_gain"] for which in ("new", "old")), new.seconds, old.seconds,
                new.peak, old.peak,
            )  # fmt: skip
            if "VWW" in problem.name and problem.objective == "passes":
                first = [gains[which].layers[0]["energy_gain"] for which in ("new", "old")]
        page.end()
        starts = [_start(source, Path(folder), repeats) for source in sources.values()]
        page.text(
            f"The start alone, with a layer of four weights: {starts[0]:.2f} s, with 0.2.0 {starts[1]:.2f} s. "
            "The search is what is beyond."
        )
        if first:
            page.text(f"Energy gain of the first layer of VWW: {first[0]:.2f}x, with 0.2.0 {first[1]:.2f}x.")
        _git("worktree", "remove", "--force", str(older))


def _problems(folder: Path, quick: bool) -> list[_Problem]:
    """Networks, then layers."""
    found = []
    for name, source, sparsity, asked in _NETWORKS[: 1 if quick else None]:
        if missing(source):
            continue
        path = folder / f"{source.stem}.onnx"
        model = tightc.load(source)
        tightc.save(tightc.prune(model, sparsity=sparsity)[0] if sparsity else tightc.unpack(model)[0], path)
        found += [
            _Problem(name, fan_in, objective, path) for fan_in, objective in asked[: 1 if quick else None]
        ]
    for filters, inputs, density, fan_in in () if quick else _LAYERS:
        path = folder / f"{filters}x{inputs}-{density}.onnx"
        _write(synthetic(filters, inputs, density).values, path)
        found.append(_Problem(f"{filters}x{inputs} at {density}", fan_in, "passes", path))
    return found


def _write(weights: np.ndarray, path: Path) -> None:
    """A model of one Gemm with these weights, (filters, inputs)."""
    filters, inputs = weights.shape
    ends = [("x", [1, inputs]), ("y", [1, filters])]
    first, last = (helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name, sides in ends)
    node = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
    graph = helper.make_graph([node], "layer", [first], [last], [numpy_helper.from_array(weights, "w")])
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]), path)


def _permute(source: Path, problem: _Problem, out: Path) -> _Run:
    """The command with the sources in `source`."""
    command = [sys.executable, "-c", _RUN, "permute", str(problem.model), "--fan-in", str(problem.fan_in)]
    command += ["--objective", problem.objective, "--jobs", "1"]
    command += ["--json", "--quiet", "-o", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # sources are compiled once, as for a user
    report = out.with_suffix(".json")
    with report.open("wb") as stdout:
        process = subprocess.Popen(command, stdout=stdout, env=environment, cwd=out.parent)
        _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {status}")
    totals = json.loads(report.read_text())["totals"]
    rows = json.loads(report.read_text())["layers"]
    bound = sum(row["passes_lower_bound"] for row in rows)
    return _Run(totals["passes"], bound, used.ru_utime + used.ru_stime, used.ru_maxrss / _MIB)


def _start(source: Path, folder: Path, repeats: int) -> float:
    """Processor seconds of the command for the smallest of layers, the least of three times the repetitions."""
    path = folder / "start.onnx"
    _write(np.ones((2, 2), np.float32), path)
    problem = _Problem("start", 8, "passes", path)
    return min(_permute(source, problem, folder / "started.onnx").seconds for _ in range(3 * repeats))


def _least(runs: list[_Run]) -> _Run:
    return _Run(
        runs[0].passes, runs[0].bound, min(one.seconds for one in runs), min(one.peak for one in runs)
    )


def _checked_out(folder: Path) -> Path | None:
    """The sources of the older version; None where the history does not hold them."""
    place = folder / "older"
    done = _git("worktree", "add", "--force", "--detach", str(place), _OLDER[1])
    return place if done else None


def _git(*arguments: str) -> bool:
    return (
        subprocess.run(["git", "-C", str(_ROOT), *arguments], capture_output=True, check=False).returncode
        == 0
    )
