"""A layer's data: traffic between DRAM and the buffers, its stalls, and how the layer's steps are best cut."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, isinf

import numpy as np

from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.hardware import SUM_BYTES
from tightc.cost_model.cycles import Cycles, layer_cycles
from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.passes import Passes

_ROUNDING = 1e-9  # bytes by which a sum of fractions may be off


@dataclass(frozen=True)
class Traffic:
    """Bytes that a layer moves between DRAM and the buffers; index included with the weights.

    `decoded_weights`: weights that a decoder makes of a weight stream on the way.
    """

    activation_bytes: int = 0
    weight_bytes: int = 0
    output_bytes: int = 0
    decoded_weights: int = 0

    @property
    def total(self) -> int:
        """All bytes."""
        return self.activation_bytes + self.weight_bytes + self.output_bytes


@dataclass(frozen=True)
class LayerSchedule:
    """How a layer runs: its steps in `temporal_tiles`, on `arrays` of the arrays, with tiles replicated or not.

    `cycles` on the arrays, `traffic` and `dram_stalls` (cycles) follow from that.
    """

    temporal_tiles: int
    cycles: Cycles
    traffic: Traffic
    dram_stalls: int
    arrays: int = 1
    replicate_tiles: bool = False

    def used_part(self, accelerator: Accelerator) -> Accelerator:
        """`accelerator` with only the arrays and the replication that the layer uses."""
        return replace(accelerator, arrays=self.arrays, replicate_tiles=self.replicate_tiles)

    @property
    def total(self) -> int:
        """All cycles."""
        return self.cycles.total + self.dram_stalls


def schedule_layer(passes: Passes, gemm: GemmWorkload, accelerator: Accelerator) -> LayerSchedule:
    """The fastest schedule found for `passes` of `gemm` on `accelerator`.

    Of equals, the one with least traffic, then with fewest temporal tiles.

    Temporal tiles make live partial sums fit their buffer, make a part of the feature map stay for all passes, or give
    several arrays work. Each takes all passes, and so repeats their loading and draining. Where buffers limit, half of
    the arrays, a quarter and so on are tried too, and tiles are replicated only where that gains.
    """
    found = []
    arrays = accelerator.arrays
    while arrays:
        for replicate in {accelerator.replicate_tiles, accelerator.replicate_tiles and accelerator.is_ideal}:
            part = replace(accelerator, arrays=arrays, replicate_tiles=replicate)
            found += [
                _schedule(passes, gemm, part, temporal_tiles)
                for temporal_tiles in _candidates(passes, gemm, part)
                if _live_sums_fit(passes, part, temporal_tiles)
            ]
        arrays = 0 if accelerator.is_ideal else arrays // 2
    return min(found, key=_rank)


def _rank(schedule: LayerSchedule) -> tuple[int, int, int, int, bool]:
    """What is smaller for the better of two schedules."""
    return (
        schedule.total,
        schedule.traffic.total,
        schedule.temporal_tiles,
        -schedule.arrays,
        schedule.replicate_tiles,
    )


def _candidates(passes: Passes, gemm: GemmWorkload, accelerator: Accelerator) -> set[int]:
    """Numbers of temporal tiles that may be worth a try."""
    if passes.dataflow == "os":
        return {1}  # every step adds to what stays
    for_sums = _tiles_for_sums(passes, accelerator)
    useful = {for_sums, max(for_sums, _tiles_for_map(passes, gemm, accelerator))}
    for_arrays = range(1, 2 * accelerator.arrays + 1) if accelerator.arrays > 1 else (1,)
    return {min(passes.steps, max(one, other)) for one in useful for other in for_arrays}


def _schedule(
    passes: Passes, gemm: GemmWorkload, accelerator: Accelerator, temporal_tiles: int
) -> LayerSchedule:
    cycles = layer_cycles(passes, accelerator, temporal_tiles)
    traffic = dram_traffic(passes, gemm, accelerator, temporal_tiles)
    return LayerSchedule(
        temporal_tiles,
        cycles,
        traffic,
        dram_stalls(traffic, cycles.total, accelerator),
        arrays=accelerator.arrays,
        replicate_tiles=accelerator.replicate_tiles,
    )


def dram_stalls(traffic: Traffic, busy_cycles: int, accelerator: Accelerator) -> int:
    """Cycles that the arrays of `accelerator` wait for DRAM.

    The part of `traffic` through double buffers overlaps the arrays' `busy_cycles`. A stream is decoded while it comes.
    """
    bandwidth = accelerator.dram_bytes_per_cycle
    if bandwidth is None:
        return 0
    streams = (
        (traffic.activation_bytes, accelerator.activations),
        (traffic.weight_bytes, accelerator.weights),
        (traffic.output_bytes, accelerator.activations),
    )
    overlapped = sum(count for count, buffer in streams if buffer.double_buffered)
    decoding = ceil(traffic.decoded_weights / accelerator.decoder) if accelerator.decoder else 0
    coming, alone = ceil(overlapped / bandwidth), ceil((traffic.total - overlapped) / bandwidth)
    if accelerator.weights.double_buffered:
        coming = max(coming, decoding)
    else:
        alone += max(0, decoding - ceil(traffic.weight_bytes / bandwidth))
    return alone + max(0, coming - busy_cycles)


def dram_traffic(
    passes: Passes, gemm: GemmWorkload, accelerator: Accelerator, temporal_tiles: int
) -> Traffic:
    """Bytes to and from DRAM for `passes` of `gemm` in `temporal_tiles`; none where `accelerator` does not model DRAM.

    Weights that do not fit their buffer all at once are fetched at every use. A feature map is fetched once if a
    temporal tile of it fits, else for every pass the channels that it reads. A map that fits stays on chip between
    layers where the hardware keeps feature maps.
    """
    if accelerator.dram_bytes_per_cycle is None:
        return Traffic()
    maps, size = gemm.feature_maps, accelerator.operand_bytes
    fraction = float(passes.map_fraction.sum()) * (temporal_tiles if passes.dataflow == "is" else 1)
    if _map_fits(passes, maps.read * size, accelerator, temporal_tiles):
        fraction = min(passes.layer_map_fraction, fraction)
    keeps_input = not maps.from_model_input and _map_stays(max(maps.read, maps.producer_output), accelerator)
    keeps_output = not maps.to_model_output and _map_stays(
        max(maps.written, maps.consumer_input), accelerator
    )
    return Traffic(
        activation_bytes=0 if keeps_input else ceil(maps.read * size * fraction - _ROUNDING),
        weight_bytes=_weight_bytes(passes, gemm, accelerator, temporal_tiles),
        output_bytes=0 if keeps_output else maps.written * size,
        decoded_weights=0
        if passes.stream_bytes is None
        else int(passes.macs.sum()) * _fetches(passes, accelerator, temporal_tiles),
    )


def _weight_bytes(passes: Passes, gemm: GemmWorkload, accelerator: Accelerator, temporal_tiles: int) -> int:
    size, usable = accelerator.operand_bytes, accelerator.weights.usable
    if passes.dataflow == "ws":
        once = _loaded_bytes(passes, accelerator) if passes.stream_bytes is None else passes.stream_bytes
        return once * _fetches(passes, accelerator, temporal_tiles)
    layer = gemm.weights * size
    return layer if layer <= usable else int(passes.weight_words.sum()) * passes.steps * size


def _loaded_bytes(passes: Passes, accelerator: Accelerator) -> int:
    """Bytes of all tiles in the weight buffer."""
    return int(passes.loaded_words.sum()) * accelerator.operand_bytes + ceil(
        int(passes.loaded_bits.sum()) / 8
    )


def _fetches(passes: Passes, accelerator: Accelerator, temporal_tiles: int) -> int:
    """How often the tiles come from DRAM: once where all fit their buffer, else for each temporal tile."""
    return 1 if _loaded_bytes(passes, accelerator) <= accelerator.weights.usable else temporal_tiles


def _map_stays(elements: int, accelerator: Accelerator) -> bool:
    """Whether a map between two layers stays on chip; the one read and the one written get half a buffer each."""
    capacity = accelerator.activations.size
    fits = capacity is None or 2 * elements * accelerator.operand_bytes <= capacity
    return accelerator.keeps_feature_maps and fits


def _map_fits(passes: Passes, map_bytes: int, accelerator: Accelerator, temporal_tiles: int) -> bool:
    """Whether the part of a map that the arrays read at a time fits the activation buffer."""
    if passes.dataflow != "ws":  # there a temporal tile is some filters, each of which needs the whole map
        return map_bytes <= accelerator.activations.usable
    at_once = min(temporal_tiles, max(1, accelerator.arrays // max(1, len(passes))))
    return ceil(map_bytes / temporal_tiles) * at_once <= accelerator.activations.usable


def _tiles_for_map(passes: Passes, gemm: GemmWorkload, accelerator: Accelerator) -> int:
    """Fewest temporal tiles of which one fits the activation buffer; at most one for each step."""
    if passes.dataflow != "ws":
        return 1
    map_bytes = gemm.feature_maps.read * accelerator.operand_bytes
    return min(passes.steps, ceil(map_bytes / accelerator.activations.usable) or 1)


def _tiles_for_sums(passes: Passes, accelerator: Accelerator) -> int:
    """Fewest temporal tiles with live partial sums that all fit their buffer at once."""
    live_bytes = peak_live_sums(passes, accelerator.arrays) * SUM_BYTES
    if live_bytes * passes.steps <= accelerator.sums.usable:
        return 1
    steps_at_once = int(accelerator.sums.usable // (live_bytes * max(1, accelerator.arrays // len(passes))))
    return min(passes.steps, ceil(passes.steps / max(1, steps_at_once)))


def _live_sums_fit(passes: Passes, accelerator: Accelerator, temporal_tiles: int) -> bool:
    """Whether live partial sums fit their buffer where several arrays run different temporal tiles at a time.

    On one array the peak is no lower than with the fewest temporal tiles tried, so there is nothing to check.
    """
    if accelerator.arrays == 1 or isinf(accelerator.sums.usable) or not len(passes.live_sums):
        return True
    longer = np.arange(temporal_tiles) < passes.steps % temporal_tiles
    lengths = passes.steps // temporal_tiles + longer
    first, last, count = passes.live_sums.T
    begin = np.arange(temporal_tiles)[:, None] * len(passes)
    change = np.zeros(temporal_tiles * len(passes) // accelerator.arrays + 2, np.int64)
    live = lengths[:, None] * count
    np.add.at(change, (begin + first) // accelerator.arrays, live)
    np.add.at(change, (begin + last) // accelerator.arrays + 1, -live)
    return int(np.cumsum(change).max()) * SUM_BYTES <= accelerator.sums.usable


def peak_live_sums(passes: Passes, arrays: int) -> int:
    """The most partial sums of one step that are live at any time, with `passes` dealt to `arrays` in turn."""
    if not len(passes.live_sums):
        return 0
    first, last, count = passes.live_sums.T
    change = np.zeros(len(passes) // arrays + 2, np.int64)
    np.add.at(change, first // arrays, count)
    np.add.at(change, last // arrays + 1, -count)
    return int(np.cumsum(change).max())
