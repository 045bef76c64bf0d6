"""What select keeps of several layers, recounted from the masks alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle
from tightc.errors import OptionError
from tightc.pruning.options import PruneOptions
from tightc.selection.select import Candidates, select
from tightc.tile.segment_costs import SegmentCosts


@dataclass(frozen=True)
class Knapsack:
    """Saliency of each layer's units, the cost of one unit of each layer, and its minimum number of units."""

    units: list[list[float]]
    costs: list[float]
    minimums: list[int]


@dataclass(frozen=True)
class Unit:
    """A unit of `size` segments of `rows` weights."""

    rows: int
    size: int


FRACTIONS = st.sampled_from([0.05, 0.1, 0.25, 1 / 3, 0.5, 0.9, 1 - 0.9, 0.999])


@st.composite
def networks(draw: st.DrawFn, least: int = 0) -> list[Candidates]:
    """One to three layers of small saliencies, many of them equal; of none below the `least` one."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        groups = draw(st.integers(1, 2))
        filters, inputs = groups * draw(st.integers(1, 4)), draw(st.integers(1, 9))
        saliencies = draw(
            st.lists(st.integers(least, 5), min_size=filters * inputs, max_size=filters * inputs)
        )
        matrix = np.array(saliencies, np.float64).reshape(filters, inputs)
        found.append(Candidates(matrix, groups))
    return found


def units_of(layer: Candidates, rows: int, size: int) -> list[float]:
    """Saliency of the layer's units of `size` segments, the most salient first."""
    segments = [
        sum(saliencies[place] for place in segment)
        for saliencies in layer.saliency.tolist()
        for segment in oracle.segments(saliencies, rows)
    ]
    segments.sort(reverse=True)
    return [sum(segments[begin : begin + size]) for begin in range(0, len(segments), size)]


def bought(kept: np.ndarray, rows: int, size: int) -> int:
    """How many units of `size` segments the kept weights of a layer need."""
    return ceil(sum(ceil(count / rows) for count in kept.sum(axis=1).tolist()) / size)


def kept_saliency(layers: list[Candidates], kept: list[np.ndarray]) -> float:
    return sum(float(layer.saliency[mask].sum()) for layer, mask in zip(layers, kept, strict=True))


@given(networks(), FRACTIONS, st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from(["global", "layer"]))
def test_single_weights_are_the_largest_of_their_scope(
    layers: list[Candidates], fraction: float, min_density: float, scope: str
) -> None:
    options = PruneOptions.of({"sparsity": 1 - fraction, "min_density": min_density, "scope": scope})
    kept = select(layers, options, fraction)
    minimums = [max(1, round(min_density * fraction * layer.saliency.size)) for layer in layers]
    for scope_of in [[number] for number in range(len(layers))] if scope == "layer" else [range(len(layers))]:
        total = sum(layers[number].saliency.size for number in scope_of)
        faults = oracle.largest_faults(
            [layers[number].saliency.tolist() for number in scope_of],
            [kept[number].tolist() for number in scope_of],
            total - round((1 - fraction) * total),
            [minimums[number] for number in scope_of],
        )
        assert faults == []
    assert all(mask.any() for mask in kept)


@given(
    networks(least=1),  # zeros are in test_sparse_input.py
    FRACTIONS,
    st.integers(1, 6),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from(["global", "layer"]),
)
def test_aligned_filters_keep_their_most_salient_weights_in_full_segments(
    layers: list[Candidates], fraction: float, rows: int, min_density: float, scope: str
) -> None:
    options = PruneOptions.of(
        {"sparsity": 1 - fraction, "align": f"{rows}x2", "min_density": min_density, "scope": scope}
    )
    kept = select(layers, options, fraction)
    for layer, mask in zip(layers, kept, strict=True):
        for saliencies, row in zip(layer.saliency.tolist(), mask.tolist(), strict=True):
            count = sum(row)
            assert count % rows == 0 or count == len(row)
            best = sorted(saliencies, reverse=True)[:count]
            stay = [value for value, stays in zip(saliencies, row, strict=True) if stays]
            assert sorted(stay, reverse=True) == best
    scopes = [[number] for number in range(len(layers))] if scope == "layer" else [list(range(len(layers)))]
    for numbers in scopes:
        chosen = [layers[number] for number in numbers]
        units = [units_of(layer, rows, 1) for layer in chosen]
        costs = [float(min(rows, layer.saliency.shape[1])) for layer in chosen]
        minimums = [max(1, round(min_density * fraction * len(one))) for one in units]
        check_budget(
            chosen,
            [kept[number] for number in numbers],
            Knapsack(units, costs, minimums),
            fraction,
            Unit(rows, 1),
        )


def check_budget(
    layers: list[Candidates],
    kept: list[np.ndarray],
    knapsack: Knapsack,
    fraction: float,
    unit: Unit,
    dense: float | None = None,
) -> None:
    """The fraction is not exceeded, unless by minimums alone, and at most one unit of saliency is missed."""
    units, costs, minimums = knapsack.units, knapsack.costs, knapsack.minimums
    dense = float(sum(layer.saliency.size for layer in layers)) if dense is None else dense
    budget = fraction * dense * (1 + 1e-9)
    taken = [bought(mask, unit.rows, unit.size) for mask in kept]
    spent = sum(cost * count for cost, count in zip(costs, taken, strict=True))
    assert spent <= budget or taken == minimums
    assert all(count >= minimum for count, minimum in zip(taken, minimums, strict=True))
    most = oracle.most_relaxed_saliency(units, costs, budget, minimums)
    largest = max(
        (one[minimum] for one, minimum in zip(units, minimums, strict=True) if minimum < len(one)),
        default=0.0,
    )
    assert most - largest - 1e-9 <= kept_saliency(layers, kept) <= most + 1e-9


@given(networks(), st.sampled_from([1.2, 1.5, 2, 3, 7]), st.integers(1, 5), st.integers(1, 3))
def test_an_area_budget_is_met_or_refused_with_a_reachable_one(
    layers: list[Candidates], factor: float, rows: int, columns: int
) -> None:
    options = PruneOptions.of({"align": f"{rows}x{columns}", "budget": f"compression={factor}"})
    kept = or_reachable(layers, options)
    if kept is None:
        return
    fraction, masks = kept
    units = [units_of(layer, rows, 1) for layer in layers]
    costs = [float(min(rows, layer.saliency.shape[1])) for layer in layers]
    check_budget(layers, masks, Knapsack(units, costs, [1] * len(layers)), fraction, Unit(rows, 1))


@given(
    networks(),
    st.lists(st.integers(1, 60), min_size=3, max_size=3),
    st.sampled_from([1.2, 1.5, 2, 3, 7]),
    st.integers(1, 5),
    st.integers(1, 3),
)
def test_a_cycle_budget_is_met_in_full_tiles_or_refused_with_a_reachable_one(
    layers: list[Candidates], vectors: list[int], factor: float, rows: int, columns: int
) -> None:
    options = PruneOptions.of({"align": f"{rows}x{columns}", "budget": f"speedup={factor}"})
    costs = [float(2 * rows + columns - 2 + count) for _, count in zip(layers, vectors, strict=False)]
    passes = [
        oracle.dense_blocks(
            len(layer.saliency) // layer.groups, layer.saliency.shape[1], layer.groups, (rows, columns)
        )
        for layer in layers
    ]
    layers = [
        replace(layer, costs={rows: cost_in_tiles(layer, each, len(blocks) * each, (rows, columns))})
        for layer, each, blocks in zip(layers, costs, passes, strict=True)
    ]
    kept = or_reachable(layers, options)
    if kept is None:
        return
    fraction, masks = kept
    units = [units_of(layer, rows, columns) for layer in layers]
    dense = sum(cost * len(blocks) for cost, blocks in zip(costs, passes, strict=True))
    check_budget(
        layers, masks, Knapsack(units, costs, [1] * len(layers)), fraction, Unit(rows, columns), dense=dense
    )
    for layer, mask, unit in zip(layers, masks, units, strict=True):
        segments = sum(ceil(count / rows) for count in mask.sum(axis=1).tolist())
        all_segments = len(units_of(layer, rows, 1))
        assert segments in (bought(mask, rows, columns) * columns, all_segments), "a tile is not full"
        assert unit


def cost_in_tiles(layer: Candidates, each: float, dense: float, array: tuple[int, int]) -> SegmentCosts:
    """Every started tile of as many segments as the array has columns costs the same."""
    rows, columns = array
    segments = len(units_of(layer, rows, 1))
    return SegmentCosts(np.array([each * ceil(count / columns) for count in range(segments + 1)]), dense)


def or_reachable(layers: list[Candidates], options: PruneOptions) -> tuple[float, list[np.ndarray]] | None:
    """(fraction, kept), for the budget, or for the one that its error proposes; None if it proposes none."""
    try:
        return options.kept_fraction, select(layers, options, options.kept_fraction)
    except OptionError as fault:
        named = re.fullmatch(r"give at most ((compression|speedup)=[\d.]+)", fault.remedy)
        if named is None:
            assert fault.remedy == "give --sparsity instead, or a smaller array"
            return None
        again = PruneOptions.of({"align": str(options.align), "budget": named[1]})
        return again.kept_fraction, select(layers, again, again.kept_fraction)


@given(networks())
def test_a_fraction_of_one_keeps_everything(layers: list[Candidates]) -> None:
    for align in (None, "4x4"):
        kept = select(layers, PruneOptions.of({"sparsity": 0.0, "align": align}), 1.0)
        assert all(mask.all() for mask in kept)


@pytest.mark.parametrize("factor", [49, 98, 103])
def test_a_budget_of_exactly_one_tile_is_met(factor: int) -> None:
    """1 / 49 * 49 is less than 1."""
    layer = Candidates(np.ones((8 * factor, 8)))
    layers = [replace(layer, costs={8: cost_in_tiles(layer, 23.0, 23.0 * factor, (8, 8))})]
    options = PruneOptions.of({"align": "8x8", "budget": f"speedup={factor}"})
    (kept,) = select(layers, options, options.kept_fraction)
    assert kept.sum() == 64


def test_a_budget_below_one_segment_per_layer_is_refused_without_a_useless_remedy() -> None:
    options = PruneOptions.of({"align": "8x8", "budget": "compression=2"})
    with pytest.raises(OptionError) as fault:
        select([Candidates(np.ones((1, 8)))], options, options.kept_fraction)
    assert (fault.value.sentence, fault.value.remedy) == (
        "--budget: expected a compression of at most 1, where each layer keeps one segment or its minimum density, "
        "got compression=2",
        "give --sparsity instead, or a smaller array",
    )


def test_filled_costs_count_whole_passes_of_equal_cycles() -> None:
    cycles = np.array([0.0, 9, 9, 9, 18, 18])
    costs = SegmentCosts(np.array([0.0, 1, 2, 3, 7, 8]), 8.0)
    assert costs.filled(cycles).of_segments.tolist() == [0, 3, 3, 3, 8, 8]


@given(networks(), st.sampled_from([1.2, 1.5, 2, 3]), st.integers(1, 5), st.integers(1, 3))
def test_filled_passes_leave_no_slot_that_costs_no_cycle(
    layers: list[Candidates], factor: float, rows: int, columns: int
) -> None:
    """Slots count, but whole tiles of them."""
    filled = []
    for layer in layers:
        tiles = cost_in_tiles(layer, 1.0, 0.0, (rows, columns)).of_segments
        slots = min(rows, layer.saliency.shape[1]) * np.arange(len(tiles), dtype=np.float64)
        costs = SegmentCosts(slots, float(layer.saliency.size)).filled(tiles)
        filled.append(replace(layer, costs={rows: costs}))
    options = PruneOptions.of({"align": f"{rows}x{columns}", "budget": f"compression={factor}"})
    kept = or_reachable(filled, options)
    for layer, mask in zip(layers, kept[1] if kept else [], strict=False):
        segments = sum(ceil(count / rows) for count in mask.sum(axis=1).tolist())
        assert segments % columns == 0 or segments == len(units_of(layer, rows, 1))
