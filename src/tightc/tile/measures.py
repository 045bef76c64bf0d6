"""The measures of a packing, one record that adds up over layers. Definitions: README.md."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from math import ceil, log2
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tightc.tile.bounds import (
    area_lower_bound,
    dense_passes,
    fan_in_lower_bound,
    lane_inputs_lower_bound,
)
from tightc.tile.fan_in_bound import passes_lower_bound_at_fan_in
from tightc.tile.matrix import Ids, LayerMatrix, scaled
from tightc.tile.packing import Packing, Tile
from tightc.tile.subwords import subwords_of

Number = TypeVar("Number", int, NDArray[np.int64])

Figures = dict[str, int | float | str | None]

_BLOCK = 2**22  # weights that are squared together
_LARGEST = ("fan_in_max", "fan_in_lower_bound")  # over layers; all other measures add up


@dataclass(frozen=True)
class Measures:
    """Counts of one packing or, added up, of a network; fan-ins are the largest of all, the rest are sums.

    The lower bounds on area, fan-in and lane inputs are those of any packing of the packed weights in as many passes.
    `area` is slots (lanes used x columns used), `*_bits` are bits, `*_squares` sums of squared weights. A slot holds
    a weight or a subword. In the second case `subwords` counts the non-zero ones, and a dense weight takes as many
    slots as it has subwords.
    """

    weights: int = 0
    nonzeros: int = 0
    subwords: int = 0
    dense_slots: int = 0
    needed_slots: int = 0
    passes: int = 0
    dense_passes: int = 0
    passes_lower_bound: int = 0
    area: int = 0
    area_lower_bound: int = 0
    fan_in_max: int = 0
    fan_in_lower_bound: int = 0
    lane_inputs: int = 0
    lane_inputs_lower_bound: int = 0
    packed_bits: int = 0
    dense_bits: int = 0
    dropped_weights: int = 0
    dropped_squares: float = 0.0
    total_squares: float = 0.0

    def __add__(self, other: Measures) -> Measures:
        sums = {field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        largest = {name: max(getattr(self, name), getattr(other, name)) for name in _LARGEST}
        return Measures(**{**sums, **largest})

    def figures(self) -> Figures:
        """The measures by the names of the glossary; None for a ratio to nothing."""
        return {
            "weights": self.weights,
            "nonzeros": self.nonzeros,
            "density": ratio(self.nonzeros, self.weights),
            **({"subwords": self.subwords} if self.subwords else {}),
            "matrix_compression_rate": ratio(self.dense_slots, self.area),
            "tightness": ratio(self.needed_slots - self.dropped_weights, self.area),
            "passes": self.passes,
            "dense_passes": self.dense_passes,
            "pass_compression": ratio(self.dense_passes, self.passes),
            "passes_lower_bound": self.passes_lower_bound,
            "gap": None if self.dropped_weights else self.passes - self.passes_lower_bound,
            "area": self.area,
            "area_lower_bound": self.area_lower_bound,
            "fan_in_max": self.fan_in_max,
            "fan_in_lower_bound": self.fan_in_lower_bound,
            "lane_inputs": self.lane_inputs,
            "lane_inputs_lower_bound": self.lane_inputs_lower_bound,
            "packed_bits": self.packed_bits,
            "bit_compression": ratio(self.dense_bits, self.packed_bits),
            "dropped_weights": self.dropped_weights,
            "dropped_magnitude": ratio(self.dropped_squares, self.total_squares) or 0.0,
        }


def largest_fan_in(packings: Iterable[Packing]) -> int:
    """The fan-in of an array that runs all of `packings`, 1 if there is none."""
    return max((packing.fan_in for packing in packings), default=1)


def measure(packing: Packing, matrix: LayerMatrix, fan_in: int | None = None) -> Measures:
    """Measures of `packing` for `matrix`; non-zeros without a slot count as dropped.

    `fan_in`: that of the array, for the lower bound on passes; None for that of the packing. A packing may need less
    than the array has.
    """
    taken = matrix.slots()
    sizes = taken.sum(axis=1, dtype=np.int64)
    dropped = dropped_weights(packing, matrix)
    width = matrix.bits
    slots = packing.slots_per_weight
    dense_array = packing.array.of_words(slots)
    filters, inputs = packing.slots()
    sizes_packed, users = np.bincount(filters), np.bincount(inputs)
    array, passes = packing.array, len(packing.tiles)
    return Measures(
        weights=matrix.values.size,
        nonzeros=int(np.count_nonzero(matrix.values)),
        subwords=int(sizes.sum()) if slots > 1 else 0,
        dense_slots=matrix.values.size * slots,
        needed_slots=int(sizes.sum()),
        passes=passes,
        dense_passes=dense_passes(matrix.filters, matrix.inputs, matrix.groups, dense_array),
        passes_lower_bound=passes_lower_bound_at_fan_in(
            taken, matrix.groups, array, fan_in or packing.fan_in, None if dropped.any() else passes
        ),
        area=sum(tile.area for tile in packing.tiles),
        area_lower_bound=area_lower_bound(sizes_packed, array, passes),
        fan_in_max=max((tile.fan_in for tile in packing.tiles), default=0),
        fan_in_lower_bound=fan_in_lower_bound(users, array, passes),
        lane_inputs=sum(len(tile.inputs) for tile in packing.tiles),
        lane_inputs_lower_bound=lane_inputs_lower_bound(users, array),
        packed_bits=packed_bits(packing, slot_bits(width, matrix.subword_bits)),
        dense_bits=matrix.values.size * width,
        dropped_weights=int(dropped.sum()),
        dropped_squares=_sum_of_squares(matrix, dropped) if dropped.any() else 0.0,
        total_squares=_sum_of_squares(matrix),
    )


def _sum_of_squares(matrix: LayerMatrix, chosen: NDArray[np.bool_] | None = None) -> float:
    """The sum of the squares of the dequantized weights, or of the `chosen` ones, a block of filters at a time."""
    step, total = max(1, _BLOCK // max(1, matrix.inputs)), 0.0
    for first in range(0, matrix.filters, step):
        block = slice(first, first + step)
        scale = matrix.scale if matrix.scale is None or len(matrix.scale) == 1 else matrix.scale[block]
        squares = np.square(scaled(matrix.values[block], scale), dtype=np.float64)
        total += float((squares if chosen is None else squares[chosen[block]]).sum())
    return total


def dropped_weights(packing: Packing, matrix: LayerMatrix) -> NDArray[np.bool_]:
    """Which weights of `matrix` are not zero and have no slot in `packing`: (filters, inputs of a group) bool."""
    filters, inputs = packing.slots()
    missing = matrix.slots().reshape(-1).copy()
    places, uses = matrix.places(filters, inputs)
    missing[places] -= np.minimum(uses, missing[places]).astype(np.int8)
    dropped: NDArray[np.bool_] = missing.reshape(matrix.values.shape) != 0
    return dropped


def kept_matrix(packing: Packing, matrix: LayerMatrix) -> LayerMatrix:
    """`matrix` with the weights that have no slot in `packing` set to zero; its other bits stay as they are."""
    zero = matrix.values.dtype.type(0)
    return replace(matrix, values=np.where(dropped_weights(packing, matrix), zero, matrix.values))


def slot_bits(width: int, subword_bits: int | None) -> int:
    """Bits of the content of a slot: a weight of `width` bits, or a subword with its sign and its place."""
    if subword_bits is None:
        return width
    return subword_bits + 1 + ceil(log2(subwords_of(subword_bits)))


def packed_bits(packing: Packing, width: int) -> int:
    """Bits that the tiles take: `width` bits for every slot of the area, and the index."""
    return width * sum(tile.area for tile in packing.tiles) + index_bits(packing)


def index_bits(packing: Packing) -> int:
    """Bits of the index: the select of every slot of the area, the lists of the lanes, the filters of the columns.

    A select has ceil(log2 fan-in) bits, a lane's list a length and the numbers of its inputs, a column one filter.
    """
    return sum(tile_index_bits(tile, packing) for tile in packing.tiles)


def tile_index_bits(tile: Tile, packing: Packing) -> int:
    """As `index_bits`, of one tile of `packing`.

    None are needed in the dense packing, and in a tile of fan-in 1 with consecutive inputs and filters.
    """
    if packing.method == "dense":
        return 0
    if packing.fan_in == 1 and _consecutive(tile.inputs) and _consecutive(tile.filters):
        return 0
    widths = IndexWidths.of(packing.fan_in, packing.inputs * packing.groups, packing.filters)
    return widths.bits(tile.area, tile.lanes, len(tile.inputs), tile.columns)


class IndexWidths(NamedTuple):
    """Bits of the numbers in an index: a slot's `select`, the `length` of a lane's list, an `input`, a `filter`."""

    select: int
    length: int
    input: int
    filter: int

    @classmethod
    def of(cls, fan_in: int, inputs: int, filters: int) -> IndexWidths:
        """For lanes of up to `fan_in` of so many `inputs`, over all groups, and for so many `filters`."""
        return cls(
            ceil(log2(fan_in)),
            ceil(log2(fan_in + 1)),
            max(1, ceil(log2(inputs))),
            max(1, ceil(log2(filters))),
        )

    def bits(self, slots: Number, lanes: Number, inputs: Number, columns: Number) -> Number:
        """Bits of the index of a tile, or of each of several, with so many slots, lanes, lane inputs and columns."""
        return slots * self.select + lanes * self.length + inputs * self.input + columns * self.filter


def _consecutive(numbers: Ids) -> bool:
    return bool((np.diff(numbers) == 1).all())


def ratio(part: float, whole: float) -> float | None:
    """part / whole, None if whole is 0."""
    return part / whole if whole else None
