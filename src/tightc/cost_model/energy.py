"""Energy from event counts: a model, not a measurement."""

from __future__ import annotations

from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.energy_table import EnergyTable
from tightc.cost_model.events import Events

PARTS = (
    "mac",
    "idle",
    "multiplexer",
    "registers",
    "lanes",
    "activation_buffer",
    "weight_buffer",
    "partial_sum_buffer",
    "index",
    "dram",
)


def energy_pj(events: Events, table: EnergyTable, accelerator: Accelerator) -> dict[str, float]:
    """Energy in pJ of each of PARTS: `events` x `table`; also of `bank_network` where the activation buffer has banks.

    The index is in the weight buffer. Buffers cost by their capacity on `accelerator`. Operands are int8 or fp32 by
    its `operand_bytes`. A multiplier's energy is assumed proportional to the bits of the weight that it multiplies by,
    as its area is.
    """
    if accelerator.operand_bytes == 1:
        multiply, add = table.int8_multiply.energy, table.int32_add.energy
    else:
        multiply, add = table.fp32_multiply.energy, table.fp32_add.energy
    weights = table.sram_pj_per_byte(accelerator.weights.size)
    found = {
        "mac": events.multiplied_words * multiply + events.macs * add,
        "idle": events.idle_pe_cycles * table.idle_pj,
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
