"""What each pass of a layer asks of the array and of its buffers, the same for dense layers and for tiles.

One thing stays in the array during a pass, another streams through it step by step: with weight-stationary passes
weights stay and each step is one vector of activations; input-stationary, activations stay and each step is one filter;
output-stationary, sums stay and each step is one input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tightc.simulation.cost_model.gemm import GemmWorkload
from tightc.tile.array import ArrayShape
from tightc.tile.dense import Blocks, dense_blocks
from tightc.tile.measures import tile_index_bits
from tightc.tile.packing import Packing

Counts = NDArray[np.int64]
Dataflow = Literal["ws", "os", "is"]
_FLAGS = 1 << 24  # bytes at most that mark the inputs of some tiles


@dataclass(frozen=True)
class Passes:
    """What the passes of one layer ask for; each array is (passes,) int64.

    `fan_in`: what the passes are made for, 1 on an ordinary array.
    `lanes` and `columns` are those in use, side by side groups included.
    Before a pass: `loaded_words`, the operands that stay, with `loaded_bits` of index. At each of `steps` steps:
    distinct `activation_words` and `weight_words` from the buffers, `edge_words` put on the edges of the array,
    `register_words` written to PEs, `sums` passed on from PE to PE, `macs` done,
    `sums_read` from and `sums_written` to their buffer. After it: `unloaded_sums`.
    `map_share` (float64): the part of the feature map that it reads; `map_read`: that of all passes together.
    `multiplied`: the part of a weight's bits that a PE multiplies by, less than 1 where slots hold digits.
    `open_sums`: (spans, 3), first pass, last pass and sums of a step that wait from the one to the other; what begins
    and ends in one pass does not wait.
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
    register_words: Counts
    sums: Counts
    macs: Counts
    sums_read: Counts
    sums_written: Counts
    unloaded_sums: Counts
    map_share: NDArray[np.float64]
    map_read: float
    open_sums: NDArray[np.int64]
    multiplied: float = 1.0

    def __len__(self) -> int:
        return len(self.macs)

    def copies(self, array: ArrayShape, pieces: int) -> Counts:
        """How often each pass fits on the diagonal of `array`, for parts of the steps: (passes,); 1 where sums stay."""
        if self.dataflow == "os":
            return np.ones(len(self), np.int64)
        room = np.minimum(array.rows // self.lanes, array.columns // self.columns)
        return np.minimum(room, self.steps // pieces)


def packed_passes(packing: Packing, work: GemmWorkload) -> Passes:
    """The tiles of `packing`, weight-stationary.

    Each vector reads a tile's distinct inputs once and puts every lane's inputs on its lane, from where all of them
    pass through the columns used. Empty slots are gated: a PE without a weight passes its sum on, unchanged.
    """
    tiles = packing.tiles
    lanes = np.array([tile.lanes for tile in tiles], np.int64)
    columns = np.array([tile.columns for tile in tiles], np.int64)
    carried = np.array([len(tile.inputs) for tile in tiles], np.int64)
    weights = np.array([np.count_nonzero(tile.select >= 0) for tile in tiles], np.int64)
    distinct, channels, every_channel = _distinct(packing, work)
    first, last, begun = _spans(packing)
    area = lanes * columns
    nothing = np.zeros_like(area)
    return Passes(
        dataflow="ws",
        steps=work.vectors,
        fan_in=packing.fan_in,
        lanes=lanes,
        columns=columns,
        loaded_words=area,
        loaded_bits=np.array([tile_index_bits(tile, packing) for tile in tiles], np.int64),
        activation_words=distinct,
        weight_words=nothing,
        edge_words=carried,
        register_words=carried * columns,
        sums=area,
        macs=weights,
        sums_read=columns - begun,
        sums_written=columns,
        unloaded_sums=nothing,
        map_share=channels / work.channels,
        map_read=every_channel / work.channels,
        open_sums=np.stack([first, last, np.ones_like(first)], axis=1)[first < last],
        multiplied=1 / packing.slots_per_weight,
    )


def dense_passes(dataflow: Dataflow, work: GemmWorkload, array: ArrayShape) -> Passes:
    """The layer with all its weights, zeros included, on an array of fan-in 1."""
    if dataflow == "ws":
        return _stationary("ws", work, dense_blocks(work.filters, work.inputs, work.groups, array))
    if dataflow == "is":
        return _stationary("is", work, dense_blocks(work.vectors, work.inputs, work.groups, array))
    return _output_stationary(work, dense_blocks(work.filters, work.vectors, work.groups, array))


def _stationary(dataflow: Dataflow, work: GemmWorkload, blocks: Blocks) -> Passes:
    """Weights (ws) or activations (is) stay: rows carry inputs, columns add up filters (ws) or vectors (is).

    Groups side by side stand on the diagonal: an activation also passes the columns of the groups before its own, a
    sum the lanes of those after.
    """
    rows, columns = _per_pass(blocks.inputs, blocks), _per_pass(blocks.filters, blocks)
    products = _per_pass(blocks.filters * blocks.inputs, blocks)
    nothing = np.zeros_like(rows)
    streams = rows if dataflow == "ws" else nothing
    last_channel = (blocks.first_input + blocks.inputs - 1) // work.positions
    channels = last_channel - blocks.first_input // work.positions + 1
    share = channels if dataflow == "ws" else channels * blocks.filters / work.vectors
    return Passes(
        dataflow=dataflow,
        steps=work.vectors if dataflow == "ws" else work.filters,
        fan_in=1,
        lanes=rows,
        columns=columns,
        loaded_words=products,
        loaded_bits=nothing,
        activation_words=streams,
        weight_words=rows - streams,
        edge_words=rows,
        register_words=_per_pass(blocks.inputs * _so_far(blocks.filters, blocks), blocks),
        sums=_per_pass(blocks.filters * (blocks.inputs + _to_come(blocks.inputs, blocks)), blocks),
        macs=products,
        sums_read=_per_pass(np.where(blocks.first_input > 0, blocks.filters, 0), blocks),
        sums_written=columns,
        unloaded_sums=nothing,
        map_share=_per_pass(share, blocks) / work.channels,
        map_read=1.0,
        open_sums=_open_sums(blocks),
    )


def _output_stationary(work: GemmWorkload, blocks: Blocks) -> Passes:
    """Sums stay: rows are vectors (the inputs of `blocks`), columns filters; both operands stream, input by input."""
    rows, columns = _per_pass(blocks.inputs, blocks), _per_pass(blocks.filters, blocks)
    nothing = np.zeros_like(rows)
    left = blocks.inputs * _so_far(blocks.filters, blocks)
    above = blocks.filters * _so_far(blocks.inputs, blocks)
    outputs = _per_pass(blocks.filters * blocks.inputs, blocks)
    return Passes(
        dataflow="os",
        steps=work.inputs,
        fan_in=1,
        lanes=rows,
        columns=columns,
        loaded_words=nothing,
        loaded_bits=nothing,
        activation_words=rows,
        weight_words=columns,
        edge_words=rows + columns,
        register_words=_per_pass(left + above, blocks),
        sums=outputs,
        macs=outputs,
        sums_read=nothing,
        sums_written=nothing,
        unloaded_sums=outputs,
        map_share=rows / (work.vectors * work.groups),
        map_read=1.0,
        open_sums=np.empty((0, 3), np.int64),
    )


def _per_pass(values: NDArray[Any], blocks: Blocks) -> NDArray[Any]:
    """`values` (blocks,) summed over the blocks of each pass."""
    return np.add.reduceat(values, _starts(blocks))


def _so_far(values: Counts, blocks: Blocks) -> Counts:
    """`values` (blocks,) summed over the blocks of the same pass up to each, its own included."""
    total = np.cumsum(values)
    starts = _starts(blocks)
    before = np.repeat(total[starts] - values[starts], np.diff(np.append(starts, len(values))))
    return total - before


def _to_come(values: Counts, blocks: Blocks) -> Counts:
    """`values` (blocks,) summed over the blocks of the same pass after each."""
    sizes = np.diff(np.append(_starts(blocks), len(values)))
    return np.repeat(_per_pass(values, blocks), sizes) - _so_far(values, blocks)


def _starts(blocks: Blocks) -> Counts:
    """The first block of each pass."""
    return np.flatnonzero(np.diff(blocks.tile, prepend=-1))


def _open_sums(blocks: Blocks) -> NDArray[np.int64]:
    """For filters of more than one block of inputs: its first and last pass, and how many they are."""
    order = np.lexsort((blocks.first_input, blocks.first_filter, blocks.group))
    folds = len(np.unique(blocks.first_input))
    tile, filters = blocks.tile[order].reshape(-1, folds), blocks.filters[order].reshape(-1, folds)
    spans = np.stack([tile[:, 0], tile[:, -1], filters[:, 0]], axis=1)
    return spans[spans[:, 0] < spans[:, 1]]


def _spans(packing: Packing) -> tuple[Counts, Counts, Counts]:
    """(first tile, last tile) of each filter that has one, and the filters that begin in each tile."""
    tiles = packing.tiles
    filters = np.concatenate([np.empty(0, np.int32), *(tile.filters for tile in tiles)])
    tile = np.repeat(np.arange(len(tiles)), [tile.columns for tile in tiles])
    first, last = np.full(packing.filters, -1), np.full(packing.filters, -1)
    first[filters[::-1]], last[filters] = tile[::-1], tile
    begun = np.bincount(first[first >= 0], minlength=len(tiles))
    return first[first >= 0], last[last >= 0], begun


def _distinct(packing: Packing, work: GemmWorkload) -> tuple[Counts, Counts, int]:
    """(different inputs, different channels) of each tile, and different channels of all."""
    tiles, inputs = packing.tiles, packing.inputs * packing.groups
    found = np.empty((2, len(tiles)), np.int64)
    every = np.zeros(work.channels, bool)
    at_once = max(1, _FLAGS // inputs)
    for first in range(0, len(tiles), at_once):
        some = tiles[first : first + at_once]
        flags = np.zeros((len(some), inputs), bool)
        rows = np.repeat(np.arange(len(some)), [len(tile.inputs) for tile in some])
        flags[rows, np.concatenate([tile.inputs for tile in some])] = True
        by_channel = flags.reshape(len(some), work.channels, work.positions).any(axis=2)
        found[0, first : first + at_once] = flags.sum(axis=1)
        found[1, first : first + at_once] = by_channel.sum(axis=1)
        every |= by_channel.any(axis=0)
    return found[0], found[1], int(every.sum())
