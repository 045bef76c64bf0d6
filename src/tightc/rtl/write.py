"""Writes the accelerator, its testbench and the memories of a network into a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.files import make_folder, write_files_atomically
from tightc.names import message_text
from tightc.rtl.memories import words
from tightc.rtl.rtl import Design

MODULES = (
    "testbench.sv",
    "accelerator.sv",
    "controller.sv",
    "loader.sv",
    "step_counter.sv",
    "lane_feeder.sv",
    "bank_network.sv",
    "array.sv",
    "pe.sv",
    "multiplexer.sv",
    "accumulators.sv",
    "requantizer.sv",
    "delay.sv",
)
# the decoder of weight streams, which is not in the accelerator
STREAM_MODULES = (
    "stream_decoder.sv",
    "image_reader.sv",
    "subset_reader.sv",
    "code_table.sv",
    "choice_reader.sv",
    "gamma_reader.sv",
    "lane_placer.sv",
)
_WORDS_AT_ONCE = 1 << 18


def write_design(design: Design, folder: Path) -> tuple[Path, ...]:
    """Writes all files of `design` into `folder`, made if missing; returns their paths.

    OutputError where one cannot be written.
    """
    sources = files("tightc.rtl") / "verilog"
    contents: dict[Path, bytes | Iterable[bytes]] = {
        folder / name: (sources / name).read_bytes() for name in (*MODULES, *STREAM_MODULES)
    }
    contents[folder / "network.svh"] = _parameters(design).encode()
    readme = (sources / "README.txt").read_text(encoding="utf-8")
    contents[folder / "README.txt"] = (readme + _layer_table(design)).encode(errors="replace")
    for name, (values, digits) in words(design.images, design.parameters["FAN_IN"]).items():
        contents[folder / name] = hex_lines(values, digits)
    make_folder(folder)
    write_files_atomically(contents)
    return tuple(contents)


def hex_lines(values: NDArray[Any], digits: int) -> Iterator[bytes]:
    """The words as `$readmemh` reads them: hexadecimal, two's complement, `digits` each, one a line."""
    flat = values.reshape(-1)
    for first in range(0, len(flat), _WORDS_AT_ONCE):
        part = flat[first : first + _WORDS_AT_ONCE]
        wide = part.astype(np.int64).view(np.uint64) if part.dtype.kind == "i" else part.astype(np.uint64)
        text = np.frombuffer(wide.astype(">u8").tobytes().hex().encode(), np.uint8)
        lines = np.full((len(part), digits + 1), ord("\n"), np.uint8)
        lines[:, :digits] = text.reshape(-1, 16)[:, 16 - digits :]
        yield lines.tobytes()


def _parameters(design: Design) -> str:
    lines = [f"localparam {name} = {value};" for name, value in design.parameters.items()]
    return "\n".join(("// The sizes of the accelerator and of its memories.", *lines, ""))


def _layer_table(design: Design) -> str:
    lines = [f"\nLayers of {message_text(design.origin)}\n"]
    for number, row in enumerate(design.report.layers):
        lines.append(
            f"  {number}: {message_text(row['name'])}, {row['passes']} tiles, {row['vectors']} vectors, "
            f"{row['cycles']} cycles"
        )
    return "\n".join((*lines, ""))
