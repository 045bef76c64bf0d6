"""What each pass of a layer asks of the array and its buffers, for dense layers and packed tiles alike.

One operand stays in the array during a pass, and another streams through it step by step. Weight-stationary: a step is
one vector of activations. Input-stationary: activations stay and a step is one filter. Output-stationary: sums stay
and a step is one input.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tightc.cost_model.gemm import GemmWorkload
from tightc.tile.array import ArrayShape
from tightc.tile.dense import Blocks, dense_blocks
from tightc.tile.measures import tile_index_bits
from tightc.tile.packing import Packing

Counts = NDArray[np.int64]
Dataflow = Literal["ws", "os", "is"]
_FLAG_BYTES = 1 << 24  # most bytes of flags that mark the inputs of a batch of tiles


@dataclass(frozen=True)
class Passes:
    """What the passes of one layer ask for; each array is (passes,) int64 unless noted.

    `fan_in`: inputs that a lane selects from; 1 on an ordinary array. `lanes`, `columns`: those in use.
    Before a pass: `loaded_words` of the stationary operand, with `loaded_bits` of index.
    In each of `steps` steps: distinct `activation_words` and `weight_words` from the buffers, `edge_words` put on the
    edges of the array, `above_words` written to PEs by what enters from above, `sums` passed from PE to PE, `macs`
    done, and partial sums `sums_read` from and `sums_written` to their buffer. After a pass: `unloaded_sums`.
    `completed_sums`: those of `sums_written`, or with os of `unloaded_sums`, to which no later pass adds.
    `crossings`: (crossings, 3), pass, words of a step that enter from the left, and columns that these words pass.
    `map_fraction` (float64): fraction of the feature map that each pass reads; `layer_map_fraction`: that all read.
    `live_sums`: (ranges, 3), first pass, last pass, and partial sums of one step that are live from one to the other.
    `weight_fraction`: fraction of a weight's bits that a PE multiplies by; below 1 where slots hold subwords.
    `bank_cycles`: cycles in which the banks of the activation buffer give the words of a step; None without banks.
    `stream_bytes`: of the layer in a weight stream; None where its tiles come packed.
    `input_banks`: (inputs of all groups,), the bank that each input of the layer is in; None without banks.
    """

    dataflow: Dataflow
    steps: int
    fan_in: int
    lanes: Counts
    columns: Counts
    loaded_words: Counts
    loaded_bits: Counts
    activation_words: Counts
    weight_words: Counts
    edge_words: Counts
    above_words: Counts
    sums: Counts
    macs: Counts
    sums_read: Counts
    sums_written: Counts
    unloaded_sums: Counts
    completed_sums: Counts
    crossings: NDArray[np.int64]
    map_fraction: NDArray[np.float64]
    layer_map_fraction: float
    live_sums: NDArray[np.int64]
    weight_fraction: float = 1.0
    bank_cycles: Counts | None = None
    input_banks: Counts | None = None
    stream_bytes: int | None = None

    def __len__(self) -> int:
        return len(self.macs)

    def bypassing(self) -> Passes:
        """The passes on an array from which complete sums leave without being stored."""
        if self.dataflow == "os":
            return replace(self, unloaded_sums=self.unloaded_sums - self.completed_sums)
        return replace(self, sums_written=self.sums_written - self.completed_sums)

    def replicas(self, array: ArrayShape, temporal_tiles: int) -> Counts:
        """Replicas of each pass that fit on the diagonal of `array`, (passes,); 1 for os.

        Each has a step at least, with the steps cut into `temporal_tiles`.
        """
        if self.dataflow == "os":
            return np.ones(len(self), np.int64)
        room = np.minimum(array.rows // self.lanes, array.columns // self.columns)
        return np.minimum(room, self.steps // temporal_tiles)


def packed_passes(packing: Packing, gemm: GemmWorkload) -> Passes:
    """The tiles of `packing`, weight-stationary, for the vectors and feature maps of `gemm`.

    Each vector reads a tile's distinct inputs once. Every lane's inputs are put on that lane and pass through all
    columns used. Empty slots are gated: a PE without a weight passes its sum on unchanged.
    """
    tiles = packing.tiles
    lanes = np.array([tile.lanes for tile in tiles], np.int64)
    columns = np.array([tile.columns for tile in tiles], np.int64)
    lane_inputs = np.array([len(tile.inputs) for tile in tiles], np.int64)
    weights = np.array([np.count_nonzero(tile.select >= 0) for tile in tiles], np.int64)
    reads = _count_reads(packing, gemm)
    lifetimes = _filter_lifetimes(packing)
    area = lanes * columns
    zeros = np.zeros_like(area)
    return Passes(
        dataflow="ws",
        steps=gemm.vectors,
        fan_in=packing.fan_in,
        lanes=lanes,
        columns=columns,
        loaded_words=area,
        loaded_bits=np.array([tile_index_bits(tile, packing) for tile in tiles], np.int64),
        activation_words=reads.inputs,
        weight_words=zeros,
        edge_words=lane_inputs,
        above_words=zeros,
        sums=area,
        macs=weights,
        sums_read=columns if gemm.overlaps else columns - lifetimes.started,
        sums_written=columns,
        unloaded_sums=zeros,
        completed_sums=zeros if gemm.overlaps else lifetimes.completed,
        crossings=np.stack([np.arange(len(tiles)), lane_inputs, columns], axis=1),
        map_fraction=reads.channels / gemm.channels,
        layer_map_fraction=reads.layer_channels / gemm.channels,
        live_sums=lifetimes.live_sums(),
        weight_fraction=1 / packing.slots_per_weight,
    )


def dense_passes(dataflow: Dataflow, gemm: GemmWorkload, array: ArrayShape) -> Passes:
    """The layer `gemm` with all its weights, zeros included, in `dataflow` on an `array` of fan-in 1."""
    if dataflow == "ws":
        return _stationary("ws", gemm, dense_blocks(gemm.filters, gemm.inputs, gemm.groups, array))
    if dataflow == "is":
        return _stationary("is", gemm, dense_blocks(gemm.vectors, gemm.inputs, gemm.groups, array))
    return _output_stationary(gemm, dense_blocks(gemm.filters, gemm.vectors, gemm.groups, array))


def _stationary(dataflow: Dataflow, gemm: GemmWorkload, blocks: Blocks) -> Passes:
    """Weights (ws) or activations (is) stay: rows carry inputs, columns add up filters (ws) or vectors (is).

    Several groups that share a pass are placed on the diagonal. An activation also passes the columns of the groups
    before its own, and a sum the lanes of the groups after its own.
    """
    rows, columns = _per_pass(blocks.inputs, blocks), _per_pass(blocks.filters, blocks)
    products = _per_pass(blocks.filters * blocks.inputs, blocks)
    zeros = np.zeros_like(rows)
    activations = rows if dataflow == "ws" else zeros
    last_channel = (blocks.first_input + blocks.inputs - 1) // gemm.positions
    channels = last_channel - blocks.first_input // gemm.positions + 1
    is_last = blocks.first_input + blocks.inputs == gemm.inputs
    read = channels if dataflow == "ws" else channels * blocks.filters / gemm.vectors
    return Passes(
        dataflow=dataflow,
        steps=gemm.vectors if dataflow == "ws" else gemm.filters,
        fan_in=1,
        lanes=rows,
        columns=columns,
        loaded_words=products,
        loaded_bits=zeros,
        activation_words=activations,
        weight_words=rows - activations,
        edge_words=rows,
        above_words=zeros,
        sums=_per_pass(blocks.filters * (blocks.inputs + _remaining_sum(blocks.inputs, blocks)), blocks),
        macs=products,
        sums_read=_per_pass(np.where(gemm.overlaps | (blocks.first_input > 0), blocks.filters, 0), blocks),
        sums_written=columns,
        unloaded_sums=zeros,
        completed_sums=_per_pass(np.where(is_last & (not gemm.overlaps), blocks.filters, 0), blocks),
        crossings=_crossings(blocks),
        map_fraction=_per_pass(read, blocks) / gemm.channels,
        layer_map_fraction=1.0,
        live_sums=_dense_live_sums(blocks),
    )


def _output_stationary(gemm: GemmWorkload, blocks: Blocks) -> Passes:
    """Sums stay: rows are vectors (the inputs of `blocks`), columns filters; both operands stream, input by input."""
    rows, columns = _per_pass(blocks.inputs, blocks), _per_pass(blocks.filters, blocks)
    zeros = np.zeros_like(rows)
    outputs = _per_pass(blocks.filters * blocks.inputs, blocks)
    return Passes(
        dataflow="os",
        steps=gemm.inputs,
        fan_in=1,
        lanes=rows,
        columns=columns,
        loaded_words=zeros,
        loaded_bits=zeros,
        activation_words=rows,
        weight_words=columns,
        edge_words=rows + columns,
        above_words=_per_pass(blocks.filters * _running_sum(blocks.inputs, blocks), blocks),
        sums=outputs,
        macs=outputs,
        sums_read=zeros,
        sums_written=zeros,
        unloaded_sums=outputs,
        completed_sums=zeros if gemm.overlaps else outputs,
        crossings=_crossings(blocks),
        map_fraction=rows / (gemm.vectors * gemm.groups),
        layer_map_fraction=1.0,
        live_sums=np.empty((0, 3), np.int64),
    )


def _per_pass(values: NDArray[Any], blocks: Blocks) -> NDArray[Any]:
    """`values` (blocks,) summed over the blocks of each pass."""
    return np.add.reduceat(values, _first_blocks(blocks))


def _crossings(blocks: Blocks) -> NDArray[np.int64]:
    """(crossings, 3) as in `Passes`: what enters a block from the left also passes the columns of those before it."""
    return np.stack([blocks.tile, blocks.inputs, _running_sum(blocks.filters, blocks)], axis=1)


def _running_sum(values: Counts, blocks: Blocks) -> Counts:
    """`values` (blocks,) summed within each pass up to each block, inclusive."""
    total = np.cumsum(values)
    starts = _first_blocks(blocks)
    before = np.repeat(total[starts] - values[starts], np.diff(np.append(starts, len(values))))
    return total - before


def _remaining_sum(values: Counts, blocks: Blocks) -> Counts:
    """`values` (blocks,) summed within each pass over the blocks after each block."""
    sizes = np.diff(np.append(_first_blocks(blocks), len(values)))
    return np.repeat(_per_pass(values, blocks), sizes) - _running_sum(values, blocks)


def _first_blocks(blocks: Blocks) -> Counts:
    """The first block of each pass, (passes,)."""
    return np.flatnonzero(np.diff(blocks.tile, prepend=-1))


def _dense_live_sums(blocks: Blocks) -> NDArray[np.int64]:
    """(ranges, 3) as in `Passes`: one range for each block of filters with more than one block of inputs."""
    order = np.lexsort((blocks.first_input, blocks.first_filter, blocks.group))
    folds = len(np.unique(blocks.first_input))
    tile, filters = blocks.tile[order].reshape(-1, folds), blocks.filters[order].reshape(-1, folds)
    ranges = np.stack([tile[:, 0], tile[:, -1], filters[:, 0]], axis=1)
    return ranges[ranges[:, 0] < ranges[:, 1]]


@dataclass(frozen=True)
class _Lifetimes:
    """`first` and `last` tile of each filter that has one, (filters,).

    `started`, `completed`: filters of which each tile is the first, or the last, (tiles,).
    """

    first: Counts
    last: Counts
    started: Counts
    completed: Counts

    def live_sums(self) -> NDArray[np.int64]:
        """(ranges, 3) as in `Passes`: one range for each filter that spans several tiles."""
        ranges = np.stack([self.first, self.last, np.ones_like(self.first)], axis=1)
        return ranges[self.first < self.last]


def _filter_lifetimes(packing: Packing) -> _Lifetimes:
    tiles = packing.tiles
    filters = np.concatenate([np.empty(0, np.int32), *(tile.filters for tile in tiles)])
    tile = np.repeat(np.arange(len(tiles)), [tile.columns for tile in tiles])
    first, last = np.full(packing.filters, -1), np.full(packing.filters, -1)
    first[filters[::-1]], last[filters] = tile[::-1], tile
    first, last = first[first >= 0], last[last >= 0]
    started, completed = (np.bincount(tiles_of, minlength=len(tiles)) for tiles_of in (first, last))
    return _Lifetimes(first, last, started, completed)


@dataclass(frozen=True)
class _Reads:
    """Distinct `inputs` and `channels` that each tile reads, (tiles,); distinct channels of all tiles together."""

    inputs: Counts
    channels: Counts
    layer_channels: int


def _count_reads(packing: Packing, gemm: GemmWorkload) -> _Reads:
    tiles, inputs = packing.tiles, packing.inputs * packing.groups
    input_counts, channel_counts = np.empty(len(tiles), np.int64), np.empty(len(tiles), np.int64)
    layer_channels = np.zeros(gemm.channels, bool)
    batch_size = max(1, _FLAG_BYTES // inputs)
    for first in range(0, len(tiles), batch_size):
        batch = tiles[first : first + batch_size]
        flags = np.zeros((len(batch), inputs), bool)
        rows = np.repeat(np.arange(len(batch)), [len(tile.inputs) for tile in batch])
        flags[rows, np.concatenate([tile.inputs for tile in batch])] = True
        channel_flags = flags.reshape(len(batch), gemm.channels, gemm.positions).any(axis=2)
        input_counts[first : first + batch_size] = flags.sum(axis=1)
        channel_counts[first : first + batch_size] = channel_flags.sum(axis=1)
        layer_channels |= channel_flags.any(axis=0)
    return _Reads(input_counts, channel_counts, int(layer_channels.sum()))
