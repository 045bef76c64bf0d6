"""The annealing kernel by itself, on one core."""

from __future__ import annotations

import numpy as np

from benchmarks.measuring import ARRAY, best_seconds
from benchmarks.page import SEED
from tightc.permutation.annealing.block import Block, blocks_of, board_of
from tightc.permutation.annealing.kernel import _anneal, _cost
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.methods.tight.plan import Crowd, even_plan

_FAN_IN = 16
_INPUTS = 256  # for each tile


def kernel_speed(tiles: int, moves: int, repeats: int = 5) -> float:
    """Moves a second on a board of `tiles` full tiles, over the temperatures of the usual schedule; best of `repeats`.

    32 filters with 32 weights for each tile, among 256 inputs for each.
    """
    block, schedule = _block(tiles), TemperatureSchedule()
    assert schedule.t_start != "auto"
    temperatures = schedule.temperatures(schedule.t_start, schedule.steps)
    each = moves // len(temperatures)

    def anneal() -> None:
        for temperature in temperatures:
            _anneal(board, best, tally, _FAN_IN, float(temperature), each, np.uint64(SEED + 1))

    fastest = float("inf")
    for _ in range(repeats + 1):  # the first to warm up
        board = board_of(block)
        best = np.array([board.lane_of, board.column_of])
        tally = np.array([*[_cost(board.carried, _FAN_IN)[0]] * 2, 0], np.int64)
        fastest = min(fastest, best_seconds(anneal, 1))
    return each * len(temperatures) / fastest


def _block(tiles: int) -> Block:
    rng = np.random.default_rng(SEED)
    weights = ARRAY.rows * tiles
    filters = np.repeat(np.arange(ARRAY.columns), weights).astype(np.int32)
    rows = [np.sort(rng.choice(_INPUTS * tiles, weights, replace=False)) for _ in range(ARRAY.columns)]
    inputs = np.concatenate(rows).astype(np.int32)
    plan = even_plan(Crowd.of(filters, inputs), ARRAY, tiles, float(_INPUTS * tiles), np.uint64(SEED + 1))
    (block,) = blocks_of(plan, filters, inputs)
    return block
