"""N:M sparsity: what is kept against plain sorting, the search against all orders of tiny layers."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from helpers.packings import QUICK, PackingCase, arrays, matrices, packed_layer
from tightc.deadline import Deadline, TimeShare
from tightc.errors import OptionError
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.methods.nm import channel_permutation
from tightc.permutation.methods.nm import pack as nm
from tightc.permutation.methods.nm.pack import efficacy, find_order
from tightc.permutation.pattern import Pattern
from tightc.permutation.problem import LossySettings
from tightc.permutation.search_context import SearchContext
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix

PATTERNS = st.sampled_from(
    [Pattern(2, 4), Pattern(1, 2), Pattern(1, 4), Pattern(3, 4), Pattern(2, 5), Pattern(4, 16)]
)
TWO_OF_FOUR = Pattern(2, 4)


def orders_of(matrix: LayerMatrix, pattern: Pattern, seed: int = 0) -> list[list[int]]:
    """What pack finds for each group of a layer, numbered within the group."""
    return [
        find_order(block, pattern, QUICK, np.random.SeedSequence(seed, spawn_key=(group,))).tolist()
        for group, block in enumerate(np.split(matrix.values, matrix.groups))
    ]


@settings(max_examples=120)
@given(matrices(), arrays(), PATTERNS)
def test_the_largest_of_every_group_are_kept_and_nothing_else(
    matrix: LayerMatrix, array: ArrayShape, pattern: Pattern
) -> None:
    orders = orders_of(matrix, pattern)
    kept = np.concatenate(
        [
            oracle.nm_kept(block, order, *pattern)
            for block, order in zip(np.split(matrix.values, matrix.groups), orders, strict=True)
        ]
    )
    packing = packed_layer(matrix, "nm", array, fan_in=16, lossy=LossySettings(pattern=pattern))
    tiles = oracle.plain(packing)
    faults = oracle.packing_faults(tiles, matrix.values, matrix.groups, tuple(array), pattern.group, kept)
    assert faults == []
    assert packing.fan_in == pattern.group
    place = {
        number * matrix.inputs + k: (number, i // pattern.group)
        for number, order in enumerate(orders)
        for i, k in enumerate(order)
    }
    seen: dict[tuple[object, int], int] = {}
    for number, tile in enumerate(tiles):
        for lane, selected in zip(tile["lanes"], tile["select"], strict=True):
            (group,) = {place[k] for k in lane}
            for f, choice in zip(tile["filters"], selected, strict=True):
                if choice >= 0 and array.rows >= pattern.kept:
                    assert seen.setdefault((group, f), number) == number, "a group is in two tiles"


@settings(max_examples=60)
@given(matrices(largest=20), PATTERNS, st.integers(0, 3))
def test_an_order_holds_every_input_and_keeps_no_less_than_the_layer_s_own(
    matrix: LayerMatrix, pattern: Pattern, seed: int
) -> None:
    for block, order in zip(
        np.split(matrix.values, matrix.groups), orders_of(matrix, pattern, seed), strict=True
    ):
        assert sorted(order) == list(range(matrix.inputs))
        magnitudes = np.abs(block)
        found, own = (
            magnitudes[oracle.nm_kept(block, chosen, *pattern)].sum() for chosen in (order, sorted(order))
        )
        assert found >= own * (1 - 1e-3)
        bound = oracle.nm_bound(block, *pattern)
        expected = (found - own) / (bound - own) if bound > own else 0.0
        assert efficacy(block, np.array(order), pattern) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("filters", "inputs", "pattern"),
    [
        (4, 8, TWO_OF_FOUR),
        (5, 7, TWO_OF_FOUR),
        (6, 8, Pattern(1, 2)),
        (4, 9, Pattern(1, 3)),
        (5, 8, Pattern(3, 5)),
    ],
)
def test_the_search_finds_the_best_of_all_orders(
    filters: int, inputs: int, pattern: Pattern, seed: int
) -> None:
    values = np.random.default_rng([seed, inputs]).normal(size=(filters, inputs)).astype(np.float32)
    order = find_order(
        values, pattern, TemperatureSchedule(moves_per_weight=20), np.random.SeedSequence(seed)
    )
    kept = np.abs(values)[oracle.nm_kept(values, order.tolist(), *pattern)].sum()
    assert kept == pytest.approx(oracle.best_nm_magnitude(values, *pattern), rel=1e-4)


def test_the_matrix_of_apex_is_ordered_better_than_they_report() -> None:
    # contrib/sparsity/permutation_tests/README.md: 36.6 % is the most of all their strategies
    values = np.random.RandomState(1).rand(128, 64)
    assert values.sum() == pytest.approx(4083.169, abs=1e-3)
    own = np.arange(64)
    assert values[oracle.nm_kept(values, own.tolist(), 2, 4)].sum() == pytest.approx(2852.376, abs=2e-3)
    assert oracle.nm_bound(values, 2, 4) == pytest.approx(3042.332, abs=1e-3)
    order = find_order(values, TWO_OF_FOUR, TemperatureSchedule(), np.random.SeedSequence(0))
    assert efficacy(values, own, TWO_OF_FOUR) == 0.0
    assert efficacy(values, order, TWO_OF_FOUR) > 0.38


def test_pruned_inputs_make_room_for_all_that_is_left() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(16, 32)).astype(np.float32)
    values[:, :16] = 0  # in their own order half of the rest would go
    packing = packed_layer(LayerMatrix(values), "nm", ArrayShape(8, 8), fan_in=4)
    assert len(packing.slots()[0]) == np.count_nonzero(values)
    assert (
        efficacy(values, find_order(values, TWO_OF_FOUR, QUICK, np.random.SeedSequence(0)), TWO_OF_FOUR)
        == 1.0
    )


def test_the_seed_decides_the_order() -> None:
    values = np.random.default_rng(3).random((20, 24))
    one, again, other = (
        find_order(values, TWO_OF_FOUR, QUICK, np.random.SeedSequence(seed)).tolist() for seed in (1, 1, 2)
    )
    assert one == again != other


def test_groups_of_one_layer_have_seeds_of_their_own() -> None:
    block = np.random.default_rng(3).random((20, 24)).astype(np.float32)
    one, two = orders_of(LayerMatrix(np.concatenate([block, block]), 2), TWO_OF_FOUR)
    assert one != two


@pytest.mark.parametrize(
    "schedule",
    [
        TemperatureSchedule(moves_per_weight=0),
        TemperatureSchedule(steps=1, moves_per_weight=10),
        TemperatureSchedule(steps=100_000),
    ],
)
def test_extreme_schedules_are_permitted(schedule: TemperatureSchedule) -> None:
    values = np.random.default_rng(3).random((3, 5))
    order = find_order(values, TWO_OF_FOUR, schedule, np.random.SeedSequence(1))
    assert sorted(order.tolist()) == list(range(5))
    if not schedule.moves_per_weight:
        assert order.tolist() == list(range(5))


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_every_float_type_is_ordered(dtype: str) -> None:
    values = (np.random.default_rng(1).normal(size=(9, 12)) * 1e-6).astype(dtype)
    order = find_order(values, TWO_OF_FOUR, QUICK, np.random.SeedSequence(1))
    assert sorted(order.tolist()) == list(range(12))


def test_a_search_that_is_cut_short_gives_the_best_so_far() -> None:
    values = np.random.default_rng(0).random((40, 64)).astype(np.float32)
    long = TemperatureSchedule(moves_per_weight=1_000_000)
    begun = time.monotonic()
    interrupted, late = (
        PackingCase(
            ArrayShape(8, 8), 4, schedule=long, context=SearchContext(time=TimeShare(Deadline(limit)))
        )
        for limit in (np.inf, 1.0)
    )
    interrupted.context.time.deadline.interrupt()
    own, found = (case.pack(LayerMatrix(values), "nm").slots() for case in (interrupted, late))
    assert time.monotonic() - begun < 60
    magnitudes = [sum(values[f, k] for f, k in zip(*slots, strict=True)) for slots in (own, found)]
    assert magnitudes[0] == pytest.approx(values[oracle.nm_kept(values, list(range(64)), 2, 4)].sum())
    assert magnitudes[1] > magnitudes[0]


def test_progress_is_reported_up_to_the_end() -> None:
    reports: list[tuple[float, dict[str, str]]] = []
    context = SearchContext(progress=lambda _layer, done, figures: reports.append((done, dict(figures))))
    case = PackingCase(ArrayShape(8, 8), 4, context=context)
    case.pack(LayerMatrix(np.random.default_rng(0).random((120, 12)).astype(np.float32), 3), "nm")
    shares = [done for done, _ in reports]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(0.99)
    assert all(figures["efficacy"].endswith("%") for _, figures in reports)


def test_a_group_beyond_the_fan_in_is_refused_with_the_remedy() -> None:
    with pytest.raises(OptionError) as refused:
        packed_layer(LayerMatrix(np.ones((2, 2), np.float32)), "nm", fan_in=3)
    assert refused.value.sentence == "expected a fan-in of 4 or more for pattern 2:4, got 3"
    assert refused.value.remedy == "raise the fan-in to 4"


@pytest.mark.parametrize("text", ["2:4", " 1:2 ", "15:16"])
def test_a_pattern_is_read_and_written(text: str) -> None:
    assert str(Pattern.parse(text)) == text.strip()


@pytest.mark.parametrize(
    "text", ["", "2", "4:2", "2:2", "0:4", "2:17", "2:4:8", "a:b", "-1:4", "2.0:4", "٢:٤x", None]
)
def test_an_invalid_pattern_is_refused(text: object) -> None:
    with pytest.raises(OptionError, match="give two integers N:M"):
        Pattern.parse(text)


@pytest.mark.parametrize("inputs", [64, 65, 130])
def test_every_input_is_offered(inputs: int) -> None:
    hot = np.full(channel_permutation.LIMITS, -(2**30), np.int32)
    groups = nm._groups_of(np.random.default_rng(0).random((3, inputs)), Pattern(1, 2))
    offered = set()
    state = np.uint64(9)
    for _ in range(25):
        before = groups.group_of.copy()
        state = channel_permutation._swap_channels(
            groups, groups.members.copy(), hot, inputs=inputs, draws=2, rng=np.uint64(state)
        )
        offered |= set(np.flatnonzero(groups.group_of != before).tolist())
    assert len(offered) > 0.9 * inputs


def test_the_same_settings_give_the_same_packing_again() -> None:
    matrix = LayerMatrix(np.random.default_rng(0).random((12, 12)).astype(np.float32), 3)
    case = PackingCase(fan_in=4)
    own = case.settings
    one, two = (nm.pack(matrix, case.problem(matrix), settings=own, context=case.context) for _ in range(2))
    assert [tile.inputs.tolist() for tile in one.tiles] == [tile.inputs.tolist() for tile in two.tiles]


@given(st.integers(0, 40), PATTERNS)
def test_a_filter_keeps_as_much_as_its_groups_hold(inputs: int, pattern: Pattern) -> None:
    groups = [range(inputs)[i : i + pattern.group] for i in range(0, inputs, pattern.group)]
    assert nm._kept_of(inputs, pattern) == sum(min(pattern.kept, len(group)) for group in groups)


@pytest.mark.parametrize(
    ("rows", "lanes"), [(2, [2, 2, 2, 2]), (3, [2, 2, 2, 2]), (4, [4, 4]), (6, [6, 2]), (8, [8]), (16, [8])]
)
def test_groups_fill_a_tile_to_its_last_lane(rows: int, lanes: list[int]) -> None:
    full = LayerMatrix(np.arange(1, 49, dtype=np.float32).reshape(3, 16))
    packing = packed_layer(
        full, "nm", ArrayShape(rows, 3), fan_in=4, lossy=LossySettings(pattern=TWO_OF_FOUR)
    )
    # two lanes for each of four groups, and those of a group lie together
    assert [tile.lanes for tile in packing.tiles] == lanes
