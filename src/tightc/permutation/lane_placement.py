"""Places the lanes of a tile, so that the banks of the activation buffer give the words of a step in fewer cycles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tightc.accelerator.bank_network import BankNetwork
from tightc.cost_model.bank_layout import chosen_banks, interleaved_banks
from tightc.cost_model.banks import network_reads
from tightc.cost_model.gemm import GemmWorkload
from tightc.cost_model.lane_inputs import LaneInputs
from tightc.kernel_cache import njit
from tightc.tile.packing import Packing, Tile

_PAIRS = 4096  # of lanes that change places between two looks at the clock, about


def never() -> bool:
    """Whether the search has ended, where nothing ends it."""
    return False


def place_lanes(
    packing: Packing, network: BankNetwork, positions: int = 1, ended: Callable[[], bool] = never
) -> Packing:
    """`packing` with the lanes of its tiles in an order that takes fewer cycles of `network`, where one is found.

    What the lanes carry stays as it is, and so does everything but their order. `positions`: inputs of a channel, the
    size of a convolution's kernel. The result is the best for either layout that the cost model knows, and takes no
    more cycles than `packing` does. Where every lane sees all banks, no order is better than another. Once
    `ended`, the lanes of the tiles that are left stay where they are.
    """
    if network.rotations == 1 or not packing.tiles:
        return packing
    gemm = GemmWorkload(
        packing.filters // packing.groups, packing.inputs, packing.groups, vectors=1, positions=positions
    )
    lane_inputs, banks = LaneInputs.of_packing(packing), network.banks
    best, fewest = packing, np.inf
    for layout in (interleaved_banks(gemm, banks), chosen_banks(lane_inputs, gemm, banks)):
        cycles = network_reads(lane_inputs, layout, network)[0]
        found = replace(packing, tiles=tuple(_placed(tile, layout, network, ended) for tile in packing.tiles))
        placed = network_reads(LaneInputs.of_packing(found), layout, network)[0]
        tiles = tuple(
            new if gains else old
            for new, old, gains in zip(found.tiles, packing.tiles, placed < cycles, strict=True)
        )
        total = int(np.minimum(placed, cycles).sum())
        if total < fewest:
            best, fewest = replace(packing, tiles=tiles), total
    return best


def _placed(tile: Tile, layout: NDArray[np.int64], network: BankNetwork, ended: Callable[[], bool]) -> Tile:
    if ended():
        return tile
    _, words = np.unique(tile.inputs, return_inverse=True)
    starts, input_banks = tile.lane_starts.astype(np.int64), layout[tile.inputs]
    placed = as_placed(starts, words.astype(np.int64), input_banks, network)
    order = lane_order(placed, network.window, ended)
    carried = np.diff(tile.lane_starts)[order]
    places = [np.arange(tile.lane_starts[lane], tile.lane_starts[lane + 1]) for lane in order]
    return Tile(
        tile.filters,
        np.append(0, np.cumsum(carried)).astype(np.int32),
        tile.inputs[np.concatenate(places)],
        tile.select[order],
    )


class PlacedLanes(NamedTuple):
    """A tile with its lanes in some order, and what that takes. Passed to the kernels, which change it in place.

    `starts`: (lanes + 1,) int64, where the list of each lane begins in `words`, (lane inputs,) int64, which numbers the
    different inputs from 0, and in `input_banks`, (lane inputs,) int64, the bank that each is in. `order`: (lanes,)
    int64, the lane at each place. `users`: (words, rotations) int64, lanes that take a word in a rotation. `counts`:
    (rotations, banks) int64, words that a bank gives.
    """

    starts: NDArray[np.int64]
    words: NDArray[np.int64]
    input_banks: NDArray[np.int64]
    order: NDArray[np.int64]
    users: NDArray[np.int64]
    counts: NDArray[np.int64]


def as_placed(
    starts: NDArray[np.int64],
    words: NDArray[np.int64],
    input_banks: NDArray[np.int64],
    network: BankNetwork,
) -> PlacedLanes:
    """The lanes of a tile at the places that they have; the arrays are as in PlacedLanes."""
    lanes = len(starts) - 1
    placed = PlacedLanes(
        starts,
        words,
        input_banks,
        order=np.arange(lanes),
        users=np.zeros((words.max() + 1, network.rotations), np.int64),
        counts=np.zeros((network.rotations, network.banks), np.int64),
    )
    _count_all(placed, network.window)
    return placed


def lane_order(placed: PlacedLanes, window: int, ended: Callable[[], bool] = never) -> NDArray[np.int64]:
    """Which lane comes at each place, (lanes,) int64: lanes change places in pairs while that takes fewer cycles.

    `window`: as in BankNetwork. Of orders with as many cycles, the one counts that spreads the words more evenly over
    rotations and banks: the least sum of squares. Once `ended`, the order so far.
    """
    lanes = len(placed.order)
    at_once = max(1, _PAIRS // lanes)
    improves = True
    while improves:
        improves = False
        for first in range(0, lanes, at_once):
            improves |= _exchange_lanes(placed, first, min(lanes, first + at_once), window)
            if ended():
                return placed.order
    return placed.order


@njit(nogil=True, cache=True)
def _count_all(placed: PlacedLanes, window: int) -> None:
    for place in range(len(placed.order)):
        _count(placed, place, window, 1)


@njit(nogil=True, cache=True)
def _exchange_lanes(placed: PlacedLanes, begin: int, end: int, window: int) -> bool:
    """Lanes at places from `begin` to `end` change places with later ones where that gains; whether any has."""
    counts = placed.counts
    cycles, squares = _fullest(counts), (counts * counts).sum()
    improves = False
    for first in range(begin, end):
        for second in range(first + 1, len(placed.order)):
            _exchange(placed, first, second, window)
            found, spread = _fullest(counts), (counts * counts).sum()
            if (found, spread) < (cycles, squares):
                cycles, squares, improves = found, spread, True
            else:
                _exchange(placed, first, second, window)
    return improves


@njit(nogil=True, cache=True)
def _fullest(counts: NDArray[np.int64]) -> int:
    """The words of the fullest bank of each rotation, summed over the rotations."""
    total = 0
    for rotation in range(len(counts)):
        total += counts[rotation].max()
    return total


@njit(nogil=True, cache=True)
def _exchange(placed: PlacedLanes, first: int, second: int, window: int) -> None:
    """The lanes at places `first` and `second` change places."""
    order = placed.order
    _count(placed, first, window, -1)
    _count(placed, second, window, -1)
    order[first], order[second] = order[second], order[first]
    _count(placed, first, window, 1)
    _count(placed, second, window, 1)


@njit(nogil=True, cache=True)
def _count(placed: PlacedLanes, place: int, window: int, change: int) -> None:
    """Counts the words of the lane at `place` in, with a `change` of 1, or out, with -1."""
    groups = len(placed.counts) * window
    lane = placed.order[place]
    for at in range(placed.starts[lane], placed.starts[lane + 1]):
        word, bank = placed.words[at], placed.input_banks[at]
        rotation = ((bank - place) % groups) // window
        placed.users[word, rotation] += change
        if placed.users[word, rotation] == (change + 1) // 2:  # its first lane has come, or its last has left
            placed.counts[rotation, bank] += change
