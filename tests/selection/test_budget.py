"""Budgets as text, and what a selection refuses."""

from __future__ import annotations

import numpy as np
import pytest

from tightc.errors import OptionError
from tightc.pruning.options import PruneOptions
from tightc.selection.budget import Budget
from tightc.selection.select import Candidates, select


@pytest.mark.parametrize("text", ["compression=10", "speedup=7.5", "compression=10.28"])
def test_a_budget_reads_and_writes_the_same_text(text: str) -> None:
    assert str(Budget.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["10", "size=3", "compression=1", "speedup=0.5", "compression=", "speedup=1e3", 7]
)
def test_other_budgets_are_refused(text: object) -> None:
    with pytest.raises(OptionError) as fault:
        Budget.parse(text)
    assert str(fault.value) == (
        "budget: expected compression=FACTOR or speedup=FACTOR with a factor above 1, such as compression=10, "
        f"got {text!r}; give compression=10 or speedup=8"
    )


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
            "--budget: expected an array to align to with speedup=2, got none; add --align 32x32",
        ),
        (
            {"budget": "speedup=2", "align": "8x8", "scope": "layer"},
            "--scope: expected scope global with a budget, got layer; leave --scope layer out",
        ),
    ],
)
def test_targets_that_do_not_go_together_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError) as fault:
        PruneOptions.of(given)
    assert str(fault.value) == message


def test_an_unreachable_budget_is_refused_with_the_highest_reachable_one() -> None:
    layers = [Candidates(np.ones((8, 16)), vectors=(10,)), Candidates(np.ones((8, 16)), vectors=(10,))]
    options = PruneOptions.of({"align": "8x8", "budget": "speedup=4"})
    with pytest.raises(OptionError) as fault:
        select(layers, options, 0.25)
    assert str(fault.value) == (
        "--budget: expected a speedup of at most 2, where each layer keeps one tile or its minimum density, got "
        "speedup=4; give at most speedup=2.0"
    )
