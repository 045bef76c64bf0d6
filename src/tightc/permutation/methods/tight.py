"""Tight: single weights rearranged into full tiles by simulated annealing, lossless.

After X. Chen et al., "Tight Compression" (DAC 2020; TCAD 42(2), 2023), in our own formulation (docs/architecture.md):
an input may be carried by several lanes, a filter may be split over several columns, and parts that use nearby inputs
share a tile.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tightc.permutation.anneal import EXCESS_COST, _anneal, _cost
from tightc.permutation.methods import structured
from tightc.permutation.parts import Cut, Draft, beyond_fan_in, draft_tiles
from tightc.permutation.task import Task
from tightc.tiles.array import ArrayShape
from tightc.tiles.bounds import passes_lower_bound
from tightc.tiles.matrix import Ids, LayerMatrix
from tightc.tiles.packing import EMPTY, Packing, Tile, tile_of_slots

_REPORTS = 10
_BITE = 4_000_000  # moves between two looks at whether to stop
_CUTS: dict[Cut, int] = {"full": 0, "even": 1}


def pack(matrix: LayerMatrix, task: Task) -> Packing:
    """A lossless packing within the fan-in, in `passes_lower_bound` passes wherever the search finds room.

    Filters are cut into full parts first, which wastes the least area; where that takes more passes than the bound,
    into even ones too, which need the smaller fan-in. Where both take more passes than the ordinary array needs
    without its empty filters and inputs, that arrangement is the result, with its zeros left out and a fan-in of 1.
    """
    bound = passes_lower_bound(matrix.filter_sizes(), task.array)
    ordinary = _without_zeros(structured.pack(matrix, task), matrix)
    share = _Share()
    found = _search(matrix, task, "full", share, len(ordinary))
    if len(found) > bound:
        found = min(
            found, _search(matrix, task, "even", share, min(len(found), len(ordinary))), key=_cost_of_tiles
        )
    fan_in = task.fan_in
    if len(ordinary) < len(found):
        found, fan_in = ordinary, 1
    return Packing("tight", task.array, fan_in, matrix.filters, matrix.inputs, matrix.groups, tuple(found))


def _search(matrix: LayerMatrix, task: Task, cut: Cut, share: _Share, limit: int) -> list[Tile]:
    """Tiles for all weights: drafted and annealed; what still exceeds the fan-in moves on to another round of tiles.

    Once there are more than `limit` tiles the rest is cut into tiles as it comes, at most `fan_in` columns each: the
    result is known to lose, and only has to be a packing.
    """
    tiles: list[Tile] = []
    filters, inputs = matrix.nonzeros()
    seed = np.random.SeedSequence(task.seed.entropy, spawn_key=(*task.seed.spawn_key, _CUTS[cut]))
    while len(filters):
        (seed,) = seed.spawn(1)
        if len(tiles) > limit:
            narrow = ArrayShape(task.array.rows, min(task.array.columns, task.fan_in))
            drafts = draft_tiles(filters, inputs, narrow, cut)
        else:
            drafts = _cool(draft_tiles(filters, inputs, task.array, cut), task, seed, share)
        leaving = [beyond_fan_in(draft.slots, task.fan_in) for draft in drafts]
        tiles += [
            tile_of_slots(draft.filters, np.where(gone, EMPTY, draft.slots).astype(np.int32))
            for draft, gone in zip(drafts, leaving, strict=True)
        ]
        filters, inputs = _gather(drafts, leaving)
    return tiles


def _without_zeros(packing: Packing, matrix: LayerMatrix) -> list[Tile]:
    """The tiles of a packing of fan-in 1 with empty slots where the weight is zero."""
    tiles = []
    for tile in packing.tiles:
        filters = np.broadcast_to(tile.filters, tile.select.shape)
        inputs = np.broadcast_to(tile.inputs[:, None], tile.select.shape)
        used = matrix.weights(filters, inputs) != 0
        if used.any():
            tiles.append(tile_of_slots(tile.filters, np.where(used, inputs, EMPTY).astype(np.int32)))
    return tiles


def _cost_of_tiles(tiles: list[Tile]) -> tuple[int, int, int]:
    """What makes one packing better than another: passes, then area, then lane inputs."""
    return len(tiles), sum(tile.area for tile in tiles), sum(len(tile.inputs) for tile in tiles)


@dataclass
class _Share:
    """How far a layer has come; how many rounds there will be is not known, so each takes 9/10 of what is left."""

    done: float = 0.0

    def within(self, part: float) -> float:
        """The share done when `part` of the present round is."""
        return self.done + 0.9 * part * (1 - self.done)


def _cool(drafts: list[Draft], task: Task, seed: np.random.SeedSequence, share: _Share) -> list[Draft]:
    """Anneals the drafts of a layer, all through the same temperatures at the same time."""
    temperatures = task.schedule.temperatures()
    numbered = [np.unique(draft.slots[draft.slots != EMPTY], return_inverse=True) for draft in drafts]
    slots = []
    for draft, (_, number) in zip(drafts, numbered, strict=True):
        local = np.full(draft.slots.shape, EMPTY, np.int32)
        local[draft.slots != EMPTY] = number
        slots.append(local)
    best = [local.copy() for local in slots]
    moves = [
        int(np.count_nonzero(s != EMPTY)) * task.schedule.moves_per_weight // len(temperatures) for s in slots
    ]
    states = [np.uint64(state | 1) for state in seed.generate_state(len(drafts), np.uint64)]
    costs = [_cost(local, task.fan_in)[0] for local in slots]
    began, tried = time.perf_counter(), 0
    for begin, end in pairwise(np.linspace(0, len(temperatures), _REPORTS + 1).astype(int)):
        for i in range(len(drafts)):
            for bite, size in _bites(temperatures[begin:end], moves[i]):
                if task.stop.is_set():
                    raise CancelledError
                costs[i], states[i] = _anneal(
                    slots[i], best[i], task.fan_in, bite, size, np.uint64(states[i])
                )
            tried += moves[i] * (end - begin)
        figures = {
            "cost": f"{sum(costs) / EXCESS_COST:.2f}",
            "temperature": f"{temperatures[max(end - 1, 0)]:.3f}",
            "moves/s": f"{tried / (time.perf_counter() - began + 1e-9) / 1e6:.0f}M",
        }
        task.listener(task.layer, share.within(end / len(temperatures)), figures)
    share.done = share.within(1.0)
    return [
        Draft(draft.filters, np.where(local == EMPTY, EMPTY, carried[local]).astype(np.int32))
        for draft, local, (carried, _) in zip(drafts, best, numbered, strict=True)
    ]


def _bites(temperatures: NDArray[np.float64], moves: int) -> Iterator[tuple[NDArray[np.float64], int]]:
    """`moves` at each of `temperatures`, in pieces short enough that an interrupt is heeded between them."""
    if moves * len(temperatures) <= _BITE:
        yield temperatures, moves
        return
    for temperature in temperatures:
        for first in range(0, moves, _BITE):
            yield np.array([temperature]), min(_BITE, moves - first)


def _gather(drafts: list[Draft], leaving: list[np.ndarray]) -> tuple[Ids, Ids]:
    """Filters and inputs of the slots that leave, sorted by filter, then input."""
    filters = [draft.filters[np.nonzero(gone)[1]] for draft, gone in zip(drafts, leaving, strict=True)]
    inputs = [draft.slots[gone] for draft, gone in zip(drafts, leaving, strict=True)]
    together = np.concatenate(filters), np.concatenate(inputs)
    order = np.lexsort(together[::-1])
    return together[0][order], together[1][order]
