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
from benchmarks.networks import RESNET20, SYNTHETIC, missing, pruned, synthetic
from benchmarks.page import Page

TITLE = "The search and that of 0.2.0"
_ROOT = Path(__file__).resolve().parents[2]
_OLDER = ("0.2.0", "b5ea6faf146d1fe251ce0f5b5309622dd8407ee5")
_RUN = "from tightc.cli.main import main; main()"
_MIB = 1024


@dataclass(frozen=True)
class _Run:
    """What one command took: `passes` above the bound, processor seconds, peak MiB."""

    passes: int
    bound: int
    seconds: float
    peak: float


def run(page: Page) -> None:
    """A row for each problem: both versions in turn, the least of several repetitions."""
    repeats = 1 if page.quick else 3
    page.text(
        f"`tightc permute MODEL --fan-in N --jobs 1`, this version and {_OLDER[0]} in turn, {repeats} times each, "
        "seed 0. Seconds: of the processor, user and system, the least of the repetitions; the start is included. "
        "Energy gain: by `simulate` of this version, over the dense network, on ideal hardware. "
        f"{SYNTHETIC}"
    )
    with tempfile.TemporaryDirectory() as folder:
        older = _checked_out(Path(folder))
        if older is None:
            page.text(f"Left out: the history of this clone does not hold {_OLDER[0]}.")
            return
        page.head(
            "problem",
            "fan-in",
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
        for name, fan_in, model in _problems(Path(folder), page.quick):
            sources = {"new": _ROOT / "src", "old": older / "src"}
            runs: dict[str, list[_Run]] = {which: [] for which in sources}
            gains = {}
            for _ in range(repeats + 1):  # the first compiles
                for which, source in sources.items():
                    out = Path(folder) / f"{which}.onnx"
                    runs[which].append(_permute(source, model, fan_in, out))
                    gains[which] = tightc.simulate(tightc.load(out)).totals["energy_gain"]
            new, old = (_least(runs[which][1:]) for which in ("new", "old"))
            page.row(
                name, fan_in, new.bound, new.passes, old.passes, gains["new"], gains["old"], new.seconds, old.seconds,
                new.peak, old.peak,
            )  # fmt: skip
        page.end()
        _git("worktree", "remove", "--force", str(older))


def _problems(folder: Path, quick: bool) -> list[tuple[str, int, Path]]:
    """(name, fan-in, model) of each problem."""
    found = []
    if not missing(RESNET20):
        tightc.save(pruned(RESNET20, 0.9), folder / "resnet20.onnx")
        fan_ins = (8,) if quick else (2, 4, 6, 8, 16)
        found += [("ResNet-20 at 0.9", fan_in, folder / "resnet20.onnx") for fan_in in fan_ins]
    if quick:
        return found
    for filters, inputs, density, fan_in in (
        (512, 512, 0.1, 16),
        (1581, 1581, 0.1, 16),
        (256, 1024, 0.05, 7),
        (512, 4608, 0.05, 8),
        (512, 4608, 0.1, 16),
    ):
        path = folder / f"{filters}x{inputs}-{density}.onnx"
        _write(synthetic(filters, inputs, density).values, path)
        found.append((f"{filters}x{inputs} at {density}", fan_in, path))
    return found


def _write(weights: np.ndarray, path: Path) -> None:
    """A model of one Gemm with these weights, (filters, inputs)."""
    filters, inputs = weights.shape
    ends = [("x", [1, inputs]), ("y", [1, filters])]
    first, last = (helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name, sides in ends)
    node = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
    graph = helper.make_graph([node], "layer", [first], [last], [numpy_helper.from_array(weights, "w")])
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]), path)


def _permute(source: Path, model: Path, fan_in: int, out: Path) -> _Run:
    """The command with the sources in `source`."""
    command = [sys.executable, "-c", _RUN, "permute", str(model), "--fan-in", str(fan_in), "--jobs", "1"]
    command += ["--json", "--quiet", "-o", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(source)}
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
