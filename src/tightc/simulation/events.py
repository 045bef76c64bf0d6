"""What happens on the array and in its buffers while a layer runs: counts of events, the base of the energy model."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from tightc.simulation.chip import Chip
from tightc.simulation.cycles import copies
from tightc.simulation.hardware import SUM_BYTES
from tightc.simulation.memory import Schedule
from tightc.simulation.passes import Counts, Passes
from tightc.simulation.work import Work


@dataclass(frozen=True)
class Events:
    """Counts for one layer, or for a network when added up.

    `macs`: multiply-accumulates done, zeros of a dense array included, empty slots of a tile not. `multiplexer_bytes`:
    through each 2:1 level on the way of an activation to a PE. `register_bytes`: written in PEs, by what passes on, by
    sums and by loading. `lane_bytes`: put on the edges of the array. `*_buffer_bytes`: read from or written to that
    buffer, by the array, by DRAM and, as outputs of the layer, to the activation buffer. `index_bits`: selects, lane
    lists and column filters, read with the weights. `dram_bytes`: to or from DRAM.
    """

    macs: int = 0
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


def count_events(passes: Passes, work: Work, chip: Chip, way: Schedule) -> Events:
    """The events of a layer that runs as `way` says."""
    size, steps, pieces = chip.operand_bytes, passes.steps, way.pieces
    side_by_side = copies(passes, chip, pieces)
    loaded = _sum(passes.loaded_words * side_by_side) * pieces * size
    activations, weights = (
        _sum(passes.activation_words) * steps * size,
        _sum(passes.weight_words) * steps * size,
    )
    sums = _sum(passes.sums_read + passes.sums_written) * steps + _sum(passes.unloaded_sums)
    # on the diagonal, a copy's activations also pass the columns of those before it, its sums the lanes of those after
    moved = (passes.register_words * size + passes.sums * SUM_BYTES) * (side_by_side + 1) / 2
    rows = passes.lanes * side_by_side
    hops = rows * (rows + 1) // 2 * passes.columns if passes.dataflow != "os" else np.zeros_like(rows)
    return Events(
        macs=_sum(passes.macs) * steps,
        multiplexer_bytes=_sum(passes.multiplexer_levels) * steps * size,
        register_bytes=round(float(moved.sum()) * steps) + _sum(hops) * pieces * size,
        lane_bytes=_sum(passes.edge_words) * steps * size + loaded,
        activation_buffer_bytes=activations
        + (loaded if passes.dataflow == "is" else 0)
        + work.outputs * size
        + way.traffic.activation_bytes,
        weight_buffer_bytes=weights + (loaded if passes.dataflow == "ws" else 0) + way.traffic.weight_bytes,
        partial_sum_buffer_bytes=sums * SUM_BYTES,
        index_bits=_sum(passes.loaded_bits * side_by_side) * pieces,
        dram_bytes=way.traffic.total,
    )


def _sum(counts: Counts) -> int:
    return int(counts.sum())
