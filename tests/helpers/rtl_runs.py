"""Models as accelerators in a folder, and their testbench in Icarus or Verilator."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from helpers.loading import loaded
from helpers.rtl_packings import random_packing
from tightc.model.file import Model
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import with_packings
from tightc.rtl.cosimulation import SimulatedLayer, simulate_folder
from tightc.rtl.options import RtlOptions
from tightc.rtl.rtl import Design, rtl
from tightc.rtl.write import write_design

icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs iverilog, which is not installed")
verilator = pytest.mark.skipif(
    None in map(shutil.which, ("verilator", "g++", "make")),
    reason="needs verilator, g++ and make, which are not all installed",
)
yosys = pytest.mark.skipif(shutil.which("yosys") is None, reason="needs yosys, which is not installed")


def write(model: Model, folder: Path, *, seed: int = 0, **options: Any) -> Design:
    """The accelerator of `model` in `folder`."""
    design = rtl(model, RtlOptions(**options), seed=seed)
    write_design(design, folder)
    return design


def simulated(model: Model, folder: Path, *, chain: bool = False, **options: Any) -> Sequence[SimulatedLayer]:
    """The accelerator of `model` through its testbench in Icarus; VerifyError where that fails."""
    design = write(model, folder, **options)
    found = simulate_folder(folder, "icarus", chain=chain)
    assert len(found) == len(design.images)
    return found


def randomly_packed(
    proto: onnx.ModelProto,
    array: tuple[int, int],
    fan_in: int,
    seed: int = 0,
    subword_bits: int | None = None,
) -> Model:
    """`proto` with a random packing of every weight."""
    model = loaded(proto)
    network = read_network(model)
    packings = {
        layer.weight: random_packing(
            np.asarray(network.matrix(layer)), layer.groups, array, fan_in, seed + number, subword_bits
        )
        for number, layer in enumerate(network.owners)
    }
    return with_packings(model, packings)
