"""The annealing kernel against plain recounts; tiny, because it also runs without JIT."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.annealing_blocks import block, blocks, cost, lanes_of, place_faults, state_faults
from tightc.permutation.annealing.block import Block, starting_state
from tightc.permutation.annealing.kernel import (
    EMPTY,
    AnnealingState,
    _cost,
    _lane_change,
    _target,
    _try_moves,
)
from tightc.permutation.annealing.rng import _pick

pytestmark = pytest.mark.kernel
FEW = settings(max_examples=30)
HOT, WARM, COLD = 1e9, 0.3, 1e-9
LED = 15 / 16  # of the moves, those that go where another reader of the input is
TEMPERATURES = st.sampled_from([HOT, WARM, 0.05, COLD])
FAN_INS = st.sampled_from([1, 2, 3, 9])
SEEDS = st.integers(1, 2**63)

# two tiles: filter 0 has two columns in the first and one in the second, filter 1 one in each, filter 2 one
MIXED = ([4, 2], [[0, 0, 1, 2], [0, 1]])


class Run:
    """A block on its way through the kernel."""

    def __init__(self, block: Block, fan_in: int, seed: int) -> None:
        self.block, self.fan_in = block, fan_in
        self.state = starting_state(block)
        self.best = np.array([block.lanes, block.columns])
        self.tally = np.array([cost(block, block.lanes, fan_in)] * 2 + [0])
        self.rng = np.uint64(seed)

    def go(self, temperature: float, moves: int) -> None:
        self.rng = np.uint64(
            _try_moves(
                self.state,
                self.best,
                self.tally,
                fan_in=self.fan_in,
                temperature=temperature,
                moves=moves,
                rng=self.rng,
            )
        )

    def costs(self) -> tuple[int, int]:
        """Recounts of (the state, the best state)."""
        return cost(self.block, self.state.lane_of, self.fan_in), cost(self.block, self.best[0], self.fan_in)


@FEW
@given(blocks(), FAN_INS)
def test_cost_and_counts_of_a_fresh_state_are_plain_recounts(block: Block, fan_in: int) -> None:
    state = starting_state(block)
    assert state_faults(state, block) == []
    carried = lanes_of(block, block.lanes)
    excess = sum(max(0, len(lane) - fan_in) for lane in carried)
    assert _cost(state.carried, fan_in) == (cost(block, block.lanes, fan_in), excess)


@FEW
@given(blocks(), FAN_INS, st.lists(st.tuples(TEMPERATURES, st.integers(0, 40)), max_size=4), SEEDS)
def test_after_any_moves_the_running_cost_is_a_recount_and_the_best_state_is_kept(
    block: Block, fan_in: int, calls: list[tuple[float, int]], seed: int
) -> None:
    run = Run(block, fan_in, seed)
    start, lowest = run.tally[0], run.tally[0]
    for temperature, moves in calls:
        run.go(temperature, moves)
        assert state_faults(run.state, block) == []
        assert place_faults(block, *run.best) == []
        assert tuple(run.tally[:2]) == run.costs()
        lowest = min(lowest, run.tally[0])
        assert run.tally[1] <= lowest <= start
        assert 0 <= run.tally[2] <= sum(moves for _, moves in calls)


@pytest.mark.parametrize("fan_in", [1, 2])
def test_the_best_state_is_the_lowest_of_all_states_passed_through(fan_in: int) -> None:
    for seed in range(1, 6):
        run, steps = Run(block(*MIXED, seed=seed), fan_in, seed), Run(block(*MIXED, seed=seed), fan_in, seed)
        run.go(HOT, 60)
        states = [(steps.costs()[0], block(*MIXED, seed=seed).lanes.tolist())]
        for _ in range(60):
            steps.go(HOT, 1)
            states.append((steps.costs()[0], steps.state.lane_of.tolist()))
        lowest = min(energy for energy, _ in states)
        assert run.tally[1] == lowest < max(energy for energy, _ in states)
        assert run.best[0].tolist() in [lanes for energy, lanes in states if energy == lowest]


def test_many_calls_go_on_where_one_would_have() -> None:
    whole, parts = (Run(block(*MIXED, seed=3), 1, 7) for _ in range(2))
    whole.go(WARM, 90)
    for moves in (1, 0, 29, 60):
        parts.go(WARM, moves)
    assert int(whole.rng) == int(parts.rng) and whole.tally.tolist() == parts.tally.tolist()
    assert whole.state.slots.tolist() == parts.state.slots.tolist()
    assert whole.costs() == parts.costs()  # the best states may differ where their costs do not


def test_cold_moves_never_raise_the_cost() -> None:
    for seed in range(1, 8):
        run = Run(block(*MIXED, seed=seed), 1, seed)
        before = int(run.tally[0])
        for _ in range(50):
            run.go(COLD, 1)
            assert run.tally[0] <= before
            before = int(run.tally[0])


def test_cold_moves_reach_the_optimum_of_a_tile_that_only_needs_sorting() -> None:
    lanes, columns = 4, 6
    rng = np.random.default_rng(0)
    places = np.array([rng.permutation(lanes) for _ in range(columns)], np.int32)
    owners = np.repeat(np.arange(columns, dtype=np.int32), lanes)
    full = Block(
        np.array([lanes]),
        np.arange(columns, dtype=np.int32),
        np.zeros(columns, np.int32),
        owners,
        np.tile(np.arange(lanes, dtype=np.int32), columns),
        places.ravel(),
        owners,
    )
    run = Run(full, 1, 11)
    for temperature in (0.3, 0.1, 0.03):
        run.go(temperature, 1500)
    assert run.tally[1] == lanes  # one input on each lane, none beyond the fan-in


@pytest.mark.parametrize("heights", [[1], [1, 1]])
def test_a_filter_of_one_slot_stays_there(heights: list[int]) -> None:
    alone = block(heights, [[tile, tile + 2] for tile in range(len(heights))])
    run = Run(alone, 1, 5)
    run.go(HOT, 60)
    assert run.state.lane_of.tolist() == alone.lanes.tolist()
    assert run.tally[2] == 0


def test_hot_moves_reach_every_slot_of_a_filter_and_no_other() -> None:
    lonely = block(*MIXED, few=1)  # a weight of filter 0, which has two columns of 4 lanes and one of 2
    seen, run = set(), Run(lonely, 1, 3)
    for _ in range(300):
        run.go(HOT, 1)
        seen.add((int(run.state.lane_of[0]), int(run.state.column_of[0])))
    assert seen == {(lane, column) for lane in range(4) for column in (0, 1)} | {(4, 0), (5, 0)}


@FEW
@given(blocks(), FAN_INS)
def test_the_change_of_a_lane_is_the_difference_of_two_recounts(block: Block, fan_in: int) -> None:
    state = starting_state(block)
    items = len(state.counts) - 1
    for lane in range(min(3, len(state.slots))):
        counts, carried = state.counts[:items, lane], int(state.carried[lane])
        held = [item for item in range(items) if counts[item]]
        for leaving in [EMPTY, *held]:
            for coming in {EMPTY, *range(items)} - {leaving}:
                after = counts.astype(int)
                if leaving != EMPTY:
                    after[leaving] -= 1
                if coming != EMPTY:
                    after[coming] += 1
                now = int(np.count_nonzero(after))
                rise = now - carried + 4 * (max(0, now - fan_in) - max(0, carried - fan_in))
                assert _lane_change(state.counts, lane, leaving, coming, carried, fan_in) == (
                    now - carried,
                    rise,
                )


@FEW
@given(blocks(), st.lists(st.integers(0, 2**64 - 1), min_size=20, max_size=20))
def test_a_target_is_always_a_slot_of_the_filter(block: Block, draws: list[int]) -> None:
    state = starting_state(block)
    for number, bits in enumerate(draws):
        weight = number % block.weights
        lane, column = _target(state, np.int64(weight), np.uint64(bits))
        moved = block.lanes.copy(), block.columns.copy()
        moved[0][weight], moved[1][weight] = lane, column
        assert [fault for fault in place_faults(block, *moved) if "two weights" not in fault] == []


def probabilities(state: AnnealingState, block: Block, weight: int) -> dict[tuple[int, int], float]:
    """The chance of each slot to be the target of a weight: fifteen draws of sixteen follow a user of its input, if
    another one reads it, to its lane, where the filter has columns in that tile; all others are even over cells, then
    lanes."""
    tile_of = state.tile_of.tolist()
    bases = np.r_[0, np.cumsum(block.heights)]
    cells = []
    for cell, (owner, tile) in enumerate(
        zip(block.cell_filters.tolist(), block.cell_tiles.tolist(), strict=True)
    ):
        if owner == block.filters[weight]:
            cells.append((tile, cell - int(np.searchsorted(block.cell_tiles, tile))))
    found: dict[tuple[int, int], float] = {}

    def give(lane: int, column: int, chance: float) -> None:
        found[lane, column] = found.get((lane, column), 0.0) + chance

    users = [int(lane) for lane in block.lanes[block.inputs == block.inputs[weight]]]
    rest = 1.0
    if len(users) > 1:
        for lane in users:
            there = [column for tile, column in cells if tile == tile_of[lane]]
            for column in there:
                give(lane, column, LED / len(users) / len(there))
            rest -= LED / len(users) if there else 0.0
    for tile, column in cells:
        for lane in range(int(block.heights[tile])):
            give(int(bases[tile]) + lane, column, rest / len(cells) / int(block.heights[tile]))
    return found


@pytest.mark.parametrize("weight", [0, 4, -1])
def test_targets_are_drawn_by_their_probabilities(weight: int) -> None:
    mixed = block(*MIXED, inputs=4, seed=2)
    state, drawn = starting_state(mixed), 10_000
    weight %= mixed.weights
    rng = np.random.default_rng(weight)
    found: dict[tuple[int, int], int] = {}
    for bits in rng.integers(0, 2**64, drawn, np.uint64):
        lane, column = _target(state, np.int64(weight), bits)
        found[int(lane), int(column)] = found.get((int(lane), int(column)), 0) + 1
    expected = probabilities(state, mixed, weight)
    assert set(found) == set(expected)
    for slot, chance in expected.items():
        assert abs(found[slot] / drawn - chance) < 5 * (chance / drawn) ** 0.5


def rises(block: Block, fan_in: int) -> list[tuple[float, int]]:
    """(chance, rise) of every move that a state has, each made and recounted."""
    state = starting_state(block)
    before = cost(block, block.lanes, fan_in)
    found = []
    for weight in range(block.weights):
        for (lane, column), chance in probabilities(state, block, weight).items():
            moved = block.lanes.copy()
            other = state.slots[lane, column]
            if other != EMPTY:
                moved[other] = moved[weight]
            moved[weight] = lane
            found.append((chance / block.weights, cost(block, moved, fan_in) - before))
    return found


@FEW
@given(st.integers(0, 2**64 - 1), st.integers(1, 2**20))
def test_a_pick_is_below_its_number_and_grows_with_its_bits(bits: int, among: int) -> None:
    width = 16 if among <= 65536 else 32
    assert int(_pick(np.uint64(bits), among)) == (bits % 2**width) * among // 2**width
