"""Energy from event counts: a model, not a measurement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.energy_table import EnergyTable, MemoryEntry, Sourced
from tightc.config.options import Options
from tightc.cost_model.events import Events

PARTS = (
    "mac",
    "multiplexer",
    "registers",
    "lanes",
    "activation_buffer",
    "weight_buffer",
    "partial_sum_buffer",
    "index",
    "dram",
)


@dataclass(frozen=True)
class Variation:
    """One entry of the sensitivity analysis: `table` is the energy table with `entry` changed as `change` says."""

    entry: str
    change: str
    table: EnergyTable


def energy_pj(events: Events, table: EnergyTable, accelerator: Accelerator) -> dict[str, float]:
    """Energy in pJ of each of PARTS: `events` x `table`. The index is in the weight buffer.

    `bank_network` comes behind them where the activation buffer has banks.

    Buffers cost by their capacity on `accelerator`. Operands are int8 or fp32 by its `operand_bytes`. A
    multiplier's energy is assumed proportional to the bits of the weight that it multiplies by, as its area is.
    """
    if accelerator.operand_bytes == 1:
        multiply, add = table.int8_multiply.energy, table.int32_add.energy
    else:
        multiply, add = table.fp32_multiply.energy, table.fp32_add.energy
    weights = table.sram_pj_per_byte(accelerator.weights.size)
    found = {
        "mac": events.multiplied_words * multiply + events.macs * add,
        "multiplexer": events.multiplexer_bytes * table.multiplexer_level.energy,
        "registers": events.register_bytes * table.register_byte.energy,
        "lanes": events.lane_bytes * table.lane_byte.energy,
        "activation_buffer": events.activation_buffer_bytes
        * table.sram_pj_per_byte(accelerator.activations.size),
        "weight_buffer": events.weight_buffer_bytes * weights,
        "partial_sum_buffer": events.partial_sum_buffer_bytes * table.sram_pj_per_byte(accelerator.sums.size),
        "index": events.index_bits / 8 * weights,
        "dram": events.dram_bytes * table.dram.energy,
    }
    if accelerator.bank_network:
        found["bank_network"] = events.network_bytes * table.multiplexer_level.energy
    return found


def variations(table: EnergyTable) -> list[Variation]:
    """The table with each assumed entry halved and doubled, with all of them, and with each range at its upper end."""
    entries = {name: entry for name, entry in table if isinstance(entry, Sourced)}
    assumed = [name for name, entry in entries.items() if entry.assumed]
    found = [
        Variation(name, change, _scaled(table, [name], factor))
        for name in assumed
        for change, factor in (("halved", 0.5), ("doubled", 2.0))
    ]
    if len(assumed) > 1:
        found += [
            Variation("all assumed", "halved", _scaled(table, assumed, 0.5)),
            Variation("all assumed", "doubled", _scaled(table, assumed, 2.0)),
        ]
    for name, entry in entries.items():
        if isinstance(entry, MemoryEntry) and entry.up_to is not None:
            change = f"{entry.up_to:g} pJ/byte instead of {entry.energy:g}"
            found.append(Variation(name, change, _replaced(table, {name: entry.up_to})))
    return found


def _scaled(table: EnergyTable, names: list[str], factor: float) -> EnergyTable:
    return _replaced(table, {name: getattr(table, name).energy * factor for name in names})


def _replaced(table: EnergyTable, energies: Mapping[str, float]) -> EnergyTable:
    changed: dict[str, Options] = {
        name: getattr(table, name).model_copy(update={"energy": energy}) for name, energy in energies.items()
    }
    return table.model_copy(update=changed)
