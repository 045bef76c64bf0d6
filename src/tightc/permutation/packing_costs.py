"""What a packing costs on the accelerator: the cost model of the simulator, by which a search ranks packings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.energy_table import EnergyTable, default_table
from tightc.cost_model.bank_note import bank_note
from tightc.cost_model.energy import energy_pj
from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.layer_cost import layer_cost, sums_fit
from tightc.cost_model.layer_passes import passes_of_dense, passes_of_packing
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
        without_banks = replace(self.accelerator, bank_network=None)  # they take time, and no sums
        return all(
            sums_fit(passes_of_packing(packing, gemm, without_banks), self.accelerator)
            for gemm in self._gemms
        )

    def of(self, packing: Packing) -> Cost:
        """What simulate reports with this packing, summed over the layers that run it."""
        costs = [self._of_product(packing, gemm) for gemm in self._gemms]
        return Cost(sum(cost.cycles for cost in costs), sum(cost.energy_pj for cost in costs))

    def _of_product(self, packing: Packing, gemm: GemmWorkload) -> Cost:
        passes = passes_of_packing(packing, gemm, self.accelerator)
        if not sums_fit(passes, self.accelerator):
            return Cost(math.inf, math.inf)
        found = layer_cost(passes, gemm, self.accelerator, 0)
        parts = energy_pj(found.events, self.table, self.accelerator)
        return Cost(found.cycles, sum(parts.values()))

    def is_slower_than_dense(self, packing: Packing) -> bool:
        """Whether the layer takes more cycles with this packing than dense, on an accelerator with banks."""
        if self.accelerator.bank_network is None or packing.method == "dense":
            return False
        return self.of(packing).cycles > self.of_dense(packing.slots_per_weight).cycles

    def of_dense(self, slots_per_weight: int = 1) -> Cost:
        """The same with all weights, each in so many slots, on the array that is as wide in weights."""
        words = replace(self.accelerator, array=self.accelerator.array.of_words(slots_per_weight))
        found = [layer_cost(passes_of_dense("ws", gemm, words), gemm, words, 0) for gemm in self._gemms]
        energy = (sum(energy_pj(cost.events, self.table, words).values()) for cost in found)
        return Cost(sum(cost.cycles for cost in found), sum(energy))

    @property
    def _gemms(self) -> tuple[GemmWorkload, ...]:
        return (self.gemm, *self.further)

    def place_lanes(self, packing: Packing, ended: Callable[[], bool] | None = None) -> Packing:
        """`packing` with its lanes in an order for the banks of the accelerator, if it has some and that costs less.

        Neither cycles nor energy are higher than without. A dense packing has no order of its own.
        Once `ended`, the order so far counts.
        """
        network = self.accelerator.bank_network
        if network is None or network.rotations == 1 or packing.method == "dense":
            return packing
        # loads numba, which some methods do not need
        from tightc.permutation.lane_placement import never, place_lanes

        placed = place_lanes(packing, network, self.gemm.positions, ended or never)
        own, others = self.of(placed), self.of(packing)
        # fewer cycles of banks may take more words, which the bandwidth may not allow, and which take energy
        gains = own != others and own.cycles <= others.cycles and own.energy_pj <= others.energy_pj
        return placed if gains else packing


def slower_than_dense(layers: Mapping[str, tuple[PackingCosts | None, Packing]]) -> tuple[str, ...]:
    """A note on the layers, by name, that the banks of the accelerator make slower than dense ones."""
    return bank_note(
        [name for name, (costs, packing) in layers.items() if costs and costs.is_slower_than_dense(packing)]
    )
