"""What Verilator, Yosys and the lines of README.txt say of the modules."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.rtl_models import Weighted, int8, network
from helpers.rtl_runs import icarus, randomly_packed, verilator, write, yosys

PROTO = network(
    (1, 3, 4, 4),
    Weighted("Conv", int8(5, 3, 2, 2)),
    "Relu",
    Weighted("Conv", int8(4, 5, 2, 2)),
    zero_point=np.uint8(7),
)
OVERLAP = {"prefetch_weights": True, "overlap_drain": True}
FORMS: dict[str, tuple[tuple[int, int], int, int | None, dict[str, Any]]] = {
    "plain": ((4, 4), 4, None, {}),
    "one input a lane": ((4, 4), 1, None, {}),
    "one input, one-hot": ((2, 3), 1, None, {"multiplexer": "one-hot"}),
    "three inputs, one-hot": ((2, 7), 3, None, {"multiplexer": "one-hot", "prefetch_weights": True}),
    "a single PE": ((1, 1), 3, None, {**OVERLAP, "accumulator_bypass": True}),
    "a single row": ((1, 6), 2, None, {**OVERLAP, "columns_per_lane_register": 2}),
    "a single column": ((5, 1), 5, None, {**OVERLAP, "columns_per_lane_register": 3}),
    "registers at the edge": ((4, 8), 4, None, {**OVERLAP, "columns_per_lane_register": 8}),
    "subwords of 4 bits": ((4, 4), 3, 4, {"accumulator_bypass": True}),
    "subwords of 2 bits": ((3, 4), 3, 2, {**OVERLAP, "multiplexer": "one-hot"}),
    "spare inputs": ((4, 4), 3, None, {"fan_in": 17}),
}  # fmt: skip


def ran(folder: Path, *command: str) -> str:
    """What a command says in `folder`, which has to end well."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def made(form: str, folder: Path) -> None:
    array, fan_in, bits, options = FORMS[form]
    write(randomly_packed(PROTO, array, fan_in, subword_bits=bits), folder, **options)


@verilator
@pytest.mark.parametrize("form", FORMS)
def test_verilator_has_no_warning(form: str, tmp_path: Path) -> None:
    made(form, tmp_path)
    lint = ["verilator", "--lint-only", "-Wall", "--timing", "--top-module", "testbench", "testbench.sv"]
    assert ran(tmp_path, *lint) == ""


@icarus
@pytest.mark.parametrize("form", FORMS)
def test_icarus_has_no_warning(form: str, tmp_path: Path) -> None:
    made(form, tmp_path)
    sources = sorted(path.name for path in tmp_path.glob("*.sv"))
    assert (
        ran(
            tmp_path,
            "iverilog",
            "-g2012",
            "-Wall",
            "-Wno-timescale",
            "-s",
            "testbench",
            "-o",
            "t.vvp",
            *sources,
        )
        == ""
    )
    said = ran(tmp_path, "vvp", "-n", "t.vvp").splitlines()
    assert all(re.match(r"layer \d|passed: ", line) for line in said), said


# the files that hold a module and those below it, and its sizes
MODULES = {
    "pe": ("pe.sv multiplexer.sv", "FAN_IN 4"),
    "array": ("array.sv pe.sv multiplexer.sv delay.sv", "ROWS 2, COLUMNS 3, FAN_IN 2"),
    "accumulators": ("accumulators.sv", "COLUMNS 2, WORDS 8"),
    "requantizer": ("requantizer.sv", ""),
    "lane_feeder": ("lane_feeder.sv", "FAN_IN 3"),
    "bank_network": ("bank_network.sv", "BANKS 4, PORTS 3"),
    "controller": ("controller.sv", ""),
    "step_counter": ("step_counter.sv", ""),
    "delay": ("delay.sv", "STAGES 3"),
}


@yosys
@pytest.mark.parametrize("module", MODULES)
def test_yosys_reads_a_module(module: str, tmp_path: Path) -> None:
    made("plain", tmp_path)
    files, sizes = MODULES[module]
    given = [f"-set {size}" for size in sizes.split(", ") if size]
    chosen = (
        f"chparam {' '.join(given)} {module}; hierarchy -check -top {module}"
        if given
        else f"hierarchy -top {module}"
    )
    read = "read_verilog -sv"
    if module == "accumulators":  # not to elaborate 1,024 partial sums, which takes minutes
        read = "read_verilog -sv -defer"
        chosen = f"hierarchy -check -top {module} {' '.join(given).replace('-set', '-chparam')}"
    ran(tmp_path, "timeout", "60", "yosys", "-q", "-p", f"{read} {files}; {chosen}; proc; check -assert")


@yosys
@pytest.mark.parametrize(
    "settings", ["", "-set FAN_IN 5 -set SHADOW 1", "-set FAN_IN 4 -set ONE_HOT 1", "-set SUBWORD_BITS 4"]
)
def test_yosys_synthesizes_a_pe_without_latches(settings: str, tmp_path: Path) -> None:
    made("plain", tmp_path)
    chosen = f"chparam {settings} pe; " if settings else ""
    script = f"read_verilog -sv pe.sv multiplexer.sv; {chosen}hierarchy -top pe; proc; stat"
    said = ran(tmp_path, "timeout", "60", "yosys", "-p", script)
    assert "$dff" in said and "$mul" in said
    assert "$dlatch" not in said


def command_lines(folder: Path) -> dict[str, str]:
    """The lines of README.txt by their first word."""
    lines = (folder / "README.txt").read_text().splitlines()
    return {line.split()[0]: line.strip() for line in lines if line.startswith("    ")}


@icarus
def test_the_line_for_icarus(tmp_path: Path) -> None:
    made("plain", tmp_path)
    assert "passed: 2 layers" in ran(tmp_path, "bash", "-c", command_lines(tmp_path)["iverilog"])
    assert "passed: 2 layers" in ran(tmp_path, "vvp", "-n", "testbench.vvp", "+trace")
    assert "$var" in (tmp_path / "trace.vcd").read_text()


@verilator
def test_the_line_for_verilator_and_images_that_are_missing(tmp_path: Path) -> None:
    """Verilator knows no x: memories that are not read hold zeros."""
    made("registers at the edge", tmp_path)
    line = command_lines(tmp_path)["verilator"]
    assert "passed: 2 layers" in ran(tmp_path, "bash", "-c", line)
    run = line.rpartition("&&")[2].split()
    assert "passed" in ran(tmp_path, *run, "+chain")
    for path in sorted(tmp_path.glob("*.hex")):
        path.rename(path.with_suffix(".kept"))
        done = subprocess.run([*run, "+chain"], cwd=tmp_path, capture_output=True, text=True, check=False)
        if path.name == "links.hex":  # without links, every layer reads what the image holds, and is compared
            assert "links.hex" in done.stdout
        else:
            assert done.returncode != 0 or "FAILED" in done.stdout, path
            assert "passed" not in done.stdout
        path.with_suffix(".kept").rename(path)
