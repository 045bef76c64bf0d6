"""The signals of the array, cycle by cycle, from the testbench in Icarus."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardware_pictures.example import ACTIVATIONS, ARRAY, FAN_IN, example
from tightc.rtl.options import RtlOptions
from tightc.rtl.rtl import rtl
from tightc.rtl.write import write_design

_PREFIX = "testbench.dut.array."
_SIGNALS = ("load", "swap", "lanes", "sums")
_WORDS = (("lanes", ARRAY.rows * FAN_IN, 8), ("sums", ARRAY.columns, 32))  # name, count, bits
_VARIABLE = re.compile(r"\$var \S+ \d+ (\S+) (\S+)")
_SCOPE = re.compile(r"\$scope \S+ (\S+)")


@dataclass(frozen=True)
class Trace:
    """The signals of a layer in each of its `cycles`, and in the one after them, in which the last sum can be read.

    `load`: (cycles + 1, columns) bool. `swap`: (cycles + 1, rows) bool. `lanes`: (cycles + 1, rows, fan-in) int8 at the
    left edge. `sums`: (cycles + 1, columns) int32 at the bottom edge. `starts`: the cycle in which each tile's first
    step enters.
    """

    cycles: int
    starts: tuple[int, ...]
    load: NDArray[np.bool_]
    swap: NDArray[np.bool_]
    lanes: NDArray[np.int8]
    sums: NDArray[np.int32]


def simulate(*, overlap: bool = False) -> Trace:
    """The example on its array, without options or with prefetched weights and overlapped draining."""
    with tempfile.TemporaryDirectory(prefix="tightc-picture-") as name:
        folder = Path(name)
        np.savez(folder / "inputs.npz", x=ACTIVATIONS.astype(np.float32))
        design = rtl(
            example(),
            RtlOptions(inputs=str(folder / "inputs.npz"), prefetch_weights=overlap, overlap_drain=overlap),
        )
        write_design(design, folder)
        sources = sorted(path.name for path in folder.glob("*.sv"))
        _run(["iverilog", "-g2012", "-s", "testbench", "-o", "testbench.vvp", *sources], folder)
        said = _run(["vvp", "-n", "testbench.vvp", "+trace"], folder)
        if "passed: " not in said:
            raise ValueError(f"expected a simulation that passes, got {said}")
        values = list(sampled(folder / "trace.vcd"))
    (image,) = design.images
    return _trace(values, image.cycles)


def _trace(values: list[Mapping[str, str]], cycles: int) -> Trace:
    first = next(place for place, value in enumerate(values) if value["load"].endswith("1"))
    layer = values[first : first + cycles + 1]
    swap = np.array([_bits(value["swap"], ARRAY.rows) for value in layer])
    words = {name: [_words(value[name], count, bits) for value in layer] for name, count, bits in _WORDS}
    return Trace(
        cycles,
        tuple((np.flatnonzero(swap[:, 0]) + 1).tolist()),
        np.array([_bits(value["load"], ARRAY.columns) for value in layer]),
        swap,
        np.array(words["lanes"], np.int8).reshape(-1, ARRAY.rows, FAN_IN),
        np.array(words["sums"], np.int32),
    )


def sampled(path: Path) -> Iterator[Mapping[str, str]]:
    """The bits of the array's ports, by name, at the end of each clock cycle of a value change dump."""
    header, _, body = path.read_text(encoding="ascii").partition("$enddefinitions")
    names = _names(header)
    clock = next(code for code, name in names.items() if name == "clock")
    values: dict[str, str] = {}
    for line in body.splitlines():
        value, code = line.split() if line[:1] == "b" and " " in line else (line[:1], line[1:])
        if code not in names:
            continue
        if code == clock and value == "1" and values:  # what follows belongs to the next cycle
            yield {name: values[name] for name in _SIGNALS}
        values[names[code]] = value.removeprefix("b")


def _names(header: str) -> dict[str, str]:
    """Names of the array's ports by their codes."""
    scopes: list[str] = []
    names: dict[str, str] = {}
    for line in header.splitlines():
        if scope := _SCOPE.match(line.strip()):
            scopes.append(scope[1])
        elif line.startswith("$upscope"):
            scopes.pop()
        elif variable := _VARIABLE.match(line.strip()):
            path = ".".join((*scopes, variable[2]))
            if path.removeprefix(_PREFIX) in (*_SIGNALS, "clock"):
                names[variable[1]] = variable[2]
    return names


def _bits(text: str, width: int) -> list[bool]:
    """The bits from the lowest up; unknown ones count as 0."""
    return [bit == "1" for bit in _padded(text, width)[::-1]]


def _words(text: str, count: int, bits: int) -> list[int]:
    """Signed words from the lowest up; one with an unknown bit counts as 0."""
    padded = _padded(text, count * bits)
    parts = [padded[len(padded) - bits * (n + 1) : len(padded) - bits * n] for n in range(count)]
    values = [0 if set(part) - {"0", "1"} else int(part, 2) for part in parts]
    return [value - (1 << bits) if value >> (bits - 1) else value for value in values]


def _padded(text: str, width: int) -> str:
    """A dump leaves out leading zeros, and leading x or z but one."""
    return text.rjust(width, text[0] if text[0] in "xz" else "0")


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ValueError(f"expected {command[0]} to end with exit code 0, got {done.stdout}{done.stderr}")
    return done.stdout
