"""Co-simulation: the testbench in Icarus or Verilator, and what it says of each layer."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tightc.errors import OptionError, VerifyError
from tightc.report import LayerReport, Report
from tightc.rtl.options import RtlOptions
from tightc.rtl.rtl import Design
from tightc.rtl.write import MODULES

_LINE = re.compile(
    r"layer (?P<layer>\d+): (?P<tiles>\d+) tiles, (?P<cycles>\d+) cycles, (?P<sums>\d+) sums, (?P<starts>\d+) wrong "
    r"starts, (?P<different_sums>\d+) sums differ, (?P<different_bytes>\d+) bytes differ, (?P<rounded>\d+) by rounding"
    r"(\s+(?P<rounded_reads>\d+) activations differ by rounding)?"
)
_TOOLS = {"icarus": ("iverilog", "vvp"), "verilator": ("verilator", "g++", "make")}
_SHOWN = 12  # lines of a simulation that failed


@dataclass(frozen=True)
class SimulatedLayer:
    """A layer in the simulation of the RTL: its `cycles`, and `rounded` bytes that differ by rounding.

    `rounded_reads`: activations that do, in the layers before. Where there are any, sums are not compared.
    """

    cycles: int
    rounded: int
    rounded_reads: int = 0


def check_simulator(options: RtlOptions) -> None:
    """OptionError where the simulator of `options` is not installed, or `chain` has none to run with."""
    if options.chain and options.simulate is None:
        raise OptionError("--chain: expected --simulate too, got none", "add --simulate icarus")
    for tool in _TOOLS[options.simulate] if options.simulate else ():
        if shutil.which(tool) is None:
            raise OptionError(
                f"--simulate {options.simulate}: expected {tool} on the PATH, got none",
                f"install {options.simulate}, or leave --simulate out",
            )


def simulated_report(design: Design, folder: Path, options: RtlOptions) -> Report:
    """The report of `design`, written to `folder`, with what the simulator of `options` finds in each layer.

    VerifyError where cycles, sums or bytes differ from those in the images.
    """
    if options.simulate is None:
        return design.report
    found = simulate_folder(folder, options.simulate, chain=options.chain)
    rows = tuple(
        LayerReport(
            {
                **row,
                "simulated_cycles": layer.cycles,
                "bytes_by_rounding": layer.rounded,
                "activations_by_rounding": layer.rounded_reads,
            }
        )
        for row, layer in zip(design.report.layers, found, strict=True)
    )
    totals = {**design.report.totals, "simulator": options.simulate, "chain": options.chain}
    return replace(design.report, layers=rows, totals=totals)


def simulate_folder(folder: Path, simulator: str, *, chain: bool = False) -> list[SimulatedLayer]:
    """The layers of the design in `folder`, in order, as "icarus" or "verilator" finds them.

    With `chain`, a layer reads what the layers before it have written. VerifyError where cycles, sums or bytes differ
    from those in the images.
    """
    with tempfile.TemporaryDirectory(prefix="tightc-rtl-") as build:
        said = _run([*_built(folder, simulator, Path(build)), *(["+chain"] if chain else [])], folder)
    layers = [
        SimulatedLayer(int(line["cycles"]), int(line["rounded"]), int(line["rounded_reads"] or 0))
        for line in _LINE.finditer(said)
    ]
    if not re.search(rf"^passed: {len(layers)} layers", said, re.MULTILINE):
        raise VerifyError(
            f"{folder}: expected the values and cycles of the images, got others from {simulator}: "
            + " / ".join(said.strip().splitlines()[-_SHOWN:]),
            "this is a fault of tightc, not of the model: please report it with the model",
        )
    return layers


def _built(folder: Path, simulator: str, build: Path) -> list[str]:
    """Compiles the testbench; returns the command that runs it."""
    sources = [str((folder / name).resolve()) for name in MODULES]
    if simulator == "icarus":
        program = build / "testbench.vvp"
        _run(
            [
                "iverilog",
                "-g2012",
                "-s",
                "testbench",
                "-I",
                str(folder.resolve()),
                "-o",
                str(program),
                *sources,
            ],
            build,
        )
        return ["vvp", "-n", str(program)]
    flags = ["--binary", "-O3", "--top-module", "testbench", f"-I{folder.resolve()}", "--Mdir", str(build)]
    _run(["verilator", *flags, "-CFLAGS", "-O2", "-j", "2", *sources], build)
    return [str(build / "Vtestbench")]


def _run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip().splitlines()
        raise VerifyError(
            f"expected {Path(command[0]).name} to end with exit code 0, got {done.returncode}: "
            + " / ".join(lines[-_SHOWN:]),
            "report it with the model and the simulator's version",
        )
    return done.stdout
