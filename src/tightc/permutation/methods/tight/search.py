"""The search for one layer: plans tried one after the other, each cooled block by block, the best packing kept."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from tightc.permutation.annealing.anneal import Cooled, Order
from tightc.permutation.annealing.block import Block, blocks_of, raised
from tightc.permutation.methods import structured
from tightc.permutation.methods.first_fit import fill_tiles
from tightc.permutation.methods.tight.legalize import gather, settle
from tightc.permutation.methods.tight.plan import Crowd, Plan, even_plan, level_plan, narrow_plan, passes_for
from tightc.permutation.methods.tight.progress import Telling
from tightc.permutation.methods.tight.replicate import beside_plans
from tightc.permutation.objective import Objective
from tightc.permutation.problem import Task
from tightc.tile.array import ArrayShape
from tightc.tile.bounds import lane_inputs_lower_bound, passes_lower_bound
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import EMPTY, Packing, Tile, tile_of_slots

_HOPE = 1.05  # a plan whose lanes would have to carry this much more than the fan-in is not tried
_FULL = (0.92, 0.8, 0.7)  # of what a tile carries, what its group may read; annealing needs some room
_LEVEL = 0.78  # the same where tiles are as low as their filters allow
_FEW = 16  # passes of a layer so small that it is worth a try without any room
_NEAR = 0.005  # of what all lanes carry, what is beyond the fan-in where a tile less full is worth a try
_RAISES = 4  # how often tiles that were cut too low are made taller
_PATIENCE = 4  # how many times the moves are tried once more on a block that nearly fits
_NEARLY = 0.05  # of its fan-in, what a lane of such a block is beyond it, on average
_MORE_TILES = 8  # tiles beyond the bound that a smaller area is tried with
_NARROWER = 4  # widths between the array's and the fan-in that it is tried with
# times the bound, passes that fewer lane inputs are tried with
_MORE_LANES = (1.15, 1.35, 1.6, 2.0, 2.5, 3.0)

_BUFFER = 40  # registers' bytes for the energy of a buffer's
_BESIDE = 3  # plans with tiles side by side that are tried

# what is to be small, in this order
_KEYS: dict[Objective, tuple[str, ...]] = {
    "passes": ("passes", "area", "inputs"),
    "cycles": ("passes", "area", "inputs"),  # of one layer, every pass takes as long
    "side-by-side": ("cycles", "energy"),
    "energy": ("passes", "energy"),
    "area": ("area", "passes", "inputs"),
    "inputs": ("inputs", "passes", "area"),
}


class Search:
    """Finds tiles for all weights of `matrix`; `run` once."""

    def __init__(self, matrix: LayerMatrix, task: Task) -> None:
        self._task = task
        self._filters, self._inputs = matrix.nonzeros()
        self._sizes = matrix.filter_sizes()
        self._crowd = Crowd.of(self._filters, self._inputs)
        self._bound = passes_lower_bound(self._sizes, task.array)
        self._matrix = matrix
        self._ordinary = structured.passes(matrix, task.array)
        if matrix.subword_bits is not None:
            self._ordinary = len(self._filters) + 1  # an ordinary array has no place for digits
        self._best: list[Tile] | None = None
        self._fewest = math.inf  # passes of any packing found, the best or not
        self._fan_in = task.fan_in
        self._seconds = task.pace.share(task.weight)
        self._telling = Telling(task, self._bound, self._ordinary)

    def run(self) -> tuple[list[Tile], int]:
        """(tiles, the fan-in that they are made for)."""
        if not len(self._filters):
            return [], self._fan_in
        if not self._ended():
            self._search()
        if self._ended() or self._fewest > self._bound or self._task.objective in ("energy", "side-by-side"):
            self._offer(fill_tiles(self._filters, self._inputs, self._task), self._task.fan_in)
        few = self._ordinary <= self._fewest or self._task.objective not in ("passes", "cycles")
        if few and self._matrix.subword_bits is None:
            self._offer(_without_zeros(structured.pack(self._matrix, self._task), self._matrix), 1)
        return self._best or [], self._fan_in

    def _search(self) -> None:
        task, carried = self._task, self._task.fan_in * self._task.array.rows
        together, apart = passes_for(self._crowd, task.array, _HOPE * task.fan_in)
        passes = max(self._bound, together)
        if passes == self._bound and any(not self._level(passes, room) for room in self._rooms()):
            self._beyond_passes()
            return
        while passes < min(self._fewest, self._ordinary) and not self._ended():
            excess = self._even(passes)
            if not excess:
                break
            passes = max(passes + 1, passes + math.ceil(excess / carried), (passes + apart) // 2)
        self._beyond_passes()

    def _rooms(self) -> list[float]:
        """How many inputs a tile may read in the plans of little area, one after the other."""
        carried = self._task.fan_in * self._task.array.rows
        return [math.inf, _LEVEL * carried] if self._bound <= _FEW else [_LEVEL * carried]

    def _level(self, passes: int, room: float) -> int:
        """Inputs beyond the fan-in that remain in the tiles that waste least area."""
        plan = level_plan(self._crowd, self._task.array, passes, room, self._seed())
        return passes if plan is None else self._attempt(plan)

    def _beyond_passes(self) -> None:
        """Tries more passes, or smaller ones, where the objective would rather have something else small."""
        array, crowd = self._task.array, self._crowd
        if self._task.objective in ("energy", "side-by-side"):
            for passes in sorted({self._bound, len(self._best or []) or self._bound}):
                if not self._ended():
                    self._attempt(narrow_plan(crowd, array, passes))
        if self._task.objective == "side-by-side":
            plans = beside_plans(crowd, array, self._task.vectors, self._cycles(self._best or []))
            for plan in islice(plans, _BESIDE):
                if self._ended() or not self._attempt(plan):
                    break
        if self._task.objective == "area":
            self._beyond_area()
        if self._task.objective == "inputs":
            least = lane_inputs_lower_bound(np.bincount(self._inputs), array)
            for times in _MORE_LANES:
                if self._ended() or 0 < sum(len(tile.inputs) for tile in self._best or []) <= least:
                    return
                passes = math.ceil(self._bound * times)
                self._attempt(
                    even_plan(crowd, array, passes, _FULL[0] * self._task.fan_in * array.rows, self._state())
                )

    def _beyond_area(self) -> None:
        """Tries more tiles, then narrower ones, until none of their area is empty.

        A tile with as many columns as the fan-in holds whatever its filters read.
        """
        rows, columns = self._task.array.rows, self._task.array.columns
        widths = np.linspace(columns, min(columns, self._task.fan_in), _NARROWER + 1).astype(int).tolist()
        arrays = [ArrayShape(rows, width) for width in dict.fromkeys(widths)]
        narrower = [(array, passes_lower_bound(self._sizes, array), math.inf) for array in arrays]
        room = self._rooms()[0]
        if room == math.inf:
            del narrower[0]  # that plan was the first
        more = [(self._task.array, self._bound + extra, room) for extra in range(1, _MORE_TILES + 1)]
        for array, passes, room in [*more, *narrower]:
            if self._ended() or sum(tile.area for tile in self._best or []) == len(self._filters):
                return
            plan = level_plan(self._crowd, array, passes, room, self._seed())
            if plan is not None:
                self._attempt(plan)

    def _even(self, passes: int) -> int:
        """Inputs beyond the fan-in that remain when filters are spread evenly over `passes` tiles."""
        carried = self._task.fan_in * self._task.array.rows
        least = carried * passes
        for full in _FULL:
            plan = even_plan(self._crowd, self._task.array, passes, full * carried, self._state())
            least = min(least, self._attempt(plan))
            if not least or least > _NEAR * carried * passes or self._ended():
                break
        return least

    def _attempt(self, plan: Plan) -> int:
        """Cools a plan and keeps what comes of it if that is the best; gives the inputs beyond the fan-in."""
        fan_in = self._task.fan_in
        blocks = blocks_of(plan, self._filters, self._inputs)
        self._telling.begin(blocks)
        cooled = self._cool(blocks, list(range(len(blocks))), 1)
        for turn in range(_RAISES):
            again = [i for i, found in enumerate(cooled) if found.excess(fan_in).any()]
            taller = {i: self._taller(blocks[i], cooled[i].excess(fan_in), turn + 1) for i in again}
            again = [i for i in again if taller[i] is not blocks[i]]
            if not again or self._ended():
                break
            for i, found in zip(again, self._cool([taller[i] for i in again], again, 1), strict=True):
                blocks[i], cooled[i] = taller[i], found
        again = [i for i, found in enumerate(cooled) if 0 < found.excess(fan_in).mean() < _NEARLY * fan_in]
        beyond = sum(found.excess(fan_in).sum() for found in cooled)
        near = beyond <= _NEAR * fan_in * sum(len(found.carried) for found in cooled)
        if again and near and not self._ended():
            for i, found in zip(again, self._cool([blocks[i] for i in again], again, _PATIENCE), strict=True):
                cooled[i] = min(cooled[i], found, key=lambda one: one.cost(fan_in))
        tiles, leaving = [], []
        for block, found in zip(blocks, cooled, strict=True):
            settled, gone = settle(block, found, fan_in)
            tiles += settled
            leaving.append(gone)
        tiles += fill_tiles(*gather(blocks, leaving), self._task)
        self._offer(tiles, fan_in)
        self._telling.end(len(self._best or []))
        return int(sum(found.excess(fan_in).sum() for found in cooled))

    def _taller(self, block: Block, excess: NDArray[np.int64], least: int) -> Block:
        """The block with its crowded tiles made taller by `least` lanes at least, all of its tiles where some crowded
        ones have their full height already; itself where all have."""
        rows = self._task.array.rows
        by_tile = np.add.reduceat(excess, np.r_[0, np.cumsum(block.heights)[:-1]])
        if (block.heights == rows).all():
            return block
        if (block.heights[by_tile > 0] == rows).any():
            by_tile = np.maximum(by_tile, 1)
        more = np.where(by_tile > 0, np.maximum(least, 3 * by_tile // (2 * self._task.fan_in)), 0)
        return raised(block, np.minimum(rows, block.heights + more))

    def _cool(self, blocks: list[Block], numbers: list[int], times: int) -> list[Cooled]:
        schedule = self._task.schedule
        schedule = schedule.model_copy(update={"moves_per_weight": times * schedule.moves_per_weight})
        seconds, self._seconds = 0.6 * self._seconds, 0.4 * self._seconds
        total = sum(block.weights for block in blocks)
        orders = [
            Order(self._task.fan_in, schedule, seed, seconds * block.weights / total)
            for block, seed in zip(blocks, self._seed().spawn(len(blocks)), strict=True)
        ]
        cooled = self._task.crew.cool(blocks, orders, [self._telling.watch(i) for i in numbers])
        if any(found.cut for found in cooled):
            self._task.pace.cut.add(self._task.layer)
        return cooled

    def _offer(self, tiles: list[Tile], fan_in: int) -> None:
        self._fewest = min(self._fewest, len(tiles))
        if self._best is None or self._key(tiles) < self._key(self._best):
            self._best, self._fan_in = tiles, fan_in

    def _key(self, tiles: list[Tile]) -> tuple[int, ...]:
        figures = {
            "passes": len(tiles),
            "area": sum(tile.area for tile in tiles),
            "inputs": sum(len(tile.inputs) for tile in tiles),
            "cycles": self._cycles(tiles),
            "energy": sum(map(_energy, tiles)),
        }
        return tuple(figures[name] for name in _KEYS[self._task.objective])

    def _cycles(self, tiles: list[Tile]) -> int:
        """Cycles of an array that puts copies of small tiles side by side."""
        array, vectors = self._task.array, self._task.vectors
        return sum(
            array.pass_cycles(-(-vectors // min(vectors, array.copies(tile.lanes, tile.columns))))
            for tile in tiles
        )

    def _ended(self) -> bool:
        ended = self._task.stop.is_set() or self._task.pace.left() <= 0
        if ended:
            self._task.pace.cut.add(self._task.layer)
        return ended

    def _seed(self) -> np.random.SeedSequence:
        return self._task.seed.spawn(1)[0]

    def _state(self) -> np.uint64:
        return np.uint64(self._seed().generate_state(1, np.uint64)[0])


def _energy(tile: Tile) -> int:
    """What a vector costs in a tile, in bytes written to a register: a byte in a buffer counts as much as forty.

    Each different input is read once, each column's sum of 4 bytes read and written; a lane's inputs pass through all
    columns, sums through all lanes. The proportion is that of the default energy table.
    """
    buffers = len(np.unique(tile.inputs)) + 8 * tile.columns
    return _BUFFER * buffers + len(tile.inputs) * tile.columns + 4 * tile.area


def _without_zeros(packing: Packing, matrix: LayerMatrix) -> list[Tile]:
    """The tiles of a packing of fan-in 1 with empty slots where the weight is zero."""
    tiles = []
    for tile in packing.tiles:
        lane, column = np.nonzero(tile.select != EMPTY)
        inputs = tile.inputs[lane]
        slots = np.full(tile.select.shape, EMPTY, np.int32)
        slots[lane, column] = np.where(matrix.weights(tile.filters[column], inputs) != 0, inputs, EMPTY)
        if (slots != EMPTY).any():
            tiles.append(tile_of_slots(tile.filters, slots))
    return tiles
