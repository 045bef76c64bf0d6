"""The annealing kernel by itself, on one core."""

from __future__ import annotations

import numpy as np

from benchmarks.measuring import ARRAY, best_seconds
from benchmarks.page import SEED
from tightc.permutation.annealing.block import Block, starting_state
from tightc.permutation.annealing.kernel import _cost, _try_moves
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.methods.tight.filter_set import FilterSet
from tightc.permutation.methods.tight.partition import partition
from tightc.permutation.methods.tight.plan import balanced_plan

_FAN_IN = 16
_INPUTS = 256  # for each tile


def kernel_speed(tiles: int, moves: int, repeats: int = 5) -> float:
    """Moves a second on a block of `tiles` full tiles, over the temperatures of the usual schedule; best of `repeats`.

    32 filters with 32 weights for each tile, among 256 inputs for each.
    """
    block, schedule = _block(tiles), TemperatureSchedule()
    assert schedule.t_start != "auto"
    temperatures = schedule.temperatures(schedule.t_start, schedule.steps)
    each = moves // len(temperatures)

    def anneal() -> None:
        for temperature in temperatures:
            _try_moves(
                state,
                best,
                tally,
                fan_in=_FAN_IN,
                temperature=float(temperature),
                moves=each,
                rng=np.uint64(SEED + 1),
            )

    fastest = float("inf")
    for _ in range(repeats + 1):  # the first to warm up
        state = starting_state(block)
        best = np.array([state.lane_of, state.column_of])
        tally = np.array([*[_cost(state.carried, _FAN_IN)[0]] * 2, 0], np.int64)
        fastest = min(fastest, best_seconds(anneal, 1))
    return each * len(temperatures) / fastest


def _block(tiles: int) -> Block:
    rng = np.random.default_rng(SEED)
    weights = ARRAY.rows * tiles
    filters = np.repeat(np.arange(ARRAY.columns), weights).astype(np.int32)
    rows = [np.sort(rng.choice(_INPUTS * tiles, weights, replace=False)) for _ in range(ARRAY.columns)]
    inputs = np.concatenate(rows).astype(np.int32)
    plan = balanced_plan(
        FilterSet.of(filters, inputs), ARRAY, tiles, float(_INPUTS * tiles), np.uint64(SEED + 1)
    )
    (block,) = partition(plan, filters, inputs)
    return block
