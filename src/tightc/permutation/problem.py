"""The packing problem: what a method is given besides the layer matrix."""

from __future__ import annotations

from dataclasses import dataclass

from tightc.permutation.objective import Objective
from tightc.permutation.packing_costs import PackingCosts
from tightc.permutation.pattern import TWO_OF_FOUR, Pattern
from tightc.tile.array import ArrayShape


@dataclass(frozen=True)
class LossySettings:
    """How much a lossy method may drop: column-combine reads `alpha` and `gamma`, nm reads `pattern`.

    `alpha`: largest number of inputs on a lane. `gamma`: weights dropped per filter and lane, on average at most.
    `kept`: weights of the layer, the largest, that column-combine starts from; None for all.
    """

    alpha: int = 8
    gamma: float = 0.0
    pattern: Pattern = TWO_OF_FOUR
    kept: int | None = None


@dataclass(frozen=True)
class PackingProblem:
    """Pack one layer for `array`, lanes of up to `fan_in` inputs, with the `objective` as small as possible.

    `costs`: what a packing costs on the accelerator; None for a layer of one input vector on an ideal one.
    """

    array: ArrayShape
    fan_in: int
    objective: Objective = "passes"
    lossy: LossySettings = LossySettings()
    costs: PackingCosts | None = None
