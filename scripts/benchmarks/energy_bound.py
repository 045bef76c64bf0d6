"""The least energy that any lossless packing of a layer's weights takes, on an array without DRAM and banks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.energy_table import EnergyTable
from tightc.accelerator.hardware import SUM_BYTES
from tightc.cost_model.gemm import GemmWorkload
from tightc.tile.bounds import passes_lower_bound
from tightc.tile.fan_in_bound import LaneInputs, lane_inputs_lower_bound_in_passes


def least_energy_pj(
    slots: NDArray[Any], gemm: GemmWorkload, accelerator: Accelerator, table: EnergyTable
) -> float:
    """Energy in pJ that every packing of int8 `slots` takes at least when it runs `gemm`, at any fan-in.

    `slots`: (filters, inputs of a group) integers, the slots that each weight takes. Every weight multiplies once for
    each vector, and its sum passes a register. The inputs are those that any packing in so many passes reads. A filter
    of n weights needs ceil(n / rows) columns, and all but one of its sums are written and read again. PEs are idle in
    all cycles of the passes but those of the weights. Levels of multiplexers and the index count nothing. More passes
    may read fewer inputs and idle longer: the least over all numbers of passes.
    """
    array, steps, weights = accelerator.array, gemm.vectors, int(slots.sum())
    columns = -(-slots.sum(axis=1, dtype=np.int64) // array.rows)
    rewritten = int(np.maximum(columns - (1 if accelerator.accumulator_bypass else 0), 0).sum())
    buffer = table.sram_pj_per_byte(accelerator.activations.size)
    fixed = weights * steps * (table.int8_multiply.energy + table.int32_add.energy)
    fixed += (SUM_BYTES * weights * steps + weights) * table.register_byte.energy
    fixed += gemm.outputs * buffer + weights * table.lane_byte.energy
    fixed += weights * table.sram_pj_per_byte(accelerator.weights.size)
    fixed += 2 * rewritten * steps * SUM_BYTES * table.sram_pj_per_byte(accelerator.sums.size)
    input_pj = steps * (buffer + table.lane_byte.energy + table.register_byte.energy)
    # of a pass; columns with a lane register in common drain in the same cycle
    cycles = 2 * array.rows - 1 + (array.columns - 1) // accelerator.columns_per_lane_register + steps
    known = LaneInputs.of(slots, gemm.groups, array)

    def idle(passes: int) -> float:
        if accelerator.prefetch or accelerator.replicate_tiles:
            return 0.0  # such passes take fewer cycles
        return (array.rows * array.columns * passes * cycles - weights * steps) * table.idle_pj

    def inputs(passes: int) -> float:
        return input_pj * lane_inputs_lower_bound_in_passes(slots, gemm.groups, array, passes, known)

    fewest = passes_lower_bound(slots.sum(axis=1, dtype=np.int64), array)
    least, floor = math.inf, inputs(weights)  # no packing of one weight a pass and more reads fewer inputs
    for passes in range(fewest, max(fewest, weights) + 1):
        if idle(passes) + floor >= least:
            break
        least = min(least, idle(passes) + inputs(passes))
    return fixed + least
