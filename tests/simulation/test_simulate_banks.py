"""Simulate on hardware with banks: figures that add up, the engine that agrees, what is refused, and the area."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import oracle
from helpers import models
from helpers.banks import network
from helpers.loading import loaded
from helpers.small_accelerator import HARDWARE, SMALL, hardware
from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.area_table import AreaTable
from tightc.accelerator.hardware import Hardware
from tightc.config.yaml import read_options
from tightc.cost_model.area import ArrayForm, area_metrics, area_mm2
from tightc.errors import OptionError
from tightc.model.file import Model
from tightc.model.packings.metadata import read_packings
from tightc.permutation.permute import permute
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.simulation.workload import read_workload
from tightc.tile.array import ArrayShape

AREA = Path(__file__).parents[2] / "configs" / "area"


def with_keys(
    bandwidth: str = "4 words/cycle", changes: dict[str, object] | None = None, **keys: int
) -> Hardware:
    """The small hardware, its activation buffer of 1 KiB with these keys."""
    buffer = {**HARDWARE["activation_buffer"], "size": "1 KiB", "bandwidth": bandwidth, **keys}
    return hardware(activation_buffer=buffer, **(changes or {}))


def cnn_packed() -> Model:
    return permute(loaded(models.cnn()), SMALL)[0]


@pytest.mark.parametrize("form", models.FORMS)
@pytest.mark.parametrize("keys", [{"banks": 3}, {"banks": 8, "lane_reach": 2}, {"banks": 2, "lane_reach": 1}])
@pytest.mark.parametrize(
    "changes", [{}, {"replicate_tiles": True, "prefetch_weights": True, "overlap_drain": True}]
)
def test_figures_add_up_and_the_engine_agrees(
    form: str, keys: dict[str, int], changes: dict[str, object]
) -> None:
    weights = {**HARDWARE["weight_buffer"], "size": "1 KiB"}
    own = with_keys("64 words/cycle", {**changes, "weight_buffer": weights}, **keys)
    for model in (permute(loaded(models.FORMS[form]()), SMALL)[0], loaded(models.FORMS[form]())):
        report = simulate(model, SimulateOptions(hardware=own, verify=True))
        for row in (*report.layers, report.totals):
            kinds = ("activation", "weight", "sum", "dram", "bank")
            assert row["stall_cycles"] == sum(row[f"{kind}_stall_cycles"] for kind in kinds)
            assert row["cycles"] == row["compute_cycles"] + row["stall_cycles"]
            assert row["energy_pj"] == pytest.approx(sum(row["energy_parts_pj"].values()))
        for name in ("bank_stall_cycles", "dense_bank_stall_cycles"):
            assert report.totals[name] == sum(row[name] for row in report.layers)
            # as many banks as rows have few conflicts, and tiles that load meanwhile hide those of packings
            hidden = keys["banks"] == 8 or (changes and name == "bank_stall_cycles")
            assert report.totals[name] > 0 or hidden
        buffer = report.totals["hardware_file"]["activation_buffer"]
        assert {key: buffer[key] for key in keys} == keys


def test_the_stalls_of_a_network_are_those_of_its_tiles() -> None:
    model = cnn_packed()
    own = with_keys("1000 words/cycle", {"arrays": 1}, banks=4)
    report = simulate(model, SimulateOptions(hardware=own))
    layers = read_workload(model, SimulateOptions()).layers
    assert {layer.layer.weight for layer in layers} == set(read_packings(model))
    for layer, row in zip(layers, report.layers, strict=True):
        layout = layer.passes("ws", Accelerator.of(own)).input_banks.tolist()
        tiles = oracle.plain(layer.packing)
        steps = [oracle.best_step(tile["lanes"], 4, 4, 8, layout)[0] for tile in tiles]
        assert row["bank_stall_cycles"] == sum(cycles - 1 for cycles in steps) * row["vectors"]
        interleaved = [oracle.best_step(tile["lanes"], 4, 4, 8)[0] for tile in tiles]
        assert sum(steps) <= sum(interleaved)


def test_hardware_without_banks_has_no_such_figures() -> None:
    totals = simulate(cnn_packed(), SimulateOptions(hardware=hardware(), area=table("nangate45"))).totals
    assert not {"bank_stall_cycles", "dense_bank_stall_cycles"} & set(totals)
    for parts in ("energy_parts_pj", "dense_energy_parts_pj", "area_parts_mm2"):
        assert "bank_network" not in totals[parts]


def test_a_simulation_without_banks_does_not_load_numba() -> None:
    code = "import sys, tightc.simulation.simulate; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("dataflow", ["os", "is"])
def test_banks_are_modeled_for_vectors_that_stream_alone(dataflow: str) -> None:
    with pytest.raises(OptionError) as caught:
        simulate(loaded(models.cnn()), SimulateOptions(hardware=with_keys(banks=4), dataflow=dataflow))
    assert str(caught.value) == (
        f"--dataflow: expected ws, since the activation buffer of --hardware small has banks, got {dataflow}; use "
        "--dataflow ws, or leave banks out of the hardware file"
    )


def test_another_array_can_make_a_reach_wrong() -> None:
    own = with_keys(banks=8, lane_reach=2)
    with pytest.raises(OptionError) as caught:
        simulate(loaded(models.cnn()), SimulateOptions(hardware=own, array=ArrayShape(3, 4)))
    assert str(caught.value) == (
        "--array 3x4 on small: activation_buffer.banks: expected a multiple or a divisor of the array's 3 rows beside "
        "lane_reach, got 8; give another number of banks, or leave lane_reach out"
    )


# --- area


def table(name: str) -> AreaTable:
    return read_options(str(AREA / f"{name}.yaml"), AreaTable)


def entries(name: str) -> dict[int, float]:
    """Area of the networks by their banks, as the file has it."""
    content = yaml.safe_load((AREA / f"{name}.yaml").read_text(encoding="utf-8"))
    return {entry["banks"]: float(entry["area"].removesuffix(" um2")) for entry in content["banks"]}


@pytest.mark.parametrize("name", ["nangate45", "sg13g2"])
def test_the_area_of_a_multiplexer_is_linear_between_the_entries(name: str) -> None:
    known, own = entries(name), table(name)
    points = [1, *sorted(known)]
    areas = [0.0, *(known[banks] for banks in sorted(known))]
    for inputs in range(1, 257):
        assert own.network_input_area(inputs) == pytest.approx(np.interp(inputs, points, areas))
    with pytest.raises(OptionError) as caught:
        own.network_input_area(257)
    assert str(caught.value) == (
        f"area table {name}: expected at most 256 banks, which its largest network has, got 257; give fewer banks, or "
        "another table"
    )


@pytest.mark.parametrize("name", ["nangate45", "sg13g2"])
@pytest.mark.parametrize(("banks", "reach"), [(32, 32), (64, 16), (128, 128), (8, 4)])
def test_the_area_of_a_network_by_hand(name: str, banks: int, reach: int) -> None:
    known, rows, fan_in = entries(name), 16, 8
    plain = ArrayForm(ArrayShape(rows, 20), 2, fan_in, 1, shadow=False, subword_bits=None)
    form = ArrayForm(ArrayShape(rows, 20), 2, fan_in, 1, False, None, network(banks, reach, rows))
    per_input = known[reach] if reach in known else known[32] * (reach - 1) / 31
    rotator = banks * math.ceil(math.log2(banks)) * known[32] / 31 if reach < banks else 0
    content = yaml.safe_load((AREA / f"{name}.yaml").read_text(encoding="utf-8"))["pes"]
    register, wires = (
        next(
            float(pe["area"].removesuffix(" um2"))
            for pe in content
            if (pe["fan_in"], pe["lane_register"], pe["multiplexer"], pe["shadow"])
            == (8, kind, "tree", False)
            and not pe.get("subword_bits")
        )
        for kind in (True, False)
    )
    expected = 2 * (rows * (fan_in * per_input + register - wires) + rotator) / 1e6
    found = area_mm2(form, table(name))
    assert found.pop("bank_network") == pytest.approx(expected)
    assert found == area_mm2(plain, table(name))
    # a dense array has the network of a single input to a lane
    metrics = area_metrics(form, 3.0, table(name))
    assert metrics["dense_area_mm2"] > sum(area_mm2(plain.dense, table(name)).values())
    assert metrics["area_parts_mm2"]["bank_network"] == pytest.approx(expected)


def test_simulate_reports_the_area_of_the_network() -> None:
    totals = simulate(
        cnn_packed(),
        SimulateOptions(hardware=with_keys(banks=16, lane_reach=4), area=table("nangate45")),
    ).totals
    assert totals["area_parts_mm2"]["bank_network"] > 0
    assert totals["area_mm2"] == pytest.approx(sum(totals["area_parts_mm2"].values()))
