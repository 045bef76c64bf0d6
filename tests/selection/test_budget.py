"""Budgets as text, and what a selection refuses."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import models
from helpers.loading import loaded
from tightc.accelerator.energy_table import EnergyTable
from tightc.accelerator.hardware import Hardware
from tightc.config.yaml import options_in
from tightc.errors import OptionError
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.selection.budget import Budget
from tightc.selection.select import Candidates, select
from tightc.tile.array import ArrayShape
from tightc.tile.segment_costs import SegmentCosts

HARDWARE = options_in("tight-32x32", Hardware)
TABLE = options_in("nangate45", EnergyTable)


def test_the_array_of_the_hardware_is_aligned_to_unless_another_is_given() -> None:
    given = {"budget": "energy=2", "hardware": HARDWARE}
    assert PruneOptions.of(given).align == ArrayShape(32, 32)
    assert PruneOptions.of({**given, "align": "8x8"}).align == ArrayShape(8, 8)
    assert PruneOptions.of({**given, "hardware": HARDWARE.model_dump()}).align == ArrayShape(32, 32)


@pytest.mark.parametrize(
    "text", ["compression=10", "speedup=7.5", "compression=10.28", "energy=4.5", "bits=12"]
)
def test_a_budget_reads_and_writes_the_same_text(text: str) -> None:
    assert str(Budget.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["10", "size=3", "compression=1", "speedup=0.5", "compression=", "speedup=1e3", 7]
)
def test_other_budgets_are_refused(text: object) -> None:
    with pytest.raises(OptionError) as fault:
        Budget.parse(text)
    assert str(fault.value) == (
        "budget: expected compression, speedup, energy or bits=FACTOR with a factor above 1, such as compression=10, "
        f"got {text!r}; give compression=10 or speedup=8"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cycles=6", "--budget: expected speedup, as reports call this gain, got cycles=6; give speedup=6"),
        ("area", "--budget: expected compression, as reports call this gain, got area; give compression=8"),
    ],
)
def test_other_words_for_a_gain_lead_to_its_own(text: str, message: str) -> None:
    with pytest.raises(OptionError) as fault:
        PruneOptions.of({"align": "8x8", "budget": text})
    assert str(fault.value) == message


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {},
            "--sparsity: expected a sparsity or a budget, got neither; give a sparsity such as 0.9, "
            "or --budget with --align",
        ),
        (
            {"sparsity": 0.5, "align": "8x8", "budget": "speedup=2"},
            "--budget: expected one target, got a sparsity and a budget; give --sparsity or --budget",
        ),
        (
            {"budget": "speedup=2"},
            "--budget: expected an array to align to with speedup=2, got none; add --align 32x32, or --hardware such "
            "as tight-32x32",
        ),
        (
            {"budget": "speedup=2", "align": "8x8", "scope": "layer"},
            "--scope: expected scope global with a budget, got layer; leave --scope layer out",
        ),
        (
            {"sparsity": 0.5, "align": "8x8", "arrays": 2},
            "--arrays: expected a budget of speedup or energy beside it, got none; add --budget energy=4, or leave it "
            "out",
        ),
        (
            {"budget": "compression=2", "align": "8x8", "fan_in": 4},
            "--fan-in: expected a budget of speedup, energy or bits beside it, got compression=2; give --budget "
            "bits=4, or leave it out",
        ),
        (
            {"budget": "speedup=2", "align": "8x8", "energy": TABLE},
            "--energy: expected a budget of energy beside it, got speedup=2; give --budget energy=4, or leave it out",
        ),
        (
            {"sparsity": 0.5, "align": "8x8", "fill_passes": True},
            "--fill-passes: expected a budget beside it, got none; add --budget energy=4, or leave it out",
        ),
        (
            {"budget": "compression=2", "align": "8x8", "fill_passes": True, "energy": TABLE},
            "--energy: expected a budget of energy beside it, got compression=2; give --budget energy=4, or leave it "
            "out",
        ),
        (
            {"budget": "energy=2", "hardware": HARDWARE, "fan_in": 9},
            "--fan-in: expected at most 8, the fan-in of tight-32x32, got 9; lower it to 8 or leave it out",
        ),
    ],
)
def test_targets_that_do_not_go_together_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError) as fault:
        PruneOptions.of(given)
    assert str(fault.value) == message


def test_an_unreachable_budget_is_refused_with_the_highest_reachable_one() -> None:
    tile = SegmentCosts(np.array([0.0, *[32.0] * 8, *[64.0] * 8]), 64.0)
    layers = [Candidates(np.ones((8, 16)), costs={8: tile}), Candidates(np.ones((8, 16)), costs={8: tile})]
    options = PruneOptions.of({"align": "8x8", "budget": "speedup=4"})
    with pytest.raises(OptionError) as fault:
        select(layers, options, 0.25)
    assert str(fault.value) == (
        "--budget: expected a speedup of at most 2, where each layer keeps one tile or its minimum density, got "
        "speedup=4; give at most speedup=2.0"
    )


def test_the_share_of_uncovered_macs_goes_by_the_given_sizes() -> None:
    proto = models.build(
        "net (float[N, L, 6] x) => (float[N, L, L] y) { p = MatMul(x, w) t = Transpose<perm = [0, 2, 1]>(p) "
        "y = MatMul(p, t) }",
        w=models.sparse(6, 4),
    )
    options = PruneOptions.of({"align": "2x2", "budget": "speedup=1.5", "input_shape": ["x=1x5x6"]})
    found = prune(loaded(proto), options).report.totals["macs_covered"]
    assert found == pytest.approx(6 * 4 * 5 / (6 * 4 * 5 + 4 * 5 * 5))


def test_an_array_in_place_of_the_hardwares_is_noted() -> None:
    given = {"budget": "speedup=1.5", "hardware": HARDWARE}
    model = loaded(models.cnn())
    (note,) = (
        note
        for note in prune(model, PruneOptions.of({**given, "align": "8x8"})).report.notes
        if "--align" in note
    )
    assert note == (
        "--align 8x8 takes the place of the 32x32 array of tight-32x32 in the budget: give --array 8x8 to tightc "
        "permute and simulate, or --tile-heights for lower tiles on the same array"
    )
    assert not any("--align" in note for note in prune(model, PruneOptions.of(given)).report.notes)
