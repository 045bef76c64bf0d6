"""The result of the cost model: one record for a layer or, added up, for a network."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.energy_table import EnergyTable
from tightc.accelerator.hardware import SUM_BYTES
from tightc.cost_model.energy import energy_pj
from tightc.cost_model.events import Events, count_events
from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.largest_counts import check_counts
from tightc.cost_model.memory import LayerSchedule, peak_live_sums, schedule_layer
from tightc.cost_model.passes import Passes
from tightc.tile.measures import ratio


@dataclass(frozen=True)
class LayerCost:
    """What a layer, or a network when added up, costs on an accelerator.

    `cycles` = `compute_cycles` + all `*_stall_cycles`. `useful_macs`: those of non-zero weights.
    `temporal_tiles` and `arrays_used` are those of a layer, and mean nothing for a network.
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
    temporal_tiles: int = 0
    arrays_used: int = 0
    bank_stall_cycles: int = 0

    @classmethod
    def of(cls, passes: int, schedule: LayerSchedule, useful_macs: int, events: Events) -> LayerCost:
        """The cost of a layer that runs by `schedule`; each temporal tile takes all `passes`.

        `useful_macs` and `events` are those of the whole layer.
        """
        cycles, traffic = schedule.cycles, schedule.traffic
        return cls(
            passes=passes * schedule.temporal_tiles,
            cycles=schedule.total,
            compute_cycles=cycles.compute,
            activation_stall_cycles=cycles.activation_stalls,
            weight_stall_cycles=cycles.weight_stalls,
            sum_stall_cycles=cycles.sum_stalls,
            dram_stall_cycles=schedule.dram_stalls,
            dram_activation_bytes=traffic.activation_bytes,
            dram_weight_bytes=traffic.weight_bytes,
            dram_output_bytes=traffic.output_bytes,
            useful_macs=useful_macs,
            events=events,
            temporal_tiles=schedule.temporal_tiles,
            arrays_used=schedule.arrays,
            bank_stall_cycles=cycles.bank_stalls,
        )

    def __add__(self, other: LayerCost) -> LayerCost:
        return LayerCost(
            **{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        )


@dataclass(frozen=True)
class CostComparison:
    """A layer or a network as it is (`actual`) and with all its weights (`dense`), on one accelerator."""

    actual: LayerCost = field(default_factory=LayerCost)
    dense: LayerCost = field(default_factory=LayerCost)

    def __add__(self, other: CostComparison) -> CostComparison:
        return CostComparison(self.actual + other.actual, self.dense + other.dense)

    def energy_gain(self, table: EnergyTable, accelerator: Accelerator) -> float | None:
        """Energy of the dense layer / energy of the layer on `accelerator`, by `table`."""
        actual = sum(energy_pj(self.actual.events, table, accelerator).values())
        dense = sum(energy_pj(self.dense.events, table, accelerator).values())
        return ratio(dense, actual)

    def metrics(self, table: EnergyTable, accelerator: Accelerator) -> dict[str, Any]:
        """All metrics on `accelerator` by the names of the glossary, energy by `table`."""
        actual, dense = self.actual, self.dense
        parts = energy_pj(actual.events, table, accelerator)
        dense_parts = energy_pj(dense.events, table, accelerator)
        gated = sum(energy_pj(dense.events.zero_gated(dense.useful_macs), table, accelerator).values())
        found: dict[str, Any] = {
            "passes": actual.passes,
            "dense_passes": dense.passes,
            "pass_compression": ratio(dense.passes, actual.passes),
            "cycles": actual.cycles,
            "dense_cycles": dense.cycles,
            "speedup": ratio(dense.cycles, actual.cycles),
            "compute_cycles": actual.compute_cycles,
            "stall_cycles": actual.cycles - actual.compute_cycles,
            "activation_stall_cycles": actual.activation_stall_cycles,
            "weight_stall_cycles": actual.weight_stall_cycles,
            "sum_stall_cycles": actual.sum_stall_cycles,
            "dram_stall_cycles": actual.dram_stall_cycles,
            "dense_stall_cycles": dense.cycles - dense.compute_cycles,
            "utilisation": ratio(actual.useful_macs, accelerator.pes * actual.cycles),
        }
        if accelerator.bank_network is not None:
            found["bank_stall_cycles"] = actual.bank_stall_cycles
            found["dense_bank_stall_cycles"] = dense.bank_stall_cycles
        if accelerator.clock_hz is not None:
            found["time_ms"] = 1e3 * actual.cycles / accelerator.clock_hz
            found["dense_time_ms"] = 1e3 * dense.cycles / accelerator.clock_hz
        if accelerator.dram_bytes_per_cycle is not None:
            found |= self._memory_metrics(accelerator, accelerator.dram_bytes_per_cycle)
        return found | {
            "energy_pj": sum(parts.values()),
            "dense_energy_pj": sum(dense_parts.values()),
            "energy_gain": ratio(sum(dense_parts.values()), sum(parts.values())),
            "zero_gated_energy_pj": gated,
            "energy_gain_over_zero_gated": ratio(gated, sum(parts.values())),
            "energy_parts_pj": parts,
            "dense_energy_parts_pj": dense_parts,
        }

    def _memory_metrics(self, accelerator: Accelerator, dram_bytes_per_cycle: float) -> dict[str, Any]:
        """DRAM traffic, and the roofline of the array and of DRAM."""
        actual, peak = self.actual, accelerator.pes
        intensity = ratio(actual.events.macs, actual.events.dram_bytes)
        roof = float(peak) if intensity is None else min(peak, intensity * dram_bytes_per_cycle)
        return {
            "dram_bytes": actual.events.dram_bytes,
            "dense_dram_bytes": self.dense.events.dram_bytes,
            "dram_activation_bytes": actual.dram_activation_bytes,
            "dram_weight_bytes": actual.dram_weight_bytes,
            "dram_output_bytes": actual.dram_output_bytes,
            "macs_per_dram_byte": intensity,
            "macs_per_cycle": ratio(actual.events.macs, actual.cycles),
            "roof_macs_per_cycle": roof,
            "roof": "array" if roof == peak else "dram",
        }


def sums_fit(passes: Passes, accelerator: Accelerator) -> bool:
    """Whether the live partial sums of one vector fit their buffer; else the layer cannot run."""
    return peak_live_sums(passes, 1) * SUM_BYTES <= accelerator.sums.usable


def layer_cost(passes: Passes, gemm: GemmWorkload, accelerator: Accelerator, useful_macs: int) -> LayerCost:
    """The cost of a layer, the `passes` of `gemm`, on `accelerator`; `useful_macs`: those of non-zero weights.

    OptionError where its counts may not fit 64-bit integers.
    """
    check_counts(passes, accelerator)
    schedule = schedule_layer(passes, gemm, accelerator)
    events = count_events(passes, gemm, accelerator, schedule)
    return LayerCost.of(len(passes), schedule, useful_macs, events)
