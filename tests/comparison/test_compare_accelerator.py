"""The comparison packs for the hardware and energies that it simulates with: each row is what separate runs say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import tightc
from helpers import models
from helpers.loading import loaded
from helpers.random_hardware import energy_tables, flags, hardware_files

QUICK = tightc.TemperatureSchedule(steps=3, moves_per_weight=5)
FIGURES = ("passes", "cycles", "energy_pj", "utilisation")


def separate(model: tightc.Model, accelerator: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    permuted = tightc.permute(model, temp_schedule=QUICK, jobs=1, seed=2, **accelerator, **own).model
    totals = tightc.simulate(permuted, **accelerator).totals
    return {name: totals[name] for name in FIGURES}


def compared(model: tightc.Model, accelerator: dict[str, Any], **given: Any) -> dict[str, dict[str, Any]]:
    report = tightc.compare([model], temp_schedule=QUICK, jobs=1, seed=2, **accelerator, **given)
    return {row["variant"]: {name: row[name] for name in FIGURES} for row in report.layers}


@settings(max_examples=6, phases=[Phase.generate])
@given(
    st.sampled_from(["cnn", "grouped", "matmul right"]),
    st.sampled_from(["passes", "cycles", "replicated-cycles", "energy"]),
    hardware_files(3),
    flags(),
    energy_tables(),
)
def test_each_row_is_what_separate_runs_say_on_any_hardware(
    form: str, objective: str, hardware: tightc.Hardware, own: dict[str, Any], table: tightc.EnergyTable
) -> None:
    sums = {"size": "1 MiB", "bandwidth": "8 words/cycle", "double_buffered": True}
    roomy = tightc.Hardware.model_validate({**hardware.model_dump(), "partial_sum_buffer": sums})
    model, accelerator = loaded(models.FORMS[form]()), {"hardware": roomy, "energy": table, **own}
    methods = ("structured", "column-combine", "first-fit", "tight")
    rows = compared(
        model, accelerator, method=methods, fan_in=(2, 3), alpha=2, gamma=0.0, objective=(objective,)
    )
    suffix = "" if objective == "passes" else f", {objective}"
    expected = {
        "structured": separate(model, accelerator, {"method": "structured"}),
        "column-combine 0, alpha 2": separate(model, accelerator, {"method": "column-combine", "alpha": 2}),
    }
    for fan_in in (2, 3):
        own = {"fan_in": fan_in, "alpha": 2, "objective": objective}
        expected[f"first-fit, fan-in {fan_in}"] = separate(model, accelerator, {**own, "method": "first-fit"})
        expected[f"tight, fan-in {fan_in}{suffix}"] = separate(model, accelerator, own)
    assert rows == expected


@pytest.mark.parametrize(("array", "alpha"), [("4x40", 3), ("8x8", 3), ("2x16", 2)])
def test_tight_is_no_worse_than_the_column_combining_beside_it(array: str, alpha: int) -> None:
    """Fewer inputs on a lane take fewer select bits, so the alpha of the comparison is a candidate too."""
    weight = models.sparse(11, 5, density=0.2, seed=3)
    model = loaded(models.build("net (float[64, 11] x) => (float[64, 5] y) { y = MatMul(x, w) }", w=weight))
    methods = ("column-combine", "tight")
    given = {"fan_in": 8, "alpha": alpha, "gamma": 0.0, "objective": "energy"}
    combined, tight = compared(model, {"array": array}, method=methods, **given).values()
    assert tight["energy_pj"] <= combined["energy_pj"]
