"""What a layer costs by the number of segments that it keeps: the base of a pruning budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.energy_table import EnergyTable
from tightc.cost_model.energy import energy_pj
from tightc.cost_model.expected_tiles import expected_passes, expected_tiles
from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.layer_cost import layer_cost
from tightc.cost_model.passes import Passes, dense_passes
from tightc.tile.array import ArrayShape
from tightc.tile.measures import slot_bits
from tightc.tile.segment_costs import SegmentCosts
from tightc.tile.subwords import subwords_of

_EXACT_TILES = 64  # numbers of tiles that are all looked at; of more, about one in a hundred
_RATIO = 1.01


@dataclass(frozen=True)
class CostBasis:
    """Which cost counts: cycles (speedup), energy in pJ, or bits of the packed weights; and on what.

    `accelerator`: its fan-in is that of its lanes, None for any number of inputs. `subword_bits`: of the subwords that
    fill a slot each; None for whole weights. `segment_rows`: lanes of a tile; None for all rows of an array.
    """

    kind: Literal["speedup", "energy", "bits"]
    accelerator: Accelerator
    table: EnergyTable
    subword_bits: int | None = None
    segment_rows: int | None = None

    @property
    def tile(self) -> ArrayShape:
        """The largest tile: as many columns as an array has, and its rows or those of a segment."""
        array = self.accelerator.array
        return array if self.segment_rows is None else array._replace(rows=self.segment_rows)

    @property
    def slots_per_weight(self) -> int:
        """Slots that a weight with all its bits takes."""
        return 1 if self.subword_bits is None else subwords_of(self.subword_bits)

    def of(self, gemms: Sequence[GemmWorkload], weight_bits: int) -> SegmentCosts:
        """The costs of a layer: `gemms`, its products, several where layers share the weight; `weight_bits`: as stored.

        Tiles are those of `expected_tiles`. Who can hold more segments for less can hold fewer for no more: tiles with
        empty slots. So the costs never fall. Of many tiles some are looked at, and costs between them interpolated.
        """
        gemm, array = gemms[0], self.accelerator.array
        of_filter = -(-gemm.inputs * self.slots_per_weight // self.tile.rows)
        segments = gemm.filters * gemm.groups * of_filter
        words = replace(self.accelerator, array=array.of_words(self.slots_per_weight))
        if self.kind == "bits":
            dense = float(gemm.weights * weight_bits)
        else:
            dense = sum(self._cost(dense_passes("ws", each, words.array), each, words) for each in gemms)

        def cost(count: int) -> float:
            if self.kind == "bits":
                return self._bits(gemm, count, weight_bits)
            return sum(self._cost(self._passes(each, count), each, self.accelerator) for each in gemms)

        found = np.array([0.0, *_interpolated(cost, segments, array.columns)])
        return SegmentCosts(np.minimum.accumulate(found[::-1])[::-1], float(dense))

    def _passes(self, gemm: GemmWorkload, segments: int) -> Passes:
        return expected_passes(gemm, self.tile, segments, self.accelerator.fan_in, self.slots_per_weight)

    def _cost(self, passes: Passes, gemm: GemmWorkload, accelerator: Accelerator) -> float:
        accelerator = replace(accelerator, bank_network=None)  # what it takes depends on where inputs lie
        found = layer_cost(passes, gemm, accelerator, 0)
        if self.kind == "speedup":
            return float(found.cycles)
        return sum(energy_pj(found.events, self.table, accelerator).values())

    def _bits(self, gemm: GemmWorkload, segments: int, weight_bits: int) -> float:
        fan_in = self.accelerator.fan_in
        tiles = expected_tiles(gemm, self.tile, segments, fan_in, self.slots_per_weight)
        index = tiles.index_bits(gemm, fan_in)
        return float(slot_bits(weight_bits, self.subword_bits) * tiles.area.sum() + index.sum())


def _interpolated(cost: Callable[[int], float], segments: int, columns: int) -> NDArray[np.float64]:
    """`cost` of 1, 2, ... `segments`, (segments,) float64, from its values at the ends of tiles of `columns`.

    In the first tile all are looked at. Between the ends of a tile the cost is taken as linear, and so is the cost of
    an end between the numbers of tiles that are looked at.
    """
    first = min(columns, segments)
    found = np.empty(segments)
    found[:first] = [cost(count) for count in range(1, first + 1)]
    tiles = -(-segments // columns)
    if tiles == 1:
        return found
    last = tiles - 1  # full tiles before the last, which may have fewer columns
    full = np.arange(1, last + 1)
    looked_at = _some(last)
    begins = np.interp(full, looked_at, [cost(tile * columns + 1) for tile in looked_at])
    ends = np.interp(full, looked_at, [cost(min(segments, (tile + 1) * columns)) for tile in looked_at])
    place = np.arange(segments - first)
    tile, column = place // columns, place % columns
    widths = np.full(last, columns)
    widths[-1] = segments - last * columns
    part = column / np.maximum(1, widths[tile] - 1)
    found[first:] = np.where(widths[tile] == 1, ends[tile], begins[tile] + part * (ends[tile] - begins[tile]))
    return found


def _some(last: int) -> list[int]:
    """Numbers from 1 to `last`: the first ones, then some at growing distances."""
    found = list(range(1, min(last, _EXACT_TILES) + 1))
    while found[-1] < last:
        found.append(min(last, max(found[-1] + 1, round(found[-1] * _RATIO))))
    return found
