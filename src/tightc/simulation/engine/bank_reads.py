"""What a step of a tile takes from the banks of the activation buffer, word by word."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from tightc.accelerator.bank_network import BankNetwork
from tightc.tile.packing import Tile


def read_step(
    tile: Tile, network: BankNetwork | None, input_banks: NDArray[np.int64] | None
) -> tuple[int, int]:
    """(words, cycles of the banks) that a step of `tile` takes; 0 cycles without a `network`.

    `input_banks`: (inputs of the layer,), the bank of each. Each rotation reads the words that some lane sees in it,
    and each bank gives one in a cycle.
    """
    inputs, starts = tile.inputs.tolist(), tile.lane_starts.tolist()
    if network is None or input_banks is None:
        return len(set(inputs)), 0
    banks = dict(zip(inputs, input_banks[tile.inputs].tolist(), strict=True))
    carried = [(lane, i) for lane in range(tile.lanes) for i in inputs[starts[lane] : starts[lane + 1]]]
    found = []
    for constant in range(network.window):
        reads = {
            (((banks[i] - lane + constant) % network.groups) // network.window, i) for lane, i in carried
        }
        of_bank = Counter((rotation, banks[i]) for rotation, i in reads)
        fullest: dict[int, int] = {}
        for (rotation, _), words in of_bank.items():
            fullest[rotation] = max(words, fullest.get(rotation, 0))
        found.append((sum(fullest.values()), len(reads)))
    cycles, words = min(found)
    return words, cycles
