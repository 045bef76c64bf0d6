"""What a packing costs on the accelerator: the cost model of the simulator, by which a search ranks packings."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.energy_table import EnergyTable, default_table
from tightc.cost_model.energy import energy_pj
from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.layer_cost import layer_cost, sums_fit
from tightc.cost_model.passes import Passes, dense_passes, packed_passes
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing


class Cost(NamedTuple):
    """Cycles and energy in pJ of a layer; infinite where the accelerator cannot run it."""

    cycles: float
    energy_pj: float


@dataclass(frozen=True)
class PackingCosts:
    """The product `gemm` that a layer is, the `accelerator` that it runs on, and the `table` of energies.

    `further`: the products of other layers with the same weight, which run the same tiles.
    """

    gemm: GemmWorkload
    accelerator: Accelerator
    table: EnergyTable
    further: tuple[GemmWorkload, ...] = ()

    @classmethod
    def ideal(cls, matrix: LayerMatrix, array: ArrayShape, vectors: int = 1) -> Self:
        """Of `matrix` on so many input vectors, on an ideal accelerator, by the default energy table."""
        gemm = GemmWorkload(matrix.filters_per_group, matrix.inputs, matrix.groups, vectors)
        return cls(gemm, Accelerator(array), default_table())

    def replicating(self) -> Self:
        """The same on an accelerator that holds small tiles several times."""
        return replace(self, accelerator=replace(self.accelerator, replicate_tiles=True))

    @property
    def vectors(self) -> int:
        """Input vectors of all products."""
        return sum(gemm.vectors for gemm in self._gemms)

    def fits(self, packing: Packing) -> bool:
        """Whether the accelerator can run it: whether the live partial sums of one vector fit their buffer."""
        if math.isinf(self.accelerator.sums.usable):
            return True
        return all(sums_fit(self._passes(packing, gemm), self.accelerator) for gemm in self._gemms)

    def of(self, packing: Packing) -> Cost:
        """What simulate reports with this packing, summed over the layers that run it."""
        costs = [self._of_product(packing, gemm) for gemm in self._gemms]
        return Cost(sum(cost.cycles for cost in costs), sum(cost.energy_pj for cost in costs))

    def _of_product(self, packing: Packing, gemm: GemmWorkload) -> Cost:
        passes = self._passes(packing, gemm)
        if not sums_fit(passes, self.accelerator):
            return Cost(math.inf, math.inf)
        found = layer_cost(passes, gemm, self.accelerator, 0)
        parts = energy_pj(found.events, self.table, self.accelerator)
        return Cost(found.cycles, sum(parts.values()))

    def _passes(self, packing: Packing, gemm: GemmWorkload) -> Passes:
        if packing.method == "dense":
            return dense_passes("ws", gemm, self.accelerator.array)
        return packed_passes(packing, gemm)

    @property
    def _gemms(self) -> tuple[GemmWorkload, ...]:
        return (self.gemm, *self.further)
