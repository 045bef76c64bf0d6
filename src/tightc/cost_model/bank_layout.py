"""Which bank of the activation buffer each input of a layer is in: one after the other, or chosen for the passes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.lane_inputs import LaneInputs
from tightc.kernel_cache import njit

_SWEEPS = 4  # the first finds nearly all
_POWER = 4  # of the words in a bank: full banks weigh most, and those about to be full still count


def interleaved_banks(gemm: GemmWorkload, banks: int) -> NDArray[np.int64]:
    """Input i of `gemm` in bank i % `banks`: (inputs of all groups,) int64."""
    return np.arange(gemm.groups * gemm.inputs) % banks


def chosen_banks(lane_inputs: LaneInputs, gemm: GemmWorkload, banks: int) -> NDArray[np.int64]:
    """The bank of each input of `gemm`, (inputs of all groups,) int64, with the words of each pass spread over `banks`.

    The positions of a channel are in consecutive banks, since only so all inputs move on together from one vector to
    the next. What is chosen is the bank that each channel begins in, by descent from `interleaved_banks`.
    """
    count = len(lane_inputs.starts) - 1
    number = np.repeat(np.arange(count), np.diff(lane_inputs.starts))
    inputs, passes = np.divmod(np.unique(lane_inputs.inputs * count + number), count)
    channel, position = np.divmod(inputs, gemm.positions)
    starts = np.searchsorted(channel, np.arange(gemm.channels + 1))
    first = np.arange(gemm.channels) * gemm.positions % banks
    spread_channels(starts, passes, position, first, banks)
    found: NDArray[np.int64] = np.add.outer(first, np.arange(gemm.positions)).reshape(-1) % banks
    return found


@njit(nogil=True, cache=True)
def spread_channels(
    starts: NDArray[np.int64],
    passes: NDArray[np.int64],
    positions: NDArray[np.int64],
    first: NDArray[np.int64],
    banks: int,
) -> None:
    """Changes `first`, (channels,), the bank of each channel's first position, so that passes have less full banks.

    `starts`: (channels + 1,), where each channel begins in `passes` and `positions`, (words,): which pass reads which
    position of the channel.
    """
    counts = np.zeros((passes.max() + 1 if len(passes) else 0, banks), np.int32)
    for channel in range(len(first)):
        for at in range(starts[channel], starts[channel + 1]):
            counts[passes[at], (first[channel] + positions[at]) % banks] += 1
    cost = np.zeros(counts.max() + 2 if len(passes) else 1, np.float64)  # of one more word
    for words in range(len(cost)):
        cost[words] = float(words + 1) ** _POWER - float(words) ** _POWER
    for _ in range(_SWEEPS):
        moved = False
        for channel in range(len(first)):
            own = range(starts[channel], starts[channel + 1])
            for at in own:
                counts[passes[at], (first[channel] + positions[at]) % banks] -= 1
            costs = np.zeros(banks)  # with the channel beginning in each bank
            for at in own:
                of_pass, shift = counts[passes[at]], positions[at] % banks
                for bank in range(banks - shift):
                    costs[bank] += cost[of_pass[bank + shift]]
                for bank in range(banks - shift, banks):
                    costs[bank] += cost[of_pass[bank + shift - banks]]
            best = np.argmin(costs)
            if costs[best] == costs[first[channel]]:
                best = first[channel]
            moved |= best != first[channel]
            first[channel] = best
            for at in own:
                counts[passes[at], (best + positions[at]) % banks] += 1
        if not moved:
            break
