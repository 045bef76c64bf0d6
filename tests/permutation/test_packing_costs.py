"""What the search takes a packing to cost is what simulate reports for it, to the bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import models
from helpers.loading import loaded
from helpers.methods import METHODS
from helpers.random_hardware import energy_tables, flags, hardware_files, networks
from helpers.small_accelerator import HARDWARE
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
from tightc.tile.array import ArrayShape

QUICK = TemperatureSchedule(steps=3, moves_per_weight=5)
FORMS = st.one_of(networks(), st.sampled_from(sorted(models.FORMS)).map(lambda form: models.FORMS[form]()))


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
    rows: dict[str, list[Cost]] = {}  # by weight: layers that share one run the same tiles
    for layer, row in zip(network.layers, report.layers, strict=True):
        rows.setdefault(layer.weight, []).append(Cost(row["cycles"], row["energy_pj"]))
    for layer in network.owners:
        assert found[layer.output] == tuple(map(sum, zip(*rows[layer.weight], strict=True)))
    return True


@settings(max_examples=60)
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


def test_a_weight_of_two_layers_is_packed_for_both() -> None:
    """The first layer has one vector, the second many: their sum is no more than column combining takes."""
    proto = models.build(
        """net (float[1, 16, 1, 1] x) => (float[1, 16, 1, 1] y, float[1, 16, 32, 32] z) {
            [one] y = Conv(x, w)
            r = Resize(y, , s)
            [two] z = Conv(r, w)
        }""",
        w=models.sparse(16, 16, 1, 1, seed=10),
        s=np.array([1, 1, 32, 32], np.float32),
    )
    energy = {}
    for method in ("tight", "column-combine"):
        options = PermuteOptions(
            array=ArrayShape(8, 8),
            fan_in=4,
            alpha=4,
            method=method,
            objective="energy",
            temp_schedule=QUICK,
            jobs=1,
        )
        energy[method] = simulate(permute(loaded(proto), options)[0], SimulateOptions()).totals["energy_pj"]
    assert energy["tight"] <= energy["column-combine"]


@pytest.mark.parametrize("given", [{}, {"hardware": HARDWARE}])
def test_hardware_that_is_not_counted_for_want_of_sizes_is_noted(given: dict[str, Any]) -> None:
    model = loaded(  # only 91 x 64 elements have this shape, which no assumed size does
        models.build(
            "net (float[1, A, B] x) => (float[91, 24] y) { r = Reshape(x, shape) y = MatMul(r, w) }",
            w=models.sparse(64, 24),
            shape=np.array([91, 64]),
        )
    )
    own = {"hardware": Hardware.model_validate(HARDWARE)} if given else {}
    known = {"input_shape": ("x=1x91x64",)}
    for sizes, noted in (({}, bool(given)), (known, False)):
        _, report = permute(model, PermuteOptions(**own, **sizes, temp_schedule=QUICK, jobs=1))
        assert any("ranked for ideal hardware" in note for note in report.notes) is noted
