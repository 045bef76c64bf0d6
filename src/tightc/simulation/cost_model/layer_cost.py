"""The result of a simulation: one record for a layer or, added up, for a network; every view is made from it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from tightc.simulation.accelerator.accelerator import Accelerator
from tightc.simulation.accelerator.energy_table import EnergyTable
from tightc.simulation.cost_model.energy import PARTS, energy_pj
from tightc.simulation.cost_model.events import Events
from tightc.simulation.cost_model.memory import LayerSchedule
from tightc.tile.measures import ratio


@dataclass(frozen=True)
class LayerCost:
    """What a layer, or a network when added up, costs on a chip.

    `cycles` = `compute_cycles` + the four `*_stall_cycles`; `useful_macs` are those of weights that are not zero.
    `pieces` of the steps and `arrays_used` are those of a layer, of a network they say nothing.
    """

    passes: int = 0
    cycles: int = 0
    compute_cycles: int = 0
    activation_stall_cycles: int = 0
    weight_stall_cycles: int = 0
    sum_stall_cycles: int = 0
    dram_stall_cycles: int = 0
    dram_activation_bytes: int = 0
    dram_weight_bytes: int = 0
    dram_output_bytes: int = 0
    useful_macs: int = 0
    events: Events = field(default_factory=Events)
    pieces: int = 0
    arrays_used: int = 0

    @classmethod
    def of(cls, passes: int, way: LayerSchedule, useful_macs: int, events: Events) -> LayerCost:
        """The cost of a layer that runs as `way` says; each piece takes all `passes`."""
        on_arrays, moved = way.cycles, way.traffic
        return cls(
            passes * way.pieces,
            way.total,
            on_arrays.computing,
            on_arrays.activation_stalls,
            on_arrays.weight_stalls,
            on_arrays.sum_stalls,
            way.dram_stalls,
            moved.activation_bytes,
            moved.weight_bytes,
            moved.output_bytes,
            useful_macs,
            events,
            way.pieces,
            way.arrays,
        )

    def __add__(self, other: LayerCost) -> LayerCost:
        return LayerCost(
            **{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        )


@dataclass(frozen=True)
class CostComparison:
    """A layer or a network as it is (`own`) and with all its weights (`dense`), on one chip."""

    own: LayerCost = field(default_factory=LayerCost)
    dense: LayerCost = field(default_factory=LayerCost)

    def __add__(self, other: CostComparison) -> CostComparison:
        return CostComparison(self.own + other.own, self.dense + other.dense)

    def energy_gain(self, table: EnergyTable, accelerator: Accelerator) -> float | None:
        """Energy of the dense layer / that of the layer, by `table`."""
        own, dense = (
            sum(energy_pj(cost.events, table, accelerator).values()) for cost in (self.own, self.dense)
        )
        return ratio(dense, own)

    def figures(self, table: EnergyTable, accelerator: Accelerator) -> dict[str, Any]:
        """All figures by the names of the glossary, energy by `table`."""
        own, dense = self.own, self.dense
        parts, dense_parts = (
            energy_pj(own.events, table, accelerator),
            energy_pj(dense.events, table, accelerator),
        )
        found: dict[str, Any] = {
            "passes": own.passes,
            "dense_passes": dense.passes,
            "pass_compression": ratio(dense.passes, own.passes),
            "cycles": own.cycles,
            "dense_cycles": dense.cycles,
            "speedup": ratio(dense.cycles, own.cycles),
            "compute_cycles": own.compute_cycles,
            "stall_cycles": own.cycles - own.compute_cycles,
            "activation_stall_cycles": own.activation_stall_cycles,
            "weight_stall_cycles": own.weight_stall_cycles,
            "sum_stall_cycles": own.sum_stall_cycles,
            "dram_stall_cycles": own.dram_stall_cycles,
            "dense_stall_cycles": dense.cycles - dense.compute_cycles,
            "utilisation": ratio(own.useful_macs, _slots(accelerator) * own.cycles),
        }
        if accelerator.clock is not None:
            found["time_ms"] = 1e3 * own.cycles / accelerator.clock
            found["dense_time_ms"] = 1e3 * dense.cycles / accelerator.clock
        if accelerator.dram is not None:
            found |= self._memory_figures(accelerator, accelerator.dram)
        return found | {
            "energy_pj": sum(parts.values()),
            "dense_energy_pj": sum(dense_parts.values()),
            "energy_gain": ratio(sum(dense_parts.values()), sum(parts.values())),
            "energy_parts_pj": {part: parts[part] for part in PARTS},
            "dense_energy_parts_pj": {part: dense_parts[part] for part in PARTS},
        }

    def _memory_figures(self, accelerator: Accelerator, dram_bytes_per_cycle: float) -> dict[str, Any]:
        """Traffic, and where the layer stands under the roofs of the array and of DRAM."""
        own = self.own
        intensity = ratio(own.events.macs, own.events.dram_bytes)
        roof = (
            float(_slots(accelerator))
            if intensity is None
            else min(_slots(accelerator), intensity * dram_bytes_per_cycle)
        )
        return {
            "dram_bytes": own.events.dram_bytes,
            "dense_dram_bytes": self.dense.events.dram_bytes,
            "dram_activation_bytes": own.dram_activation_bytes,
            "dram_weight_bytes": own.dram_weight_bytes,
            "dram_output_bytes": own.dram_output_bytes,
            "macs_per_dram_byte": intensity,
            "macs_per_cycle": ratio(own.events.macs, own.cycles),
            "roof_macs_per_cycle": roof,
            "roof": "array" if roof == _slots(accelerator) else "dram",
        }


def _slots(accelerator: Accelerator) -> int:
    return accelerator.array.rows * accelerator.array.columns * accelerator.arrays
