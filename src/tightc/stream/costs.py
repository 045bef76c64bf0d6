"""Bits that the lane inputs of a tile take, before the table of the layer is known."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tightc.stream.lane_search import BIT, Costs
from tightc.stream.readable import Readable
from tightc.stream.subsets import Numbers
from tightc.stream.tables import LONGEST_CODE, Table


def tile_costs(table: Table, readable: Readable, inputs: Numbers, most_repeats: int) -> Costs:
    """The costs of a tile with these distinct `inputs`, (inputs,) int64, rising, for up to `most_repeats` repeated.

    `table`: codes the numbers of slots of lane inputs.
    """
    most = int(readable.size.max())
    uses = np.zeros((len(readable.groups), most + 1), np.int64)
    numbers = BIT * _number_bits(table, most)
    for row, size in enumerate(readable.size.tolist()):
        uses[row, : size + 1] = numbers[: size + 1] + _subset_costs(size)
    group = readable.group(inputs).astype(np.int64)
    return Costs(uses, group, _repeats_costs(len(inputs), most_repeats))


def _number_bits(table: Table, most: int) -> Numbers:
    """Bits of each number up to `most` by `table`; one without a code takes the longest one."""
    tokens = (np.arange(most + 1) - table.base) >> table.raw
    known = (tokens >= 0) & (tokens < len(table.lengths))
    bits = np.where(known, table.lengths[np.where(known, tokens, 0)], LONGEST_CODE)
    if len(table.lengths) > 1:
        bits = np.where(bits == 0, LONGEST_CODE, bits)
    return bits + table.raw


@lru_cache(maxsize=64)
def _subset_costs(things: int) -> Numbers:
    """The cost of a subset of each size of so many things, as if it were numbered: (things + 1,) int64."""
    options, costs = 1, np.zeros(things + 1, np.int64)
    for chosen in range(1, things + 1):
        options = options * (things - chosen + 1) // chosen
        costs[chosen] = _choice_cost(options)
    return costs


def _repeats_costs(inputs: int, most: int) -> Numbers:
    """The cost of marking which lane inputs are the same as the one before, for 0 to `most` more than `inputs`."""
    options, costs = 1, np.zeros(most + 1, np.int64)
    for again in range(most + 1):
        if again:
            options = options * (inputs + again - 1) // again  # of the others than the first
        costs[again] = BIT * (2 * (again + 1).bit_length() - 1) + _choice_cost(options)
    return costs


def _choice_cost(options: int) -> int:
    """The mean cost of one of so many numbers in truncated binary."""
    width = options.bit_length() - 1
    short = (2 << width) - options
    return BIT * width + BIT * (options - short) // options
