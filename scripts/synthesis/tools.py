"""Runs Yosys, OpenSTA and Icarus, and keeps their results in a folder by the hash of all that they depend on."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthesis.library import Library

ROOT = Path(__file__).parents[2]
TOOLS = {"yosys": "yosys -V", "sta": "sta -version", "iverilog": "iverilog -V"}
_SLACK = re.compile(r"\s(-?\d+\.\d+)\s*$", re.MULTILINE)
_AREA = re.compile(r"Chip area for (?:top )?module '[^']*': ([\d.]+)")


_BEFORE = "strash;&get,-n;&fraig,-x;&put;scorr;dc2;dretime;strash;"
_AFTER = "topo;buffer,-c;topo;upsize,-D,{target};dnsize,-D,{target}"
# how abc covers the logic by cells, from the smallest to the fastest; the second is what Yosys does by default
MAPPINGS = {
    "small": _BEFORE + "dch;amap;" + _AFTER,
    "balanced": _BEFORE + "&get,-n;&dch,-f;&nf,-D,{target};&put;" + _AFTER,
    "fast": _BEFORE + "dch;map,-B,0.9,-D,{target};" + _AFTER,
}


class ToolError(Exception):
    """A program is missing or failed."""


@dataclass(frozen=True)
class Design:
    """A module to synthesize: its files, relative to the root of the repository, and its parameters."""

    name: str
    top: str
    sources: tuple[str, ...]
    parameters: Mapping[str, int]


@dataclass(frozen=True)
class Netlist:
    """A synthesized design: `area` in um2, `period` in ns of its longest path, and where its files lie."""

    area: float
    period: float
    mapping: str
    target: int
    json: Path
    verilog: Path


@dataclass(frozen=True)
class Setup:
    """What every run reads: the library's file, uncompressed, a folder for results, and what is around a design.

    `arrival` and `slew`, in ns, are those of an input driven by a register of the library; abc takes `driver` to drive
    inputs, and outputs to drive `load` fF.
    """

    liberty: Path
    digest: str
    folder: Path
    arrival: float
    slew: float
    driver: str
    load: float


def require_tools() -> dict[str, str]:
    """The version of each program; ToolError where one is missing."""
    versions = {}
    for tool, command in TOOLS.items():
        if shutil.which(tool) is None:
            raise ToolError(f"expected {tool} on the path, got none; install yosys, opensta and iverilog")
        result = subprocess.run(command.split(), capture_output=True, text=True, check=False)
        match = re.search(r"\d+\.\d+(\.\d+)?", result.stdout)
        versions[tool] = match[0] if match else "of unknown version"
    return versions


def run(command: Sequence[str | Path], folder: Path) -> str:
    """What the command prints; ToolError with its last lines where it fails."""
    result = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if result.returncode != 0:
        last = (result.stdout + result.stderr).strip().splitlines()[-3:]
        raise ToolError(f"{Path(command[0]).name} failed: {' / '.join(last)}")
    return result.stdout


def setup_of(library: Library, liberty: Path, folder: Path) -> Setup:
    """The setup for the library in the uncompressed file `liberty`; results go into `folder`."""
    inverter = library.inverter()
    return Setup(
        liberty=liberty,
        digest=hashlib.sha256(liberty.read_bytes()).hexdigest(),
        folder=folder,
        arrival=library.clock_to_output(),
        slew=library.typical_slew(),
        driver=inverter.name,
        load=round(4 * 1000 * next(iter(inverter.capacitances.values())), 3),
    )


def yosys_script(design: Design, mapping: str, target: int, setup: Setup) -> str:
    """The commands for Yosys, up to the netlist; `target` is the delay in ps that abc sizes the gates for."""
    sets = " ".join(f"-set {name} {value}" for name, value in design.parameters.items())
    abc = MAPPINGS[mapping].format(target=target)
    return "\n".join(
        [
            f"read_verilog -sv {' '.join(design.sources)}",
            *([f"chparam {sets} {design.top}"] if sets else []),
            # without alumacc: fused into one sum of partial products, they take more area and are no faster
            f"synth -top {design.top} -flatten -noalumacc",
            f"dfflibmap -liberty {setup.liberty}",
            f'abc -liberty {setup.liberty} -constr {setup.folder}/constraints -script "+{abc}"',
            "opt_clean -purge",
        ]
    )


def synthesize(design: Design, mapping: str, target: int, setup: Setup) -> Netlist:
    """Yosys, then OpenSTA on what it made; from the folder of results where they were run before."""
    script = yosys_script(design, mapping, target, setup)
    texts = "".join((ROOT / source).read_text() for source in design.sources)
    state = [setup.digest, setup.arrival, setup.slew, setup.driver, setup.load]
    key = json.dumps([script.replace(str(setup.folder), "").replace(str(setup.liberty), ""), texts, state])
    folder = (
        setup.folder / f"{design.name}-{mapping}-{target}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    )
    done = folder / "result.json"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (setup.folder / "constraints").write_text(f"set_driving_cell {setup.driver}\nset_load {setup.load}\n")
        area = _yosys(script, setup, folder)
        period = _period(design, setup, folder)
        done.write_text(json.dumps({"area": area, "period": period}))
    found = json.loads(done.read_text())
    return Netlist(
        found["area"], found["period"], mapping, target, folder / "netlist.json", folder / "netlist.v"
    )


def _yosys(script: str, setup: Setup, folder: Path) -> float:
    """Writes the netlist as JSON and Verilog; its area."""
    writes = [
        f"write_json {folder}/netlist.json",
        f"write_verilog -noattr {folder}/netlist.v",
        f"tee -q -o {folder}/stat.txt stat -liberty {setup.liberty}",
    ]
    (folder / "script.ys").write_text("\n".join([script, *writes]) + "\n")
    run(["yosys", "-q", "-s", folder / "script.ys"], ROOT)
    return read_area((folder / "stat.txt").read_text())


def read_area(text: str) -> float:
    """The area that `stat` of Yosys reports."""
    match = _AREA.search(text)
    if match is None:
        raise ToolError("yosys: expected a chip area in the statistics, got none")
    return float(match[1])


def sta_script(design: Design, setup: Setup) -> str:
    """The commands for OpenSTA: the slack of the longest path at a period of 0 is minus its length."""
    return f"""read_liberty {setup.liberty}
read_verilog netlist.v
link_design {design.top}
create_clock -name clock -period 0 [get_ports clock]
foreach port [all_inputs] {{
  if {{[get_property $port full_name] ne "clock"}} {{
    set_input_delay {setup.arrival:.4f} -clock clock $port
    set_input_transition {setup.slew:.4f} $port
  }}
}}
set_output_delay 0 -clock clock [all_outputs]
report_checks -path_delay max -format summary -digits 4
"""


def _period(design: Design, setup: Setup, folder: Path) -> float:
    (folder / "sta.tcl").write_text(sta_script(design, setup))
    return read_period(run(["sta", "-no_splash", "-exit", "sta.tcl"], folder))


def read_period(text: str) -> float:
    """The length of the longest path in ns, from OpenSTA's summary at a period of 0."""
    slacks = _SLACK.findall(text)
    if not slacks:
        raise ToolError(f"sta: expected the slack of a path, got {text.strip()[-200:]!r}")
    return -min(map(float, slacks))
