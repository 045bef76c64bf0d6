"""What each goal makes of the chain: what permute minimizes, and in which units weights are pruned.

The choices follow docs/results and docs/quickstart.md ("A goal instead of a sparsity").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tightc.permutation.objective import Objective
from tightc.selection.budget import Kind
from tightc.tile.array import ArrayShape

Goal = Literal["cycles", "energy", "area", "bytes"]


@dataclass(frozen=True)
class GoalSettings:
    """How a goal is met: the `objective` of permute, the `kind` of a budget, and whether pack strips names.

    Filters keep segments of the array's rows divided by `divisor`; single weights where it is None. Without a budget a
    sparsity is searched.
    """

    objective: Objective
    divisor: int | None
    kind: Kind | None = None
    strip: bool = False

    def align(self, array: ArrayShape) -> ArrayShape | None:
        """The array that pruning aligns to; None where single weights are pruned."""
        if self.divisor is None:
            return None
        return array._replace(rows=max(1, array.rows // self.divisor))

    @staticmethod
    def heights(array: ArrayShape) -> tuple[int, ...]:
        """Lanes of a tile that a budget chooses from: the rows, their half and their quarter."""
        return tuple(dict.fromkeys(max(1, array.rows // divisor) for divisor in (1, 2, 4)))


GOALS: Mapping[Goal, GoalSettings] = {
    # full segments fill the rows of every tile
    "cycles": GoalSettings("cycles", 1),
    # what the budget counts keeps more accuracy than slots (docs/design/pruning.md, "While training")
    "energy": GoalSettings("energy", 1, "energy"),
    # short segments cost less accuracy, and low tiles hold them without an empty slot
    "area": GoalSettings("area", 4),
    # a file holds weights, not slots: each costs the same wherever it is
    "bytes": GoalSettings("passes", None, strip=True),
}
