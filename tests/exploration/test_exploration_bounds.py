"""The lower bounds of explore: what tight finds, on any hardware, never costs less."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import models
from helpers.loading import loaded
from helpers.packings import matrices, packed_layer
from helpers.random_hardware import energy_tables, flags, hardware_files, networks
from tightc.accelerator.energy_table import EnergyTable
from tightc.accelerator.hardware import Hardware
from tightc.exploration.bench import layer_bounds, most_passes
from tightc.exploration.bounds import Costs, packed_bytes
from tightc.model.layer_view.layers import read_network
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.layer_costs import layer_costs
from tightc.permutation.layer_scheduler import pack_layers, packing_problem
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import layer_jobs
from tightc.permutation.problem import LossySettings
from tightc.progress import no_progress
from tightc.tile.array import ArrayShape
from tightc.tile.fan_in_bound import lane_inputs_lower_bound_in_passes

QUICK = TemperatureSchedule(steps=3, moves_per_weight=5)


def check_bounds(proto: onnx.ModelProto, **given: Any) -> list[tuple[Costs, Costs]]:
    """(bound, found) of each layer; no bound is above what was found."""
    model = loaded(proto)
    if proto.graph.input[0].type.tensor_type.shape.dim[0].HasField("dim_value"):
        given.pop("batch", None)
    options = PermuteOptions(**given, alpha=given["fan_in"], temp_schedule=QUICK, jobs=1)
    network = read_network(model)
    jobs = layer_jobs(network, options, layer_costs(model, network, options)[0])
    pairs = []
    for job, packing in zip(jobs, pack_layers(jobs, options, 0, no_progress).packings, strict=True):
        assert job.costs is not None
        [bound], cost = layer_bounds([job], [options]), job.costs.of(packing)
        stored = packed_bytes(packing, job.load())
        assert len(packing.tiles) <= most_passes(job.load(), packing_problem(options, job.costs))
        assert bound.cycles <= cost.cycles
        assert bound.energy_pj <= cost.energy_pj
        assert bound.packed_bytes <= stored
        pairs.append((bound, Costs(*cost, stored)))
    return pairs


FORMS = st.one_of(networks(), st.sampled_from(sorted(models.FORMS)).map(lambda form: models.FORMS[form]()))


@settings(max_examples=60)
@given(
    FORMS,
    st.sampled_from([1, 2, 4]),
    flags(),
    energy_tables(),
    st.sampled_from(["1x1", "3x5", "8x4", "4x2", "32x32"]),
)
def test_on_ideal_hardware(
    proto: onnx.ModelProto, fan_in: int, own: dict[str, Any], table: EnergyTable, array: str
) -> None:
    check_bounds(proto, fan_in=fan_in, energy=table, array=array, **own)


@settings(max_examples=60)
@given(FORMS, hardware_files(4), flags(), energy_tables(), st.sampled_from([1, 2, 4]))
def test_on_any_hardware(
    proto: onnx.ModelProto, hardware: Hardware, own: dict[str, Any], table: EnergyTable, fan_in: int
) -> None:
    hardware = hardware.model_copy(update={"fan_in": fan_in})
    check_bounds(proto, hardware=hardware, energy=table, fan_in=fan_in, **own)


@settings(max_examples=80)
@given(
    matrices(), st.sampled_from(["first-fit", "column-combine", "structured", "dense", "tight"]), st.data()
)
def test_lane_inputs_and_inputs_read(matrix: Any, method: str, data: st.DataObject) -> None:
    """Lane inputs, and the inputs that each tile reads, are at least the bound for as many passes, and for more."""
    array = ArrayShape(data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5)))
    fan_in = data.draw(st.integers(1, 4))
    packing = packed_layer(matrix, method, array, fan_in, lossy=LossySettings(fan_in))
    carried = sum(len(tile.inputs) for tile in packing.tiles)
    read = sum(len(np.unique(tile.inputs)) for tile in packing.tiles)
    bounds = [
        lane_inputs_lower_bound_in_passes(matrix.slots(), matrix.groups, array, len(packing.tiles) + more)
        for more in range(4)
    ]
    assert bounds[0] <= read <= carried
    assert bounds == sorted(bounds, reverse=True)


@pytest.mark.parametrize("fan_in", [4, 16])
def test_a_full_layer_meets_its_bound(fan_in: int) -> None:
    """Every slot of a layer without zeros is full, so that cycles are the bound."""
    proto = models.build(
        "net (float[1, 16] x) => (float[1, 16] y) { y = MatMul(x, w) }", w=models.sparse(16, 16, density=1.0)
    )
    [(bound, found)] = check_bounds(proto, array="8x8", fan_in=fan_in)
    assert bound.cycles == found.cycles
