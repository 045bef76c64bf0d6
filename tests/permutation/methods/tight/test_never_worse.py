"""Tight is never worse than dense, structured or column combining at gamma 0, in any layer, on its own objective."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tightc
from helpers import models
from helpers.loading import loaded
from helpers.random_hardware import energy_tables, flags, hardware_files, networks
from tightc.errors import OptionError

QUICK = tightc.TemperatureSchedule(steps=3, moves_per_weight=5)
OBJECTIVES = st.sampled_from(["passes", "area", "inputs", "cycles", "replicated-cycles", "energy"])
# what is minimized, in this order
ORDER = {
    "passes": ("passes", "energy_pj"),
    "area": ("area", "passes", "energy_pj"),
    "inputs": ("inputs", "passes", "energy_pj"),
    "cycles": ("cycles", "energy_pj"),
    "replicated-cycles": ("cycles", "energy_pj"),
    "energy": ("energy_pj", "passes"),
}


def figures(
    model: tightc.Model, objective: str, accelerator: dict[str, Any], own: dict[str, Any]
) -> list[tuple[float, ...]]:
    """What the objective minimizes, for each layer, first things first; OptionError where simulate refuses."""
    permuted, report = tightc.permute(
        model, objective=objective, temp_schedule=QUICK, jobs=1, **accelerator, **own
    )
    replicates = {"replicate_tiles": True} if objective == "replicated-cycles" else {}
    simulated = tightc.simulate(permuted, **{**accelerator, **replicates})
    tiles = tightc.tiles(permuted)
    found = []
    for permuted_row, row in zip(report.layers, simulated.layers, strict=True):
        of_layer = [tile for tile in tiles if tile.layer == row["name"]]
        assert len(of_layer) == permuted_row["passes"]
        measures = {
            "passes": len(of_layer),
            "area": sum(tile.select.size for tile in of_layer),
            "inputs": sum(len(tile.inputs) for tile in of_layer),
            "cycles": row["cycles"],
            "energy_pj": row["energy_pj"],
        }
        found.append(tuple(measures[name] for name in ORDER[objective]))
    return found


def require_no_worse(model: tightc.Model, objective: str, accelerator: dict[str, Any], fan_in: int) -> None:
    alpha = min(2, fan_in)
    own = None
    try:
        own = figures(model, objective, accelerator, {"fan_in": fan_in, "alpha": alpha})
    except OptionError as refusal:
        assert "partial-sum buffer" in str(refusal)
    combined = ({"method": "column-combine", "gamma": 0.0, "alpha": lanes} for lanes in (alpha, fan_in))
    for method in ({"method": "dense"}, {"method": "structured"}, *combined):
        try:
            others = figures(model, objective, accelerator, {"fan_in": fan_in, **method})
        except OptionError as refusal:
            assert "partial-sum buffer" in str(refusal)
            continue
        assert own is not None, f"{method} runs, tight does not"
        for layer, (mine, other) in enumerate(zip(own, others, strict=True)):
            assert mine <= other, (layer, method)


@pytest.mark.parametrize("objective", list(ORDER))
@pytest.mark.parametrize("form", ["cnn", "grouped", "depthwise", "matmul left", "unnamed nodes, 1-D"])
def test_no_layer_of_any_form_is_worse(form: str, objective: str) -> None:
    require_no_worse(loaded(models.FORMS[form]()), objective, {"array": "8x4"}, 3)


@settings(max_examples=40)
@given(networks(), OBJECTIVES, st.sampled_from([1, 2, 4]).flatmap(hardware_files), flags(), energy_tables())
def test_no_layer_is_worse_on_any_hardware(
    proto: onnx.ModelProto,
    objective: str,
    hardware: tightc.Hardware,
    own: dict[str, Any],
    table: tightc.EnergyTable,
) -> None:
    accelerator = {"hardware": hardware, "energy": table, **own}
    require_no_worse(loaded(proto), objective, accelerator, hardware.fan_in)


@settings(max_examples=40)
@given(
    networks(),
    OBJECTIVES,
    st.sampled_from([1, 2, 3, 8]),
    flags(),
    energy_tables(),
    st.sampled_from(["1x1", "2x7", "8x4", "32x32"]),
)
def test_no_layer_is_worse_on_ideal_hardware(
    proto: onnx.ModelProto,
    objective: str,
    fan_in: int,
    own: dict[str, Any],
    table: tightc.EnergyTable,
    array: str,
) -> None:
    require_no_worse(loaded(proto), objective, {"energy": table, "array": array, **own}, fan_in)


@pytest.mark.parametrize("objective", list(ORDER))
@pytest.mark.parametrize("bits", [2, 4])
def test_no_layer_of_subwords_is_worse_than_first_fit(bits: int, objective: str) -> None:
    quantized, _ = tightc.quantize(loaded(models.cnn()))
    model, _ = tightc.prune(quantized, sparsity=0.6, granularity="subword", subword_bits=bits)
    own = {"fan_in": 3, "subword_bits": bits}
    tight = figures(model, objective, {"array": "8x8"}, own)
    first_fit = figures(model, objective, {"array": "8x8"}, {**own, "method": "first-fit"})
    if objective == "passes":  # of equal passes, first-fit's energy is no candidate
        tight, first_fit = ([figures[:1] for figures in found] for found in (tight, first_fit))
    assert all(mine <= other for mine, other in zip(tight, first_fit, strict=True))
