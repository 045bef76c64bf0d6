"""Lower bounds of a layer's cycles, energy and bytes under the method tight, before any search.

Each count of the cost model gets a lower bound that holds for every lossless packing in up to so many passes. Cycles
and energy rise with each of these counts, so those of the bounds are bounds too. Proofs: docs/design/exploration.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.hardware import SUM_BYTES
from tightc.cost_model.energy import energy_pj
from tightc.cost_model.events import Events
from tightc.cost_model.gemm import GemmWorkload
from tightc.permutation.methods.tight.other_methods import ordinary_packings
from tightc.permutation.packing_costs import PackingCosts
from tightc.permutation.problem import PackingProblem
from tightc.tile.bounds import area_lower_bound, fan_in_lower_bound, folds
from tightc.tile.fan_in_bound import (
    LaneInputs,
    lane_inputs_lower_bound_in_passes,
    passes_lower_bound_at_fan_in,
)
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing
from tightc.tile.store import to_stream

_BYTE = 8
_ROUNDING = 1e-9  # relative: sums of energies in another order than the cost model's


class Costs(NamedTuple):
    """What counts on the Pareto front, of a layer or added up: cycles, energy in pJ, and bytes that pack stores."""

    cycles: float
    energy_pj: float
    packed_bytes: int

    def plus(self, other: Costs) -> Costs:
        """The costs of both."""
        return Costs(
            self.cycles + other.cycles,
            self.energy_pj + other.energy_pj,
            self.packed_bytes + other.packed_bytes,
        )


@dataclass(frozen=True)
class Counts:
    """Least counts over all tiles of a lossless packing whose lanes carry up to `fan_in` inputs.

    `reads`: lane inputs, and as many inputs are read by the tiles. `lane_words`: lane inputs times the columns of
    their tiles. `unfinished`: columns of a filter beyond one. `carried`: the most inputs on a lane.
    `all_weights`: zeros included. `channels`: the fraction of the channels that hold a weight.
    """

    fan_in: int
    weights: int
    all_weights: int
    passes: int
    slots: int
    columns: int
    unfinished: int
    reads: int
    lanes: int
    lane_words: int
    carried: int
    channels: float

    @classmethod
    def of(
        cls,
        matrix: LayerMatrix,
        problem: PackingProblem,
        most_passes: int,
        inputs: LaneInputs | None = None,
    ) -> Counts:
        """Of `matrix` in up to `most_passes` passes; `inputs` are its own, where they are known."""
        assert problem.costs is not None, "channels need costs"
        array, fan_in, positions = problem.array, problem.fan_in, problem.costs.gemm.positions
        slots = matrix.slots()
        sizes = slots.sum(axis=1, dtype=np.int64)
        users = slots.reshape(matrix.groups, -1, matrix.inputs).sum(axis=1, dtype=np.int64).ravel()
        passes = passes_lower_bound_at_fan_in(slots, matrix.groups, array, fan_in, inputs=inputs)
        weights, parts = int(sizes.sum()), -(-sizes // array.rows)
        columns = int(parts.sum())
        reads = lane_inputs_lower_bound_in_passes(slots, matrix.groups, array, most_passes, inputs)
        empty = most_passes * array.columns - columns  # columns, at most, of which each lane input misses one
        return cls(
            fan_in=fan_in,
            weights=weights,
            all_weights=matrix.values.size,
            passes=passes,
            slots=area_lower_bound(sizes, array, 1) if most_passes == 1 else weights,
            columns=columns,
            unfinished=columns - int(np.count_nonzero(sizes)),
            reads=reads,
            lanes=max(folds(weights, array.columns), folds(reads, fan_in)),
            lane_words=max(weights, reads, array.columns * reads - array.rows * fan_in * empty),
            carried=fan_in_lower_bound(users, array, most_passes),
            channels=float((users > 0).reshape(-1, positions).any(axis=1).mean()),
        )

    def index_bits(self, matrix: LayerMatrix) -> int:
        """Least bits of the index in the weight buffer, as `index_bits` counts them; none for a fan-in of 1."""
        if self.fan_in == 1:
            return 0
        input_bits = max(1, ceil(log2(matrix.inputs * matrix.groups)))
        filter_bits = max(1, ceil(log2(matrix.filters)))
        select, length = ceil(log2(self.fan_in)), ceil(log2(self.fan_in + 1))
        return (
            self.slots * select + self.lanes * length + self.reads * input_bits + self.columns * filter_bits
        )

    def packed_bytes(self, matrix: LayerMatrix) -> int:
        """Least bytes that pack stores, as `packed_bytes` counts them."""
        filters = np.flatnonzero(matrix.values.any(axis=1))
        sections = (
            (self.weights, _width(self.carried - 1)),
            (self.lanes, _width(self.carried)),
            (self.reads, _width(int(np.flatnonzero(_used_inputs(matrix)).max()))),
            (self.columns, _width(int(filters.max()) + 1)),
        )
        occupied = 1  # byte, where all slots are
        index = occupied + sum(folds(count * width, _BYTE) for count, width in sections)
        return folds((self.weights + 1) * matrix.bits, _BYTE) + index


def _width(largest: int) -> int:
    """Bits of integers up to `largest` in a stream."""
    return max(1, largest.bit_length())


def _used_inputs(matrix: LayerMatrix) -> NDArray[np.bool_]:
    """Whether an input of any group has a weight, (inputs of all groups,)."""
    used: NDArray[np.bool_] = (matrix.values != 0).reshape(matrix.groups, -1, matrix.inputs).any(axis=1)
    return used.ravel()


def packed_bytes(packing: Packing, matrix: LayerMatrix) -> int:
    """Bytes of the weights and of the index that pack stores for a layer, without names, shapes and scales."""
    if not packing.tiles:
        return 0
    occupied = len(packing.slots()[0])
    return folds((occupied + 1) * matrix.bits, _BYTE) + len(to_stream(packing).content)


def costs_of(packing: Packing, matrix: LayerMatrix, costs: PackingCosts) -> Costs:
    """What a packed layer costs, its lanes placed where the accelerator has banks."""
    return Costs(*costs.of(costs.place_lanes(packing)), packed_bytes(packing, matrix))


def least_costs(
    matrix: LayerMatrix, problem: PackingProblem, most_passes: int, inputs: LaneInputs | None = None
) -> Costs:
    """No packing that tight returns for `problem` in up to `most_passes` passes costs less, in any of these.

    It has the fan-in of the problem, or is one of the packings of fan-in 1 that tight considers, which are known.
    """
    costs = problem.costs
    assert costs is not None, "cycles and energy need costs"
    counts = Counts.of(matrix, problem, most_passes, inputs)
    found = [_costs(counts, matrix, costs)]
    for packing in ordinary_packings(matrix, problem, most_passes):
        found.append(costs_of(packing, matrix, costs))
    return Costs(*(min(values) for values in zip(*found, strict=True)))


def _costs(counts: Counts, matrix: LayerMatrix, costs: PackingCosts) -> Costs:
    if not counts.weights:
        return Costs(0, 0.0, 0)
    bits = counts.index_bits(matrix)
    cycles, energy = 0, 0.0
    for gemm in (costs.gemm, *costs.further):
        own = least_cycles(counts, gemm, costs.accelerator)
        cycles += own
        energy += _least_energy(counts, gemm, costs, bits, own)
    return Costs(cycles, energy * (1 - _ROUNDING), counts.packed_bytes(matrix))


def least_cycles(counts: Counts, gemm: GemmWorkload, accelerator: Accelerator) -> int:
    """Fewest cycles of a layer of such `counts`, weight-stationary on `accelerator`."""
    rows, drain, steps = accelerator.array.rows, accelerator.drain_cycles, gemm.vectors
    one = rows + drain
    if (
        accelerator.replicate_tiles
    ):  # a pass of r replicas lasts 1/r of the steps, and holds 1/r^2 of the array at most
        return max(one + 1, ceil(counts.weights * steps / accelerator.pes))
    if accelerator.overlap_drain:
        return one + folds(counts.passes * steps, accelerator.arrays)
    if accelerator.prefetch:
        return folds(rows + counts.passes * (drain + steps), accelerator.arrays)
    return folds(counts.passes * (one + steps), accelerator.arrays)


def _least_energy(
    counts: Counts, gemm: GemmWorkload, costs: PackingCosts, index_bits: int, cycles: int
) -> float:
    """Least pJ of a layer of such `counts` in at least so many `cycles`."""
    accelerator, steps = costs.accelerator, gemm.vectors
    size = accelerator.operand_bytes
    sums = counts.columns if gemm.overlaps or not accelerator.accumulator_bypass else counts.unfinished
    lane_words = max(folds(counts.lane_words, accelerator.columns_per_lane_register), counts.reads)
    levels = ceil(log2(accelerator.fan_in or counts.fan_in)) if counts.fan_in > 1 else 0
    loaded, reads = counts.slots * size, counts.reads * steps * size
    pe_cycles = accelerator.pes * cycles
    network = accelerator.bank_network
    found = []
    # energy is linear in the multiplications up to where no PE is idle: either end may be the least
    most = counts.all_weights * steps
    for macs in {counts.weights * steps, min(most, max(pe_cycles, counts.weights * steps))}:
        events = Events(
            macs=macs,
            multiplied_words=macs,
            idle_pe_cycles=max(0, pe_cycles - macs),
            multiplexer_bytes=counts.weights * steps * levels * size,
            register_bytes=lane_words * steps * size + counts.slots * (steps * SUM_BYTES + size),
            lane_bytes=reads + loaded,
            activation_buffer_bytes=reads + gemm.outputs * size,
            weight_buffer_bytes=loaded,
            partial_sum_buffer_bytes=2 * sums * steps * SUM_BYTES,
            index_bits=index_bits,
            dram_bytes=_dram_bytes(counts, gemm, accelerator, index_bits),
            network_bytes=reads * (network.rotator_levels + network.lane_levels) if network else 0,
        )
        found.append(sum(energy_pj(events, costs.table, accelerator).values()))
    return min(found)


def _dram_bytes(counts: Counts, gemm: GemmWorkload, accelerator: Accelerator, index_bits: int) -> int:
    """Least bytes to and from DRAM: weights and index once, and the maps where none stays on chip."""
    if accelerator.dram_bytes_per_cycle is None:
        return 0
    weights = counts.slots * accelerator.operand_bytes + index_bits // 8
    if accelerator.keeps_feature_maps:
        return weights  # whether they stay depends on the layers beside this one
    maps = gemm.feature_maps
    read = int(maps.read * counts.channels * (1 - _ROUNDING))
    return weights + (read + maps.written) * accelerator.operand_bytes
