"""Which of two packings is better, by an objective; what decides last is measured only where all before it is equal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tightc.permutation.objective import Objective
from tightc.permutation.packing_costs import Cost, PackingCosts
from tightc.tile.packing import Packing

# what is minimized, in this order
KEYS: dict[Objective, tuple[str, ...]] = {
    "passes": ("passes", "energy"),
    "cycles": ("cycles", "energy"),
    "replicated-cycles": ("cycles", "energy"),
    "energy": ("energy", "passes"),
    "area": ("area", "passes", "energy"),
    "inputs": ("inputs", "passes", "energy"),
}


@dataclass(frozen=True)
class Candidate:
    """A packing that a search may return; `costs` may be None where neither cycles nor energy are measured."""

    packing: Packing
    costs: PackingCosts | None

    @cached_property
    def _cost(self) -> Cost:
        assert self.costs is not None, "cycles and energy need costs"
        return self.costs.of(self.packing)

    @cached_property
    def runs(self) -> bool:
        """Whether the accelerator can run it, as far as that is known."""
        return self.costs is None or self.costs.fits(self.packing)

    def measure(self, name: str) -> float:
        """Passes, area in slots, lane inputs, cycles, or energy in pJ."""
        tiles = self.packing.tiles
        if name == "passes":
            return len(tiles)
        if name == "area":
            return sum(tile.area for tile in tiles)
        if name == "inputs":
            return sum(len(tile.inputs) for tile in tiles)
        return self._cost.cycles if name == "cycles" else self._cost.energy_pj

    def is_better(self, other: Candidate, objective: Objective) -> bool:
        """Whether this one is better than `other` by the first measure of `objective` that differs.

        One that the accelerator can run is better than one that it cannot.
        """
        if self.runs != other.runs:
            return self.runs
        for name in KEYS[objective]:
            own, others = self.measure(name), other.measure(name)
            if own != others:
                return own < others
        return False
