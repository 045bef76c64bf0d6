"""The search for one layer: plans are tried one after the other, each annealed block by block; the best is kept."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from tightc.permutation.annealing.anneal import Annealed, AnnealSettings
from tightc.permutation.annealing.block import Block
from tightc.permutation.annealing.curve import CurveRecorder
from tightc.permutation.executors.executor import BlockJob
from tightc.permutation.methods import structured
from tightc.permutation.methods.first_fit import fill_tiles
from tightc.permutation.methods.tight.filter_set import FilterSet
from tightc.permutation.methods.tight.insertion import insert
from tightc.permutation.methods.tight.legalize import gather, legalize
from tightc.permutation.methods.tight.other_methods import packings_of_other_methods
from tightc.permutation.methods.tight.partition import partition, with_heights
from tightc.permutation.methods.tight.plan import (
    Plan,
    balanced_plan,
    min_area_plan,
    narrow_plan,
    passes_for,
)
from tightc.permutation.methods.tight.progress import LayerProgress
from tightc.permutation.methods.tight.replicate import replicated_plans
from tightc.permutation.methods.tight.tile_by_tile import fill_tile_by_tile
from tightc.permutation.packing_costs import PackingCosts
from tightc.permutation.problem import PackingProblem
from tightc.permutation.ranking import Candidate
from tightc.permutation.search_context import SearchContext, SearchSettings
from tightc.tile.array import ArrayShape
from tightc.tile.bounds import lane_inputs_lower_bound, passes_lower_bound
from tightc.tile.fan_in_bound import passes_lower_bound_at_fan_in
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing, Tile

_HOPELESS = 1.05  # a plan whose lanes would have to carry this many times the fan-in is not tried
_FULL = (
    0.92,
    0.8,
    0.7,
)  # of what a tile carries, the fraction that its filters may read: annealing needs some room
_FULL_MIN_AREA = 0.78  # the same where tiles are as low as their filters allow
_FEW = 16  # passes of a layer so small that it is worth a try without any room
_FEW_VECTORS = 4  # input vectors of a layer for which loading takes more energy than columns
_NEAR = 0.03  # excess, as a fraction of what all lanes carry, at which a less full tile is worth a try
_FAR = 0.05  # excess, as a fraction of the same, beyond which other plans of as many tiles are not tried
_SCARCE = 0.2  # excess, as a fraction of the same, that no plan of a few tiles more gets rid of
_FILLINGS = 3  # times that tiles are filled one by one
_CLOSER = 4  # part of the way down to the passes that failed, after some that fit
_RAISES = 4  # how often tiles that turned out too low are made taller
_MORE_MOVES = 4  # times the moves, for one more try of a block that nearly fits
_NEARLY = 0.05  # mean excess of the lanes of such a block, as a fraction of the fan-in
_MORE_TILES = 8  # tiles beyond the bound that a smaller area is tried with
_NARROWER = 4  # widths between the array's and the fan-in that a smaller area is tried with
_MORE_PASSES = (1.15, 1.35, 1.6, 2.0, 2.5, 3.0)  # times the bound, to try for fewer lane inputs
_FIRST_SHARE = 0.6  # of the time that is left, the fraction that the next annealing may take

_REPLICATED = 3  # plans with replicated tiles that are tried


class TightSearch:
    """Finds tiles for all weights of `matrix`; `run` once."""

    def __init__(
        self,
        matrix: LayerMatrix,
        problem: PackingProblem,
        settings: SearchSettings,
        context: SearchContext,
    ) -> None:
        self._matrix = matrix
        self._problem = problem
        self._array = problem.array
        self._fan_in = problem.fan_in
        self._objective = problem.objective
        self._settings = settings
        self._context = context
        self._filters, self._inputs = matrix.nonzeros()
        self._sizes = matrix.filter_sizes()
        self._filter_set = FilterSet.of(self._filters, self._inputs)
        self._bound = passes_lower_bound(self._sizes, problem.array)
        self._least = passes_lower_bound_at_fan_in(
            matrix.slots(), matrix.groups, problem.array, problem.fan_in
        )
        self._ordinary = structured.passes(matrix, problem.array)
        if matrix.subword_bits is not None:
            self._ordinary = len(self._filters) + 1  # an ordinary array has no place for subwords
        costs = problem.costs or PackingCosts.ideal(matrix, problem.array)
        self._costs = costs.replicating() if self._objective == "replicated-cycles" else costs
        self._best: Candidate | None = None
        self._fewest = math.inf  # passes of any packing found, the best or not
        self._filled = False  # whether tiles were filled one by one
        self._time = context.time
        self._recorder = CurveRecorder(problem.fan_in)  # of the plan that is annealed
        self._progress = LayerProgress(context, problem.fan_in, self._least, self._ordinary)

    def run(self) -> Packing:
        """The best packing found."""
        if not len(self._filters):
            return self._packing([])
        if not self._context.ended():
            self._search()
        if self._context.ended() or self._fewest > self._least or self._objective != "passes":
            self._offer(self._packing(fill_tiles(self._filters, self._inputs, self._array, self._fan_in)))
        if self._best is not None:  # as the lanes of the others are below
            self._best = Candidate(self._costs.place_lanes(self._best.packing), self._costs)
        by_passes = self._objective == "passes" and self._best is not None and self._best.runs
        for packing in packings_of_other_methods(
            self._matrix, self._problem, self._context, self._fewest if by_passes else math.inf
        ):
            self._offer(self._costs.place_lanes(packing))
        assert self._best is not None
        return self._best.packing

    def _packing(self, tiles: list[Tile]) -> Packing:
        """The packing of `tiles` for lanes of the fan-in."""
        matrix = self._matrix
        return Packing(
            method="tight",
            array=self._array,
            fan_in=self._fan_in,
            filters=matrix.filters,
            inputs=matrix.inputs,
            groups=matrix.groups,
            tiles=tuple(tiles),
            subword_bits=matrix.subword_bits,
        )

    @property
    def _tiles(self) -> tuple[Tile, ...]:
        """The best tiles so far."""
        return self._best.packing.tiles if self._best else ()

    @property
    def _carried(self) -> int:
        """Inputs that all lanes of a full tile can carry."""
        return self._fan_in * self._array.rows

    def _search(self) -> None:
        together, apart = passes_for(self._filter_set, self._array, _HOPELESS * self._fan_in)
        passes = max(self._least, together)
        if passes > self._least or not self._fits_the_bound():
            self._fill_tile_by_tile()
            self._search_passes(passes, apart)
        self._beyond_passes()

    def _fill_tile_by_tile(self) -> None:
        """Fills the tiles one after the other, again with other random numbers as long as that takes fewest passes."""
        for _ in range(_FILLINGS):
            if self._context.ended() or self._fewest <= self._least:
                return
            tiles = fill_tile_by_tile(
                self._filters,
                self._inputs,
                self._array,
                self._fan_in,
                self._seed(),
                ended=self._context.ended,
            )
            fewest = self._fewest
            if tiles:
                self._filled = True
                self._offer(self._packing(tiles))
            if not tiles or len(tiles) > fewest:
                return

    def _search_passes(self, passes: int, apart: int) -> None:
        """Spreads filters over more and more tiles, from `passes` on, then closes in on the fewest that hold them.

        `apart`: an estimate of the passes needed. It ends where far too many inputs remain, if tiles were filled one
        by one: with so scarce a fan-in that takes fewer passes.
        """
        failed = passes - 1
        while failed < passes < min(self._fewest, self._ordinary) and not self._context.ended():
            excess = self._try_balanced(passes)
            if excess > _SCARCE * self._carried * passes and self._filled:
                return
            if excess and passes < self._fewest:
                failed = passes
                wanted = max(passes + math.ceil(excess / self._carried), (passes + apart) // 2)
                passes = int(max(passes + 1, min(wanted, min(self._fewest, self._ordinary) - 1)))
            else:  # they fit, or other tiles took in what was beyond the fan-in
                passes = int(min(passes, self._fewest))
                passes -= max(1, (passes - failed) // _CLOSER)

    def _fits_the_bound(self) -> bool:
        """Whether a plan of as many passes as the bound leaves no lane beyond the fan-in.

        The plan of fewest columns is tried first, since it takes little energy where many vectors pass. Plans of little
        area need fewer slots, which are what counts where few do.
        """
        if self._objective not in ("area", "inputs") and self._costs.vectors >= _FEW_VECTORS:
            excess = self._attempt(self._narrow_plan())
            if excess == 0 or excess > _FAR * self._carried * self._least:
                return excess == 0
        if self._least > self._bound:
            return False
        for room in self._capacities():
            excess = self._try_min_area(self._bound, room)
            if excess == 0 or excess > _FAR * self._carried * self._bound:
                return excess == 0
        return False

    def _narrow_plan(self) -> Plan:
        """The plan of fewest columns in as many tiles as the bound, spread evenly where the fan-in asks for more."""
        array = self._array
        if self._least > self._bound:
            columns = int(np.sum(-(-self._sizes // array.rows)))
            array = array._replace(columns=-(-columns // self._least))
        return narrow_plan(self._filter_set, array, self._least)

    def _capacities(self) -> list[float]:
        """How many inputs a tile may read in the plans of little area, one after the other."""
        room = _FULL_MIN_AREA * self._carried
        return [math.inf, room] if self._bound <= _FEW else [room]

    def _try_min_area(self, passes: int, room: float) -> int:
        """Inputs beyond the fan-in that remain in the tiles of least area."""
        plan = min_area_plan(self._filter_set, self._array, passes, room, self._seed())
        return passes if plan is None else self._attempt(plan)

    def _beyond_passes(self) -> None:
        """Tries more passes, or smaller tiles, if the objective is not passes first."""
        if self._objective == "energy":
            self._beyond_energy()
        if self._objective == "replicated-cycles":
            cycles = self._best.measure("cycles") if self._best else math.inf
            plans = replicated_plans(self._filter_set, self._array, self._costs.vectors, cycles)
            for plan in islice(plans, _REPLICATED):
                if self._context.ended() or not self._attempt(plan):
                    break
        if self._objective == "area":
            self._beyond_area()
        if self._objective == "inputs":
            self._beyond_inputs()

    def _beyond_energy(self) -> None:
        """Tries narrower tiles, past whose columns an input travels less far, until they take no less energy."""
        rows, columns = self._array
        while columns > 1 and not self._context.ended():
            columns = -(-columns // 2)
            array, best = ArrayShape(rows, columns), self._best
            self._attempt(narrow_plan(self._filter_set, array, passes_lower_bound(self._sizes, array)))
            if self._best is best:
                break

    def _beyond_inputs(self) -> None:
        """Tries more passes until no lane input could be saved."""
        least = lane_inputs_lower_bound(np.bincount(self._inputs), self._array)
        for times in _MORE_PASSES:
            if self._context.ended() or 0 < sum(len(tile.inputs) for tile in self._tiles) <= least:
                return
            passes, room = math.ceil(self._bound * times), _FULL[0] * self._fan_in * self._array.rows
            self._attempt(balanced_plan(self._filter_set, self._array, passes, room, self._random()))

    def _beyond_area(self) -> None:
        """Tries more tiles, then narrower ones, until none of their area is empty.

        A tile with no more columns than the fan-in fits, whatever its filters read.
        """
        rows, columns = self._array
        widths = np.linspace(columns, min(columns, self._fan_in), _NARROWER + 1).astype(int).tolist()
        arrays = [ArrayShape(rows, width) for width in dict.fromkeys(widths)]
        narrower = [(array, passes_lower_bound(self._sizes, array), math.inf) for array in arrays]
        room = self._capacities()[0]
        if room == math.inf:
            del narrower[0]  # that plan was the first
        more = [(self._array, self._bound + extra, room) for extra in range(1, _MORE_TILES + 1)]
        for array, passes, room in [*more, *narrower]:
            if self._context.ended() or sum(tile.area for tile in self._tiles) == len(self._filters):
                return
            plan = min_area_plan(self._filter_set, array, passes, room, self._seed())
            if plan is not None:
                self._attempt(plan)

    def _try_balanced(self, passes: int) -> int:
        """Inputs beyond the fan-in that remain when filters are spread evenly over `passes` tiles."""
        least = self._carried * passes
        for full in _FULL:
            room = full * self._carried
            plan = balanced_plan(self._filter_set, self._array, passes, room, self._random())
            least = min(least, self._attempt(plan))
            far = least > _NEAR * self._carried * passes
            if not least or far or self._fewest <= passes or self._context.ended():
                break
        return least

    def _attempt(self, plan: Plan) -> int:
        """Anneals a plan, and keeps the result if it is the best; returns the inputs beyond the fan-in."""
        fan_in = self._fan_in
        blocks = partition(plan, self._filters, self._inputs)
        self._progress.begin(blocks)
        self._recorder = CurveRecorder(fan_in)
        annealed = self._anneal(blocks, list(range(len(blocks))), 1)
        self._raise_tiles(blocks, annealed)
        self._anneal_more(blocks, annealed)
        tiles, leaving = [], []
        for block, found in zip(blocks, annealed, strict=True):
            legal, removed = legalize(block, found, fan_in)
            tiles += legal
            leaving.append(removed)
        filters, inputs = gather(blocks, leaving)
        if len(filters):
            tiles, placed = insert(tiles, filters, inputs, self._array, fan_in)
            tiles += fill_tiles(filters[~placed], inputs[~placed], self._array, fan_in)
        packing = self._packing(tiles)
        self._offer(packing)
        if self._best is not None and self._best.packing is packing:
            self._context.curve = self._recorder.curve()
        self._progress.end(len(self._tiles))
        return int(sum(found.excess(fan_in).sum() for found in annealed))

    def _raise_tiles(self, blocks: list[Block], annealed: list[Annealed]) -> None:
        """Anneals blocks with lanes beyond the fan-in again, with taller tiles; in place."""
        for attempt in range(_RAISES):
            excess = [found.excess(self._fan_in) for found in annealed]
            near = sum(int(one.sum()) for one in excess) <= _FAR * self._fan_in * sum(map(len, excess))
            again = [
                i
                for i, one in enumerate(excess)
                if one.any() and (near or self._has_room(blocks[i], int(one.sum())))
            ]
            taller = {i: self._taller(blocks[i], excess[i], attempt + 1) for i in again}
            again = [i for i in again if taller[i] is not blocks[i]]
            if not again or self._context.ended():
                break
            for i, found in zip(again, self._anneal([taller[i] for i in again], again, 1), strict=True):
                blocks[i], annealed[i] = taller[i], found

    def _has_room(self, block: Block, excess: int) -> bool:
        """Whether the lanes that a block lacks to tiles of full height could carry its `excess`."""
        lanes = self._array.rows * len(block.heights) - int(block.heights.sum())
        return excess <= self._fan_in * lanes

    def _anneal_more(self, blocks: list[Block], annealed: list[Annealed]) -> None:
        """Anneals blocks that nearly fit again, with more moves, if the whole plan nearly fits; in place."""
        fan_in = self._fan_in
        again = [i for i, found in enumerate(annealed) if 0 < found.excess(fan_in).mean() < _NEARLY * fan_in]
        excess = sum(found.excess(fan_in).sum() for found in annealed)
        near = excess <= _NEAR * fan_in * sum(len(found.carried) for found in annealed)
        if again and near and not self._context.ended():
            results = self._anneal([blocks[i] for i in again], again, _MORE_MOVES)
            for i, found in zip(again, results, strict=True):
                annealed[i] = min(annealed[i], found, key=lambda one: one.cost(fan_in))

    def _taller(self, block: Block, excess: NDArray[np.int64], least: int) -> Block:
        """The block with at least `least` more lanes in each tile with an excess.

        If one of these has full height already, all tiles get more. If all tiles have, the result is `block` itself.
        """
        rows = self._array.rows
        by_tile = np.add.reduceat(excess, np.r_[0, np.cumsum(block.heights)[:-1]])
        if (block.heights == rows).all():
            return block
        if (block.heights[by_tile > 0] == rows).any():
            by_tile = np.maximum(by_tile, 1)
        more = np.where(by_tile > 0, np.maximum(least, 3 * by_tile // (2 * self._fan_in)), 0)
        return with_heights(block, np.minimum(rows, block.heights + more))

    def _anneal(self, blocks: list[Block], numbers: list[int], times: int) -> list[Annealed]:
        """Anneals `blocks`, known to the progress by `numbers`, with so many times the moves of the schedule."""
        schedule = self._settings.schedule
        schedule = schedule.model_copy(update={"moves_per_weight": times * schedule.moves_per_weight})
        own, self._time = self._time.fraction(_FIRST_SHARE), self._time.fraction(1 - _FIRST_SHARE)
        total = sum(block.weights for block in blocks)
        jobs = [
            BlockJob(
                block,
                AnnealSettings(self._fan_in, schedule, seed),
                own.fraction(block.weights / total),
                self._progress.of_block(number),
            )
            for block, number, seed in zip(blocks, numbers, self._seed().spawn(len(blocks)), strict=True)
        ]
        annealed = self._context.executor.anneal(jobs)
        self._context.cut_short |= any(found.cut_short for found in annealed)
        self._recorder.add(numbers, annealed, best=times > 1)  # with more moves, the better result is kept
        return annealed

    def _offer(self, packing: Packing) -> None:
        """Keeps `packing` if it is the best so far."""
        self._fewest = min(self._fewest, len(packing.tiles))
        found = Candidate(packing, self._costs)
        if self._best is None or found.is_better(self._best, self._objective):
            self._best = found
            self._context.curve = None

    def _seed(self) -> np.random.SeedSequence:
        return self._settings.seed.spawn(1)[0]

    def _random(self) -> np.uint64:
        return np.uint64(self._seed().generate_state(1, np.uint64)[0])
