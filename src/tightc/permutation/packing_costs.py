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
from tightc.cost_model.layer_passes import passes_of_packing
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing


class Cost(NamedTuple):
    """Cycles and energy in pJ of a layer; infinite where the accelerator cannot run it."""

    cycles: float
    energy_pj: float


@dataclass(frozen=True)
class PackingCosts:
    """The product `gemm` that a layer is, the `accelerator` that it runs on, and the `table` of energies."""

    gemm: GemmWorkload
    accelerator: Accelerator
    table: EnergyTable

    @classmethod
    def ideal(cls, matrix: LayerMatrix, array: ArrayShape, vectors: int = 1) -> Self:
        """Of `matrix` on so many input vectors, on an ideal accelerator, by the default energy table."""
        gemm = GemmWorkload(matrix.filters_per_group, matrix.inputs, matrix.groups, vectors)
        return cls(gemm, Accelerator(array), default_table())

    def replicating(self) -> Self:
        """The same on an accelerator that holds small tiles several times."""
        return replace(self, accelerator=replace(self.accelerator, replicate_tiles=True))

    def of(self, packing: Packing) -> Cost:
        """What simulate reports for the layer with this packing."""
        passes = passes_of_packing(packing, self.gemm, self.accelerator)
        if not sums_fit(passes, self.accelerator):
            return Cost(math.inf, math.inf)
        found = layer_cost(passes, self.gemm, self.accelerator, 0)
        parts = energy_pj(found.events, self.table, self.accelerator)
        return Cost(found.cycles, sum(parts.values()))
