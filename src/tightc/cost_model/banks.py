"""Banks of the activation buffer: the cycles and words of a step of each pass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tightc.accelerator.bank_network import BankNetwork
from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.passes import Counts, Passes
from tightc.kernel_cache import njit
from tightc.tile.array import ArrayShape
from tightc.tile.dense import dense_blocks
from tightc.tile.packing import Packing


@dataclass(frozen=True)
class LaneInputs:
    """The inputs of all lanes of all passes, pass by pass.

    `starts`: (passes + 1,) int64, where each pass begins in `lanes` and `inputs`, (lane inputs,) int64: which lane of
    the pass carries which input.
    """

    starts: Counts
    lanes: Counts
    inputs: Counts

    @classmethod
    def of_packing(cls, packing: Packing) -> LaneInputs:
        """Those of the tiles of `packing`."""
        tiles = packing.tiles
        none = np.empty(0, np.int64)
        lanes = [np.repeat(np.arange(tile.lanes), np.diff(tile.lane_starts)) for tile in tiles]
        return cls(
            np.append(0, np.cumsum([len(tile.inputs) for tile in tiles])).astype(np.int64),
            np.concatenate([none, *lanes]),
            np.concatenate([none, *(tile.inputs.astype(np.int64) for tile in tiles)]),
        )

    @classmethod
    def of_dense(cls, gemm: GemmWorkload, array: ArrayShape) -> LaneInputs:
        """Those of the weight-stationary passes of the layer `gemm` with all its weights on an `array` of fan-in 1."""
        blocks = dense_blocks(gemm.filters, gemm.inputs, gemm.groups, array)
        first = blocks.group * gemm.inputs + blocks.first_input
        ends = np.cumsum(blocks.inputs)
        place = np.arange(int(ends[-1]))
        of_pass = np.flatnonzero(np.diff(blocks.tile, prepend=-1))
        starts = np.append((ends - blocks.inputs)[of_pass], ends[-1])
        return cls(
            starts,
            place - np.repeat(starts[:-1], np.diff(starts)),
            place + np.repeat(first - (ends - blocks.inputs), blocks.inputs),
        )


def with_banks(passes: Passes, lane_inputs: LaneInputs, network: BankNetwork) -> Passes:
    """`passes`, weight-stationary, as they read the `lane_inputs` of a step from the banks of `network`."""
    cycles, words = bank_reads(
        lane_inputs.starts,
        lane_inputs.lanes,
        lane_inputs.inputs,
        network.banks,
        network.groups,
        window=network.window,
    )
    return replace(passes, bank_cycles=cycles, activation_words=words)


@njit(nogil=True, cache=True)
def bank_reads(
    starts: NDArray[np.int64],
    lanes: NDArray[np.int64],
    inputs: NDArray[np.int64],
    banks: int,
    groups: int,
    window: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cycles in which the banks give the words of a step of each pass, and those words: two (passes,) int64.

    `starts`, `lanes`, `inputs`: as in LaneInputs; `banks`, `groups`, `window`: as in BankNetwork. A rotation takes as
    many cycles as its fullest bank has words, and a word that lanes need in several rotations is read in each. Of the
    constants of a tile, the one with the fewest cycles counts, then with the fewest words.
    """
    rotations, passes = groups // window, len(starts) - 1
    cycles, words = np.zeros(passes, np.int64), np.zeros(passes, np.int64)
    counts, seen = np.zeros((rotations, banks), np.int64), np.full(rotations, -1, np.int64)
    word = 0
    for number in range(passes):
        first = starts[number]
        order = np.argsort(inputs[first : starts[number + 1]])
        for constant in range(window):
            counts[:] = 0
            read, previous = 0, -1
            for at in order:
                i = inputs[first + at]
                if i != previous:
                    word, previous = word + 1, i
                rotation = ((i - lanes[first + at] + constant) % groups) // window
                if seen[rotation] != word:
                    seen[rotation] = word
                    counts[rotation, i % banks] += 1
                    read += 1
            taken = 0
            for rotation in range(rotations):
                taken += counts[rotation].max()
            if constant == 0 or (taken, read) < (cycles[number], words[number]):
                cycles[number], words[number] = taken, read
    return cycles, words
