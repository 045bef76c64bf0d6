"""A layer's weights as one matrix, grouped layers included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.tile.subwords import counts, nth_subword

Ids = NDArray[np.int32]


@dataclass(frozen=True)
class LayerMatrix:
    """The weights of a layer: `values`, (filters, inputs of a group), float or int8, the `groups` one below the other.

    Filters and inputs are numbered over all groups: filter f belongs to group f // (filters / groups), and input k of
    that group is number group * inputs + k. So a grouped layer is a block-diagonal matrix, stored without its zeros.
    `scale`: (filters,), (1,) or (filters, inputs) float64, the quantization scale of integer values. `weight_bits`: of
    a value as it is stored, 0 for those of its dtype; values less their zero point may be held in more.

    With `subword_bits`, each non-zero subword of so many bits is a non-zero of its own: a weight of two non-zero
    subwords is listed twice, and takes two slots.
    """

    values: NDArray[Any]
    groups: int = 1
    scale: NDArray[np.float64] | None = None
    subword_bits: int | None = None
    weight_bits: int = 0

    @property
    def bits(self) -> int:
        """Bits of a stored value."""
        return self.weight_bits or 8 * self.values.dtype.itemsize

    @property
    def dequantized(self) -> NDArray[Any]:
        """The values as real numbers, scale applied: (filters, inputs of a group)."""
        return scaled(self.values, self.scale)

    @property
    def filters(self) -> int:
        """Number of rows, over all groups."""
        return int(self.values.shape[0])

    @property
    def inputs(self) -> int:
        """Number of columns of one group."""
        return int(self.values.shape[1])

    @property
    def filters_per_group(self) -> int:
        """Number of rows of one group."""
        return self.filters // self.groups

    def first_input(self, filters: Ids) -> Ids:
        """Number of the first input that each of `filters` can read, same shape, int32."""
        return (filters // self.filters_per_group * self.inputs).astype(np.int32)

    def nonzeros(self) -> tuple[Ids, Ids]:
        """Filter and input number of every non-zero, sorted by filter, then input: two (nonzeros,) int32."""
        rows, columns = np.nonzero(self.values)
        if self.subword_bits is not None:
            times = self.slots()[rows, columns]
            rows, columns = np.repeat(rows, times), np.repeat(columns, times)
        filters = rows.astype(np.int32)
        return filters, (columns + self.first_input(filters)).astype(np.int32)

    def slots(self) -> NDArray[np.int8]:
        """Number of slots that each weight takes: (filters, inputs of a group) int8."""
        if self.subword_bits is not None:
            return counts(self.values.astype(np.int8), self.subword_bits)
        taken: NDArray[np.int8] = (self.values != 0).astype(np.int8)
        return taken

    def places(self, filters: Ids, inputs: Ids) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(the place of each weight among these pairs, how often it is): two (weights,) int64, places rising.

        A place is filter * inputs of a group + input of the group.
        """
        flat = filters.astype(np.int64) * self.inputs
        flat += inputs - self.first_input(filters)
        flat.sort()
        firsts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1])) if len(flat) else flat
        return flat[firsts], np.diff(np.append(firsts, len(flat)))

    def weights(self, filters: Ids, inputs: Ids) -> NDArray[Any]:
        """The content of the slot of each (filter, input) pair: same shape, dtype of `values`.

        If a pair comes several times, each holds one subword at its place value, the most significant first.
        """
        weights: NDArray[Any] = self.values[filters, inputs - self.first_input(filters)]
        if self.subword_bits is None:
            return weights
        subwords, places = self.subwords(filters, inputs)
        return (subwords.astype(np.int64) << places * self.subword_bits).astype(self.values.dtype)

    def subwords(self, filters: Ids, inputs: Ids) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
        """The same as (subword with its weight's sign, place from the least significant): two (slots,) arrays."""
        assert self.subword_bits is not None, "whole weights have no subwords"
        weights = self.values[filters, inputs - self.first_input(filters)].astype(np.int8)
        return nth_subword(weights, _ranks(filters, inputs), self.subword_bits)

    def filter_sizes(self) -> NDArray[np.int64]:
        """Non-zeros of each filter: (filters,) int64."""
        sizes: NDArray[np.int64] = self.slots().sum(axis=1, dtype=np.int64)
        return sizes


def scaled(matrix: NDArray[Any], scale: NDArray[np.float64] | None) -> NDArray[Any]:
    """`matrix`, (filters, inputs), times `scale`, which is (1,), (filters,) or (filters, inputs); None for no scale."""
    if scale is None:
        return matrix
    return matrix * (scale if scale.ndim == matrix.ndim else scale[:, None])


def _ranks(filters: Ids, inputs: Ids) -> NDArray[np.int64]:
    """How many times each (filter, input) pair was listed before: (pairs,) int64."""
    order = np.lexsort((inputs, filters))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(filters[order]) != 0) | (np.diff(inputs[order]) != 0)
    place = np.arange(len(order))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = place - np.maximum.accumulate(np.where(new, place, 0))
    return ranks
