"""What happens on the array and in its buffers while a layer runs: counts of events, the base of the energy model."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import ceil, log2

import numpy as np

from tightc.simulation.accelerator.accelerator import Accelerator
from tightc.simulation.accelerator.hardware import SUM_BYTES
from tightc.simulation.cost_model.cycles import copies
from tightc.simulation.cost_model.gemm import GemmWorkload
from tightc.simulation.cost_model.memory import LayerSchedule
from tightc.simulation.cost_model.passes import Counts, Passes


@dataclass(frozen=True)
class Events:
    """Counts for one layer, or for a network when added up.

    `macs`: multiply-accumulates done, zeros of a dense array included, empty slots of a tile not; `multiplied_words`:
    the same in whole weights, a digit counting as its part of one. `multiplexer_bytes`:
    through each 2:1 level on the way of an activation to a PE. `register_bytes`: written in PEs, by what passes on, by
    sums and by loading. `lane_bytes`: put on the edges of the array. `*_buffer_bytes`: read from or written to that
    buffer, by the array, for DRAM and, as outputs of the layer, to the activation buffer. `index_bits`: selects, lane
    lists and column filters, read with the weights. `dram_bytes`: to or from DRAM.
    """

    macs: int = 0
    multiplied_words: float = 0
    multiplexer_bytes: int = 0
    register_bytes: int = 0
    lane_bytes: int = 0
    activation_buffer_bytes: int = 0
    weight_buffer_bytes: int = 0
    partial_sum_buffer_bytes: int = 0
    index_bits: int = 0
    dram_bytes: int = 0

    def __add__(self, other: Events) -> Events:
        return Events(
            **{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        )


def count_events(passes: Passes, work: GemmWorkload, accelerator: Accelerator, way: LayerSchedule) -> Events:
    """The events of a layer that runs as `way` says."""
    size, steps, pieces = accelerator.operand_bytes, passes.steps, way.pieces
    replicas = copies(passes, way.accelerator(accelerator), pieces)
    loaded = _sum(passes.loaded_words * replicas) * pieces * size
    activations, weights = (
        _sum(passes.activation_words) * steps * size,
        _sum(passes.weight_words) * steps * size,
    )
    sums = _sum(passes.sums_written) * steps + _sum(passes.unloaded_sums)
    levels = ceil(log2(accelerator.fan_in or passes.fan_in)) if passes.fan_in > 1 else 0
    # what a copy streams in also passes the copies before it, what it adds up those after, all of the same size
    before = _passed(steps, pieces, replicas) - steps
    after = _passed(steps, pieces, replicas, downwards=True) - steps
    moved = (passes.register_words * steps + passes.edge_words * passes.columns * before) * size
    moved += (passes.sums * steps + passes.lanes * passes.columns * after) * SUM_BYTES
    rows = passes.lanes * replicas  # a row's words move up through the rows below it
    hops = rows * (rows + 1) // 2 * passes.loaded_words // passes.lanes
    return Events(
        macs=_sum(passes.macs) * steps,
        multiplied_words=_sum(passes.macs) * steps * passes.multiplied,
        multiplexer_bytes=_sum(passes.macs) * levels * steps * size,
        register_bytes=_sum(moved) + _sum(hops) * pieces * size,
        lane_bytes=_sum(passes.edge_words) * steps * size + loaded,
        activation_buffer_bytes=activations
        + (loaded if passes.dataflow == "is" else 0)
        + work.outputs * size
        + way.traffic.activation_bytes
        + way.traffic.output_bytes,
        weight_buffer_bytes=weights + (loaded if passes.dataflow == "ws" else 0) + way.traffic.weight_bytes,
        partial_sum_buffer_bytes=2 * sums * SUM_BYTES,  # each is read once, to be added to or to leave
        index_bits=_sum(passes.loaded_bits * replicas) * pieces,
        dram_bytes=way.traffic.total,
    )


def _passed(steps: int, pieces: int, replicas: Counts, *, downwards: bool = False) -> Counts:
    """Steps, each as often as it passes the columns of a copy, or (`downwards`) the lanes of one: (passes,).

    On the diagonal an activation also passes the columns of the copies before its own, a sum the lanes of those after.
    Steps are cut into pieces, and those into parts for copies, as equal as can be, longer ones first.
    """
    longer, shorter = -(-steps // pieces), steps // pieces
    count = steps - shorter * pieces
    total = np.zeros_like(replicas)
    for length, times in ((longer, count), (shorter, pieces - count)):
        each, rest = length // replicas, length % replicas
        alike = each * replicas * (replicas + 1) // 2
        first = rest * (rest + 1) // 2  # of the first copies, which have a step more
        total += times * (alike + (rest * replicas - first + rest if downwards else first))
    return total


def _sum(counts: Counts) -> int:
    return int(counts.sum())
