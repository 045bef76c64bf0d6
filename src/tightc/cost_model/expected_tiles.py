"""The tiles that a layer will need if it keeps so many segments: what pruning can know before weights are arranged.

A segment is as many weights of a filter as the array has rows, and fills the lanes of a column. Filters with several
segments spread them over their inputs, so that each reads a region of them. The columns of a tile share inputs as if
their weights were drawn at random from a region, and a tile has as many columns as its lanes can carry inputs for.
What a search gains or loses against that is measured on a page: docs/design/pruning.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.passes import Counts, Passes
from tightc.tile.array import ArrayShape
from tightc.tile.measures import IndexWidths

# Where lanes have room, packings read more than a region: the more columns share inputs, the fewer they agree on. A fit
# to packings of ResNet-20: up to so many columns agree on a region, and from so many on on none.
_ALL_AGREE = 8
_NONE_AGREE = 56


@dataclass(frozen=True)
class ExpectedTiles:
    """The tiles of a layer: of every tile its `lanes`, `columns` and distinct `inputs`, (tiles,) int64.

    `used`: lanes that a column uses, as many as a segment has slots; groups with few inputs leave the others empty.
    `fan_in`: inputs that the busiest lane carries.
    """

    used: int
    lanes: Counts
    columns: Counts
    inputs: Counts
    fan_in: int

    @property
    def area(self) -> Counts:
        """Slots of each tile, (tiles,)."""
        return self.lanes * self.columns

    def index_bits(self, gemm: GemmWorkload, fan_in: int | None) -> Counts:
        """Bits of the index of each tile of `gemm`: (tiles,). `fan_in`: of the lanes; None for what they carry."""
        widths = IndexWidths.of(fan_in or self.fan_in, gemm.inputs * gemm.groups, gemm.filters * gemm.groups)
        return widths.bits(self.area, self.lanes, self.inputs, self.columns)


def expected_tiles(
    gemm: GemmWorkload, array: ArrayShape, segments: int, fan_in: int | None, slots_per_weight: int = 1
) -> ExpectedTiles:
    """The tiles of `gemm` with so many `segments`, at least 1, on an `array` whose lanes carry up to `fan_in` inputs.

    `fan_in`: None for any number. `slots_per_weight`: subwords of a weight, each in a slot of its own.
    """
    used = min(array.rows, gemm.inputs * slots_per_weight)
    own = min(used / slots_per_weight, gemm.inputs)  # inputs of a segment
    of_filter = -(-gemm.inputs * slots_per_weight // array.rows)
    parts = max(1.0, segments / (gemm.filters * gemm.groups))  # segments of a filter
    parts = min(parts, -(-segments // array.columns))  # those of one tile share its inputs
    smallest = max(own, gemm.inputs / parts)
    per_group = max(1.0, segments / gemm.groups)  # columns that can share inputs
    columns = array.columns
    if fan_in is not None:
        distinct = _distinct_inputs(np.arange(1, columns + 1), per_group, own, smallest)
        columns = max(1, int(np.count_nonzero(distinct <= array.rows * fan_in)))
    tiles = -(-segments // columns)
    of_tiles = np.full(tiles, columns)
    of_tiles[-1] = segments - (tiles - 1) * columns
    whole = segments == gemm.filters * gemm.groups * of_filter
    shrinking = (_NONE_AGREE - columns) / (_NONE_AGREE - _ALL_AGREE)
    region = smallest if whole else max(own, gemm.inputs / parts ** min(1.0, max(0.0, shrinking)))
    inputs = np.rint(_distinct_inputs(of_tiles, per_group, own, region)).astype(np.int64)
    most = array.rows * fan_in if fan_in is not None else gemm.inputs * gemm.groups
    inputs = np.maximum(used, np.minimum(inputs, most))
    lanes = np.full(tiles, used)
    if (
        fan_in is not None
    ):  # groups share no inputs, so a tile of several may need more lanes than a column uses
        lanes = np.maximum(lanes, -(-inputs // fan_in))
    return ExpectedTiles(used, lanes, of_tiles, inputs, max(1, int((-(-inputs // lanes)).max())))


def _distinct_inputs(columns: Counts, per_group: float, own: float, region: float) -> NDArray[np.float64]:
    """Inputs that so many `columns` read, (tiles,) float64: the expected number of different draws from a `region`.

    Each column draws `own` inputs, and `per_group` columns draw from the same region.
    """
    sharing = np.minimum(columns, per_group)
    return np.asarray(columns / sharing * region * (1 - (1 - own / region) ** sharing))


def expected_passes(
    gemm: GemmWorkload, array: ArrayShape, segments: int, fan_in: int | None, slots_per_weight: int = 1
) -> Passes:
    """The passes of `expected_tiles`, weight-stationary, for the vectors and feature maps of `gemm`.

    Each filter that has a segment starts in one tile and is complete in one; its other sums are read and written.
    """
    tiles = expected_tiles(gemm, array, segments, fan_in, slots_per_weight)
    count, zeros = len(tiles.columns), np.zeros_like(tiles.columns)
    filters = min(gemm.filters * gemm.groups, segments)
    started = np.diff(np.cumsum(tiles.columns) * filters // segments, prepend=0)
    several = min(filters, segments - filters) if count > 1 else 0
    fill = min(1.0, gemm.weights * slots_per_weight / (segments * tiles.used))
    channels = np.minimum(gemm.channels, tiles.inputs)
    return Passes(
        dataflow="ws",
        steps=gemm.vectors,
        fan_in=tiles.fan_in,
        lanes=tiles.lanes,
        columns=tiles.columns,
        loaded_words=tiles.area,
        loaded_bits=tiles.index_bits(gemm, fan_in),
        activation_words=tiles.inputs,
        weight_words=zeros,
        edge_words=tiles.inputs,
        above_words=zeros,
        sums=tiles.area,
        macs=np.rint(tiles.columns * tiles.used * fill).astype(np.int64),
        sums_read=tiles.columns if gemm.overlaps else tiles.columns - started,
        sums_written=tiles.columns,
        unloaded_sums=zeros,
        completed_sums=zeros if gemm.overlaps else started,
        crossings=np.stack([np.arange(count), tiles.inputs, tiles.columns], axis=1),
        map_fraction=channels / gemm.channels,
        layer_map_fraction=min(1.0, int(channels.sum()) / gemm.channels),
        live_sums=np.array([[0, count - 1, several]] if several else np.empty((0, 3)), np.int64),
        weight_fraction=1 / slots_per_weight,
    )
