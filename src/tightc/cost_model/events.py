"""Counts of the events on the array and in its buffers while a layer runs: the base of the energy model."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import ceil, log2

import numpy as np

from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.hardware import SUM_BYTES
from tightc.cost_model.cycles import replicas, temporal_tile_lengths
from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.memory import LayerSchedule
from tightc.cost_model.passes import Counts, Passes


@dataclass(frozen=True)
class Events:
    """Counts for one layer, or for a network when added up.

    `macs`: multiply-accumulates done, with the zeros of a dense array and without the empty slots of a tile.
    `multiplied_words`: the same in full weights; a subword counts as its fraction of one.
    `idle_pe_cycles`: cycles of each PE of all arrays without one, added up: empty slots, PEs that the pass leaves out,
    and every PE while the array loads, drains or waits.
    `multiplexer_bytes`: through each 2:1 multiplexer level on the way of an activation to a PE.
    `register_bytes`: written in PEs by streamed operands, by sums and by loading; second weight registers not counted.
    `lane_bytes`: put on the edges of the array.
    `*_buffer_bytes`: read from or written to that buffer by the array and by DRAM; the layer's outputs are written to
    the activation buffer.
    `index_bits`: selects, lane lists and column filters, read with the weights.
    `network_bytes`: through each 2:1 multiplexer level of the network from the banks of the activation buffer.
    `dram_bytes`: to or from DRAM.
    """

    macs: int = 0
    multiplied_words: float = 0
    idle_pe_cycles: int = 0
    multiplexer_bytes: int = 0
    register_bytes: int = 0
    lane_bytes: int = 0
    activation_buffer_bytes: int = 0
    weight_buffer_bytes: int = 0
    partial_sum_buffer_bytes: int = 0
    index_bits: int = 0
    dram_bytes: int = 0
    network_bytes: int = 0

    def zero_gated(self, useful_macs: int) -> Events:
        """Those of a dense layer whose PEs hold still for zero weights; `useful_macs` multiply by others.

        A zero still takes its slot and its cycles. Where an activation is zero is not known, so it is multiplied.
        """
        zeros = self.macs - useful_macs
        return replace(
            self,
            macs=useful_macs,
            multiplied_words=self.multiplied_words - zeros,
            idle_pe_cycles=self.idle_pe_cycles + zeros,
        )

    def __add__(self, other: Events) -> Events:
        return Events(
            **{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        )


def count_events(
    passes: Passes, gemm: GemmWorkload, accelerator: Accelerator, schedule: LayerSchedule
) -> Events:
    """The events of a layer, the `passes` of `gemm`, that runs by `schedule` on `accelerator`."""
    if accelerator.accumulator_bypass:
        passes = passes.bypassing()
    size, steps, temporal_tiles = accelerator.operand_bytes, passes.steps, schedule.temporal_tiles
    traffic = schedule.traffic
    replicated = replicas(passes, schedule.used_part(accelerator), temporal_tiles)
    loaded = _sum(passes.loaded_words * replicated) * temporal_tiles * size
    activations = _sum(passes.activation_words) * steps * size
    weights = _sum(passes.weight_words) * steps * size
    sums = _sum(passes.sums_written) * steps + _sum(passes.unloaded_sums)
    group = accelerator.columns_per_lane_register
    lane_words = _lane_register_words(passes, group, temporal_tiles, replicated)
    register_bytes = lane_words * size + _register_bytes(passes, size, temporal_tiles, replicated)
    macs = _sum(passes.macs) * steps
    levels = ceil(log2(accelerator.fan_in or passes.fan_in)) if passes.fan_in > 1 else 0
    return Events(
        macs=macs,
        multiplied_words=macs * passes.weight_fraction,
        idle_pe_cycles=accelerator.pes * schedule.total - macs,
        multiplexer_bytes=macs * levels * size,
        register_bytes=register_bytes,
        lane_bytes=_sum(passes.edge_words) * steps * size + loaded,
        activation_buffer_bytes=activations
        + (loaded if passes.dataflow == "is" else 0)
        + gemm.outputs * size
        + traffic.activation_bytes
        + traffic.output_bytes,
        weight_buffer_bytes=weights + (loaded if passes.dataflow == "ws" else 0) + traffic.weight_bytes,
        partial_sum_buffer_bytes=2 * sums * SUM_BYTES,  # each is read once, to be added to or to leave
        index_bits=_sum(passes.loaded_bits * replicated) * temporal_tiles,
        dram_bytes=traffic.total,
        network_bytes=_network_bytes(passes, accelerator),
    )


def _network_bytes(passes: Passes, accelerator: Accelerator) -> int:
    network = accelerator.bank_network
    if network is None:
        return 0
    words = _sum(passes.activation_words) * network.rotator_levels
    words += _sum(passes.edge_words) * network.lane_levels
    return words * passes.steps * accelerator.operand_bytes


def _register_bytes(passes: Passes, operand_bytes: int, temporal_tiles: int, replicated: Counts) -> int:
    """Bytes written in PEs by sums, from above and by loading; `replicated`: replicas of each pass, (passes,)."""
    steps = passes.steps
    # the sums of a replica also pass the replicas after it, all of the same size
    after = _lane_crossings(steps, temporal_tiles, replicated) - steps
    streamed = passes.above_words * steps * operand_bytes
    streamed += (passes.sums * steps + passes.lanes * passes.columns * after) * SUM_BYTES
    rows = passes.lanes * replicated  # a row's words move up through the rows below it
    hops = rows * (rows + 1) // 2 * passes.loaded_words // passes.lanes
    return _sum(streamed) + _sum(hops) * temporal_tiles * operand_bytes


def _lane_register_words(passes: Passes, group: int, temporal_tiles: int, replicated: Counts) -> int:
    """Words written to the lane registers, of which there is one at the first of every `group` columns.

    On the diagonal, what enters a replica also passes the columns of the replicas before it. `replicated`: as in
    `_register_bytes`.
    """
    number, words, columns = passes.crossings.T
    total = 0
    for replica in range(int(replicated.max(initial=0))):
        steps = np.zeros_like(replicated)  # of this replica, for each pass
        for length, count in temporal_tile_lengths(passes.steps, temporal_tiles):
            steps += count * (length // replicated + (replica < length % replicated))
        steps[replicated <= replica] = 0
        registers = -(-(replica * passes.columns[number] + columns) // group)
        total += _sum(words * registers * steps[number])
    return total


def _lane_crossings(steps: int, temporal_tiles: int, replicated: Counts) -> Counts:
    """Replicas that each step's sums cross, its own included, summed over the steps: (passes,).

    On the diagonal, the sums of a replica cross the lanes of their own replica and of all after it.
    """
    total = np.zeros_like(replicated)
    for length, count in temporal_tile_lengths(steps, temporal_tiles):
        each, rest = length // replicated, length % replicated
        first = rest * (replicated + 1) - _triangular(rest)  # the first `rest` replicas have a step more
        total += count * (each * _triangular(replicated) + first)
    return total


def _triangular(counts: Counts) -> Counts:
    return counts * (counts + 1) // 2


def _sum(counts: Counts) -> int:
    return int(counts.sum())
