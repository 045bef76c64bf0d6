"""The gains that were possible, step by step."""

from __future__ import annotations

from tightc.report_page.reasons import steps

ROW = {
    "passes": 16,
    "dense_passes": 216,
    "pass_compression": 13.5,
    "passes_lower_bound": 14,
    "temporal_tiles": 1,
    "cycles": 992,
    "dense_cycles": 13_392,
    "speedup": 13.5,
    "stall_cycles": 0,
    "dense_stall_cycles": 0,
}


def gains(row: dict[str, object], density: float) -> dict[str, float]:
    return {step.name: round(step.gain, 3) for step in steps(row, density)}


def test_steps_of_a_packed_layer() -> None:
    assert gains(ROW, 0.05) == {"zeros skipped": 20.0, "whole passes": 15.429, "this packing": 13.5}


def test_stalls_are_a_step_where_there_are_some() -> None:
    row = {**ROW, "stall_cycles": 496, "cycles": 1488, "speedup": 9.0}
    assert gains(row, 0.05)["with stalls"] == 9.0


def test_temporal_tiles_multiply_the_bound() -> None:
    assert gains({**ROW, "temporal_tiles": 2}, 0.05)["whole passes"] == 7.714


def test_a_layer_without_a_packing_has_no_bound() -> None:
    row = {name: value for name, value in ROW.items() if name != "passes_lower_bound"}
    row |= {"passes": 216, "pass_compression": 1.0, "speedup": 1.0}
    assert gains(row, 0.5) == {"zeros skipped": 2.0, "this packing": 1.0, "with stalls": 1.0}


def test_a_layer_without_weights() -> None:
    row = {**ROW, "passes": 0, "pass_compression": None, "passes_lower_bound": 0, "speedup": None}
    assert gains(row, 0.0) == {}
