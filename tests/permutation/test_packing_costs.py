"""What the search takes a packing to cost is what simulate reports for it, to the bit."""

from __future__ import annotations

import math
from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import models
from helpers.loading import loaded
from helpers.random_hardware import energy_tables, flags, hardware_files, networks
from tightc.accelerator.energy_table import EnergyTable
from tightc.accelerator.hardware import Hardware
from tightc.errors import OptionError
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import read_packings
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.layer_costs import layer_costs
from tightc.permutation.options import PermuteOptions
from tightc.permutation.packing_costs import Cost
from tightc.permutation.permute import permute
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate

QUICK = TemperatureSchedule(steps=3, moves_per_weight=5)
METHODS = ("tight", "first-fit", "column-combine", "nm", "structured", "dense")
FORMS = st.one_of(networks(), st.sampled_from([form for form in models.FORMS if form != "shared weight"]).map(
    lambda form: models.FORMS[form]()
))  # fmt: skip


def compare_costs(proto: onnx.ModelProto, accelerator: dict[str, Any], **own: Any) -> bool:
    """Whether simulate runs the permuted network; its figures are those of the search, layer by layer."""
    model = loaded(proto)
    if proto.graph.input[0].type.tensor_type.shape.dim[0].HasField("dim_value"):
        accelerator = {name: value for name, value in accelerator.items() if name != "batch"}
    options = PermuteOptions(**accelerator, **own, temp_schedule=QUICK, jobs=1)
    permuted, _ = permute(model, options)
    packings, network = read_packings(permuted), read_network(model)
    costs, _ = layer_costs(model, network, options)
    found = {layer.output: costs[layer.output].of(packings[layer.weight]) for layer in network.owners}
    try:
        report = simulate(permuted, SimulateOptions(**accelerator))
    except OptionError as refusal:
        assert "expected a partial-sum buffer for" in str(refusal)
        assert Cost(math.inf, math.inf) in found.values()
        return False
    rows = {
        layer.output: Cost(row["cycles"], row["energy_pj"])
        for layer, row in zip(network.layers, report.layers, strict=True)
    }
    assert {output: rows[output] for output in found} == found
    return True


@settings(max_examples=150)
@given(FORMS, st.sampled_from(METHODS), hardware_files(8), flags(), energy_tables(), st.booleans())
def test_costs_on_any_hardware_are_those_of_simulate(
    proto: onnx.ModelProto,
    method: str,
    hardware: Hardware,
    own: dict[str, Any],
    table: EnergyTable,
    low: bool,
) -> None:
    accelerator = {"hardware": hardware, "energy": table, **own}
    fan_in = {"fan_in": 4} if low else {}
    compare_costs(proto, accelerator, method=method, alpha=4, **fan_in)


@settings(max_examples=60)
@given(
    FORMS, st.sampled_from(METHODS), flags(), energy_tables(), st.sampled_from(["1x1", "3x5", "8x4", "32x32"])
)
def test_costs_on_ideal_hardware_are_those_of_simulate(
    proto: onnx.ModelProto, method: str, own: dict[str, Any], table: EnergyTable, array: str
) -> None:
    assert compare_costs(proto, {"energy": table, "array": array, **own}, method=method, fan_in=8)


@pytest.mark.parametrize("method", ["first-fit", "column-combine"])
def test_what_simulate_refuses_costs_infinitely_much(method: str) -> None:
    proto = models.build(
        "net (float[1, 40] x) => (float[1, 24] y) { y = MatMul(x, w) }", w=models.sparse(40, 24, density=0.5)
    )
    sums = {"size": "16 B", "bandwidth": "8 words/cycle", "double_buffered": False}
    hardware = Hardware.model_validate({**_HARDWARE, "partial_sum_buffer": sums})
    assert not compare_costs(proto, {"hardware": hardware}, method=method, alpha=3)
    assert compare_costs(proto, {"hardware": hardware}, method="dense")


_HARDWARE = {
    "name": "small",
    "array": "4x4",
    "fan_in": 3,
    "operands": "int8",
    "clock": "100 MHz",
    "prefetch_weights": False,
    "activation_buffer": {"size": "64 B", "bandwidth": "4 words/cycle", "double_buffered": True},
    "weight_buffer": {"size": "128 B", "bandwidth": "8 words/cycle", "double_buffered": True},
    "partial_sum_buffer": {"size": "1 KiB", "bandwidth": "16 words/cycle", "double_buffered": False},
    "dram": {"bandwidth": "200 MB/s", "keep_feature_maps": True},
}
