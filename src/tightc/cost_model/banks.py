"""Banks of the activation buffer: the cycles and words of a step of each pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tightc.accelerator.bank_network import BankNetwork
from tightc.cost_model.bank_layout import chosen_banks, interleaved_banks
from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.lane_inputs import LaneInputs
from tightc.cost_model.passes import Counts, Passes
from tightc.kernel_cache import njit


def with_banks(passes: Passes, lane_inputs: LaneInputs, gemm: GemmWorkload, network: BankNetwork) -> Passes:
    """`passes` of `gemm`, weight-stationary, as they read the `lane_inputs` of a step from the banks of `network`.

    Of two layouts the one with fewer cycles is taken: inputs interleaved over the banks, or channels placed for the
    passes.
    """
    layout = interleaved_banks(gemm, network.banks)
    cycles, words = network_reads(lane_inputs, layout, network)
    if (cycles > -(-words // network.banks)).any():
        other = chosen_banks(lane_inputs, gemm, network.banks)
        found = network_reads(lane_inputs, other, network)
        if (found[0].sum(), found[1].sum()) < (cycles.sum(), words.sum()):
            layout, (cycles, words) = other, found
    return replace(passes, bank_cycles=cycles, activation_words=words, input_banks=layout)


def network_reads(
    lane_inputs: LaneInputs, input_banks: NDArray[np.int64], network: BankNetwork
) -> tuple[Counts, Counts]:
    """`bank_reads` of `network`."""
    return bank_reads(
        lane_inputs.starts,
        lane_inputs.lanes,
        lane_inputs.inputs,
        input_banks,
        network.banks,
        groups=network.groups,
        window=network.window,
    )


@njit(nogil=True, cache=True)
def bank_reads(
    starts: NDArray[np.int64],
    lanes: NDArray[np.int64],
    inputs: NDArray[np.int64],
    input_banks: NDArray[np.int64],
    banks: int,
    groups: int,
    window: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cycles in which the banks give the words of a step of each pass, and those words: two (passes,) int64.

    `starts`, `lanes`, `inputs`: as in LaneInputs; `banks`, `groups`, `window`: as in BankNetwork. `input_banks`:
    (inputs of the layer,), the bank of each. A rotation takes as many cycles as its fullest bank has words, and a word
    that lanes need in several rotations is read in each. Of the constants of a tile, the one with the fewest cycles
    counts, then with the fewest words.
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
                bank = input_banks[i]
                rotation = ((bank - lanes[first + at] + constant) % groups) // window
                if seen[rotation] != word:
                    seen[rotation] = word
                    counts[rotation, bank] += 1
                    read += 1
            taken = 0
            for rotation in range(rotations):
                taken += counts[rotation].max()
            if constant == 0 or (taken, read) < (cycles[number], words[number]):
                cycles[number], words[number] = taken, read
    return cycles, words
