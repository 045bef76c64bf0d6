"""Plans with replicated small tiles, and narrow plans: room for all weights, as fast as they say, nearly the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import islice, product
from math import ceil, inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plan import filter_set_of, plan_faults, read_of

import oracle
from helpers.packings import arrays, matrices
from tightc.permutation.methods.tight.plan import Plan, narrow_plan
from tightc.permutation.methods.tight.replicate import Kind, _columns, replicated_plans
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix

VECTORS = st.sampled_from([1, 2, 3, 9, 50, 400])


def tile_cycles(array: ArrayShape, vectors: int, lanes: int, columns: int) -> int:
    """Load the rows, stream the part of the vectors that the busiest copy has, empty the array."""
    copies = 0
    while (copies + 1) * lanes <= array.rows and (copies + 1) * columns <= array.columns:
        copies += 1
    return array.rows + ceil(vectors / min(vectors, copies)) + array.rows + array.columns - 2


def widths_of(plan: Plan) -> list[int]:
    """Columns of each tile."""
    found = Counter(plan.tiles.tolist())
    return [found[tile] for tile in range(len(plan.heights))]


def cycles_of(plan: Plan, array: ArrayShape, vectors: int) -> int:
    sizes = zip(plan.heights.tolist(), widths_of(plan), strict=True)
    return sum(tile_cycles(array, vectors, lanes, columns) for lanes, columns in sizes)


def full_cycles(matrix: LayerMatrix, array: ArrayShape, vectors: int) -> int:
    """Those of the fewest tiles, each alone on the array."""
    return oracle.lower_bound(matrix.values, tuple(array)) * array.pass_cycles(vectors)


# --- what every plan has to be


@settings(max_examples=200)
@given(matrices(), arrays(10), VECTORS, st.sampled_from([0, 0.7, 1, 3]))
def test_plans_have_columns_for_all_weights_in_fewer_cycles_than_the_limit(
    matrix: LayerMatrix, array: ArrayShape, vectors: int, share: float
) -> None:
    if not matrix.values.any():
        return
    below = ceil(share * full_cycles(matrix, array, vectors))
    for plan in islice(replicated_plans(filter_set_of(matrix), array, vectors, below), 20):
        assert plan_faults(plan, matrix, array, len(plan.heights)) == []
        assert cycles_of(plan, array, vectors) < below


@settings(max_examples=150)
@given(matrices(), arrays(10), VECTORS)
def test_a_plan_has_full_tiles_and_two_kinds_that_stand_on_the_array_more_than_once(
    matrix: LayerMatrix, array: ArrayShape, vectors: int
) -> None:
    if not matrix.values.any():
        return
    bound = oracle.lower_bound(matrix.values, tuple(array))
    for plan in islice(replicated_plans(filter_set_of(matrix), array, vectors, 2**40), 20):
        sizes = list(zip(plan.heights.tolist(), widths_of(plan), strict=True))
        small = [size for size in sizes if 2 * size[0] <= array.rows and 2 * size[1] <= array.columns]
        assert len(small) <= 3 + 2
        assert len(sizes) - len(small) <= bound
        # one height for each kind
        assert len({lanes for lanes, _ in small}) <= 2


@settings(max_examples=60)
@given(matrices(), arrays(10), VECTORS)
def test_the_same_plans_come_again(matrix: LayerMatrix, array: ArrayShape, vectors: int) -> None:
    if not matrix.values.any():
        return
    one, two = (
        list(islice(replicated_plans(filter_set_of(matrix), array, vectors, 2**40), 5)) for _ in range(2)
    )
    assert [[part.tolist() for part in vars(plan).values()] for plan in one] == [
        [part.tolist() for part in vars(plan).values()] for plan in two
    ]


# --- where there is none


def ones(filters: int, inputs: int) -> LayerMatrix:
    return LayerMatrix(np.ones((filters, inputs), np.float32))


@pytest.mark.parametrize("array", [(1, 9), (9, 1), (1, 1)])
def test_an_array_of_one_row_or_column_has_no_room_for_two_copies(array: tuple[int, int]) -> None:
    assert list(replicated_plans(filter_set_of(ones(1, 1)), ArrayShape(*array), 100, 2**40)) == []


def test_a_layer_without_weights_needs_no_plan() -> None:
    filters = filter_set_of(LayerMatrix(np.zeros((3, 4), np.float32)))
    plans = list(replicated_plans(filters, ArrayShape(4, 4), 9, 2**40))
    assert all(len(plan.tiles) == len(plan.heights) == 0 for plan in plans)


def test_no_plan_is_below_no_cycles() -> None:
    assert list(replicated_plans(filter_set_of(ones(2, 2)), ArrayShape(8, 8), 9, 0)) == []


def test_what_fills_the_array_to_the_last_slot_gains_nothing() -> None:
    array = ArrayShape(4, 4)
    assert (
        list(replicated_plans(filter_set_of(ones(12, 8)), array, 50, full_cycles(ones(12, 8), array, 50)))
        == []
    )


@pytest.mark.parametrize(
    ("vectors", "below", "found"), [(9, 14 + 3, 0), (9, 14 + 4, 1), (1, 15, 0), (2, 16, 1)]
)
def test_a_single_filter_by_hand(vectors: int, below: int, found: int) -> None:
    """Two weights on 5x6: 14 cycles to load and empty it, and a lane of two columns stands there three times."""
    plans = list(replicated_plans(filter_set_of(ones(1, 2)), ArrayShape(5, 6), vectors, below))
    assert bool(plans) == bool(found)
    assert all(cycles_of(plan, ArrayShape(5, 6), vectors) == below - 1 for plan in plans)


# --- how good they are


def random_layer(rng: np.random.Generator, filters: int, inputs: int) -> LayerMatrix:
    values = rng.random((int(rng.integers(1, filters)), int(rng.integers(1, inputs)))) < rng.choice(
        [0.2, 0.5, 0.9]
    )
    values[0, 0] = True
    return LayerMatrix(values.astype(np.float32))


def mixes(sizes: tuple[int, ...], array: ArrayShape) -> Iterator[list[tuple[int, int]]]:
    """(copies, tiles) of each kind: full tiles, one to three small ones, up to two still smaller ones."""
    full = ceil(sum(ceil(size / array.rows) for size in sizes) / array.columns)
    most = min(8, array.rows, array.columns)
    for count, copies, tiles in product(range(full + 1), range(2, most + 1), range(1, 4)):
        begun = [(1, count), (copies, tiles)] if count else [(copies, tiles)]
        yield begun
        for smaller, fewer in product(range(copies + 1, most + 1), range(1, 3)):
            yield [*begun, (smaller, fewer)]


def fits(sizes: tuple[int, ...], heights: list[int], columns: list[int]) -> bool:
    """Whether there are columns for all filters, by trying every way to share them out."""

    @cache
    def rest(at: int, left: tuple[int, ...]) -> bool:
        if at == len(sizes):
            return True
        variants = product(*(range(count + 1) for count in left))
        return any(
            rest(at + 1, tuple(a - b for a, b in zip(left, variant, strict=True)))
            for variant in variants
            if sum(n * h for n, h in zip(variant, heights, strict=True)) >= sizes[at]
        )

    return rest(0, tuple(columns))


def least_cycles(matrix: LayerMatrix, array: ArrayShape, vectors: int, below: int) -> float:
    """Of every mix of tiles in which the filters fit, the cycles of the fastest; inf where none is below the limit."""
    sizes = tuple(len(read) for read in read_of(matrix).values())
    best: float = inf
    for mix in mixes(sizes, array):
        kinds = [(array.rows // copies, array.columns // copies) for copies, _ in mix]
        cycles = sum(
            tiles * tile_cycles(array, vectors, *kind) for kind, (_, tiles) in zip(kinds, mix, strict=True)
        )
        heights = [lanes for lanes, _ in kinds]
        columns = [tiles * kind[1] for kind, (_, tiles) in zip(kinds, mix, strict=True)]
        if cycles < min(best, below) and fits(sizes, heights, columns):
            best = cycles
    return best


def test_the_fastest_plan_is_nearly_always_as_fast_as_the_fastest_mix_in_which_the_filters_fit() -> None:
    rng = np.random.default_rng(4)
    slower, some = [], 0
    for _ in range(200):
        matrix = random_layer(rng, 5, 9)
        array = ArrayShape(int(rng.integers(2, 8)), int(rng.integers(2, 8)))
        vectors = int(rng.choice([2, 9, 50, 400]))
        below = full_cycles(matrix, array, vectors)
        least = least_cycles(matrix, array, vectors, below)
        plan = next(replicated_plans(filter_set_of(matrix), array, vectors, below), None)
        found = below if plan is None else cycles_of(plan, array, vectors)
        if least == inf:
            assert plan is None or found < below
            continue
        some += 1
        if found > least:
            slower.append(found / least)
    assert some > 60
    assert len(slower) <= 0.05 * some
    assert max(slower, default=1) < 1.4


def test_the_fastest_of_all_plans_is_among_the_three_that_the_search_tries() -> None:
    rng = np.random.default_rng(5)
    some = 0
    for _ in range(120):
        matrix = random_layer(rng, 20, 60)
        array = ArrayShape(int(rng.integers(2, 33)), int(rng.integers(2, 33)))
        vectors = int(rng.choice([2, 9, 50, 400, 1024]))
        plans = list(
            replicated_plans(filter_set_of(matrix), array, vectors, full_cycles(matrix, array, vectors))
        )
        cycles = [cycles_of(plan, array, vectors) for plan in plans]
        if cycles:
            some += 1
            assert min(cycles[:3]) == min(cycles)
    assert some > 30


def test_filters_that_fill_the_larger_kind_go_on_to_the_smaller_one() -> None:
    matrix, array = LayerMatrix(np.eye(3, dtype=np.float32)), ArrayShape(3, 5)
    below = full_cycles(matrix, array, 400)
    # a tile of 1 x 2 stands there twice, one of 1 x 1 three times: 9 + 200 and 9 + 134 cycles, not 9 + 400
    assert least_cycles(matrix, array, 400, below) == 209 + 143
    assert next(replicated_plans(filter_set_of(matrix), array, 400, below), None) is not None


# --- narrow plans


@settings(max_examples=200)
@given(matrices(), arrays(), st.integers(0, 4))
def test_narrow_plans_have_as_few_columns_as_can_be_in_tiles_as_low_as_that_allows(
    matrix: LayerMatrix, array: ArrayShape, more: int
) -> None:
    if not matrix.values.any():
        return
    passes = oracle.lower_bound(matrix.values, tuple(array)) + more
    plan = narrow_plan(filter_set_of(matrix), array, passes)
    assert plan_faults(plan, matrix, array, passes) == []
    columns = Counter(plan.filters.tolist())
    sizes = {f: len(read) for f, read in read_of(matrix).items()}
    assert columns == {f: ceil(size / array.rows) for f, size in sizes.items()}
    lowest = [0] * len(plan.heights)
    for tile, f in zip(plan.tiles.tolist(), plan.filters.tolist(), strict=True):
        lowest[tile] = max(lowest[tile], ceil(sizes[f] / columns[f]))
    assert plan.heights.tolist() == lowest


@pytest.mark.kernel
def test_a_narrow_plan_by_hand() -> None:
    values = np.zeros((4, 7), np.float32)
    for f, size in enumerate([2, 7, 1, 3]):
        values[f, :size] = 1
    plan = narrow_plan(filter_set_of(LayerMatrix(values)), ArrayShape(4, 3), 2)
    # 7 weights take two columns of 4 lanes; the largest first: filter 1 in both tiles, 3 beside it, then 0, 2
    cells = list(zip(plan.tiles.tolist(), plan.filters.tolist(), strict=True))
    assert Counter(f for _, f in cells) == {1: 2, 3: 1, 0: 1, 2: 1}
    assert [f for _, f in cells].count(1) == 2 and {tile for tile, f in cells if f == 1} == {0, 1}
    assert plan.heights.tolist() == [4, 4]


@pytest.mark.parametrize(
    ("sizes", "columns", "expected"),
    [
        ([8, 8, 8], 6, [2, 2, 2]),
        ([8, 8, 8], 5, [1, 2, 2]),  # the first of the largest gives one up
        ([8, 8, 8], 4, [1, 1, 2]),
        ([8, 8, 8], 3, [1, 1, 1]),
        ([8, 8, 3], 6, [2, 2, 1]),  # a spare column saves two of the next kind
        ([8, 8, 0], 6, [2, 2, 0]),
        ([9, 7, 5], 5, [2, 2, 1]),
    ],
)
def test_columns_of_a_kind_by_hand(sizes: list[int], columns: int, expected: list[int]) -> None:
    found = _columns(np.array(sizes, np.int64), Kind(1, 4, columns), 2)
    assert found.tolist() == expected
