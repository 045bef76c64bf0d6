"""What trials prune towards: how it is shown, and what finetune is asked for."""

from __future__ import annotations

import pytest

from tightc.compression.target import Target
from tightc.finetuning.options import FinetuneOptions
from tightc.selection.budget import Budget


@pytest.mark.parametrize(("factor", "sparsity"), [(1, 0.0), (10, 0.9), (31.6228, 0.9684), (1.25, 0.2)])
def test_a_sparsity(factor: float, sparsity: float) -> None:
    target = Target(factor)
    assert target.figure == target.options == {"sparsity": sparsity}
    assert str(target) == f"sparsity {sparsity:g}" and target.slug == f"sparsity-{sparsity:g}"


def test_a_budget() -> None:
    target = Target(10**0.75, "energy")
    assert target.figure == {"budget": "energy=5.62"}
    assert target.options == {"budget": Budget("energy", 5.62)}
    assert str(target) == "energy=5.62" and target.slug == "energy-5.62"


@pytest.mark.parametrize("factor", [1.0, 1.004])
def test_a_budget_of_all_prunes_nothing(factor: float) -> None:
    """As if neither it nor what goes with it had been given."""
    target = Target(factor, "energy")
    assert target.figure == {"budget": "energy=1"}
    given = FinetuneOptions(
        budget="energy=2", align="8x8", tile_heights="8,4", criterion="balanced", fan_in=4, arrays=2
    )
    left = given.model_copy(update=target.options)
    assert left == FinetuneOptions(sparsity=0.0, align="8x8")
