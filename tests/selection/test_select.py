"""What is kept of several layers, counted anew from the masks alone."""

from __future__ import annotations

import re
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle
from tightc.errors import OptionError
from tightc.pruning.options import PruneOptions
from tightc.selection.select import Candidates, select

SHARES = st.sampled_from([0.05, 0.1, 0.25, 1 / 3, 0.5, 0.9, 1 - 0.9, 0.999])


@st.composite
def networks(draw: st.DrawFn) -> list[Candidates]:
    """One to three layers of small worths, many of them equal."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        groups = draw(st.integers(1, 2))
        filters, inputs = groups * draw(st.integers(1, 4)), draw(st.integers(1, 9))
        worths = draw(st.lists(st.integers(0, 5), min_size=filters * inputs, max_size=filters * inputs))
        matrix = np.array(worths, np.float64).reshape(filters, inputs)
        found.append(
            Candidates(matrix, groups, tuple(draw(st.lists(st.integers(1, 30), min_size=1, max_size=2))))
        )
    return found


def units_of(layer: Candidates, rows: int, size: int) -> list[float]:
    """What the layer's parts are worth, best first, `size` parts to a unit."""
    parts = [
        sum(worths[place] for place in part)
        for worths in layer.saliency.tolist()
        for part in oracle.parts(worths, rows)
    ]
    parts.sort(reverse=True)
    return [sum(parts[begin : begin + size]) for begin in range(0, len(parts), size)]


def bought(kept: np.ndarray, rows: int, size: int) -> int:
    """How many units of `size` parts the kept weights of a layer need."""
    return ceil(sum(ceil(count / rows) for count in kept.sum(axis=1).tolist()) / size)


def worth_of(layers: list[Candidates], kept: list[np.ndarray]) -> float:
    return sum(float(layer.saliency[mask].sum()) for layer, mask in zip(layers, kept, strict=True))


@given(networks(), SHARES, st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from(["global", "layer"]))
def test_single_weights_are_those_of_a_naive_search(
    layers: list[Candidates], share: float, floor: float, scope: str
) -> None:
    options = PruneOptions.of({"sparsity": 1 - share, "floor": floor, "scope": scope})
    kept = select(layers, options, share)
    lists = [layer.saliency.ravel().tolist() for layer in layers]
    floors = [max(1, round(floor * share * len(one))) for one in lists]
    for scope_of in [[number] for number in range(len(layers))] if scope == "layer" else [range(len(layers))]:
        chosen = [lists[number] for number in scope_of]
        total = sum(map(len, chosen))
        wanted = oracle.largest_with_floors(
            chosen, total - round((1 - share) * total), [floors[number] for number in scope_of]
        )
        assert [kept[number].ravel().tolist() for number in scope_of] == wanted
    assert all(mask.any() for mask in kept)


@given(
    networks(), SHARES, st.integers(1, 6), st.sampled_from([0.0, 0.5]), st.sampled_from(["global", "layer"])
)
def test_aligned_filters_keep_their_best_weights_in_whole_parts_within_the_share(
    layers: list[Candidates], share: float, rows: int, floor: float, scope: str
) -> None:
    options = PruneOptions.of({"sparsity": 1 - share, "align": f"{rows}x2", "floor": floor, "scope": scope})
    kept = select(layers, options, share)
    for layer, mask in zip(layers, kept, strict=True):
        for worths, row in zip(layer.saliency.tolist(), mask.tolist(), strict=True):
            count = sum(row)
            assert count % rows == 0 or count == len(row)
            best = [place for part in oracle.parts(worths, rows) for place in part][:count]
            assert {place for place, stays in enumerate(row) if stays} == set(best)
    scopes = [[number] for number in range(len(layers))] if scope == "layer" else [list(range(len(layers)))]
    for numbers in scopes:
        chosen = [layers[number] for number in numbers]
        units = [units_of(layer, rows, 1) for layer in chosen]
        costs = [float(min(rows, layer.saliency.shape[1])) for layer in chosen]
        floors = [max(1, round(floor * share * len(one))) for one in units]
        check_purchase(chosen, [kept[number] for number in numbers], (units, costs, floors), share, (rows, 1))


def check_purchase(
    layers: list[Candidates],
    kept: list[np.ndarray],
    purse: tuple[list[list[float]], list[float], list[int]],
    share: float,
    unit: tuple[int, int],
    dense: float | None = None,
) -> None:
    """No more than the share, unless floors alone ask for it; and within a unit of the most that it can buy."""
    units, costs, floors = purse
    dense = float(sum(layer.saliency.size for layer in layers)) if dense is None else dense
    budget = share * dense * (1 + 1e-9)
    taken = [bought(mask, *unit) for mask in kept]
    price = sum(cost * count for cost, count in zip(costs, taken, strict=True))
    assert price <= budget or taken == floors
    assert all(count >= floor for count, floor in zip(taken, floors, strict=True))
    most = oracle.most_relaxed_worth(units, costs, budget, floors)
    dearest = max(
        (one[floor] for one, floor in zip(units, floors, strict=True) if floor < len(one)), default=0.0
    )
    assert most - dearest - 1e-9 <= worth_of(layers, kept) <= most + 1e-9


@given(networks(), st.sampled_from([1.2, 1.5, 2, 3, 7]), st.integers(1, 5), st.integers(1, 3))
def test_an_area_is_met_or_refused_with_one_that_can_be(
    layers: list[Candidates], factor: float, rows: int, columns: int
) -> None:
    options = PruneOptions.of({"align": f"{rows}x{columns}", "budget": f"compression={factor}"})
    kept = or_next_best(layers, options)
    if kept is None:
        return
    share, masks = kept
    units = [units_of(layer, rows, 1) for layer in layers]
    costs = [float(min(rows, layer.saliency.shape[1])) for layer in layers]
    check_purchase(layers, masks, (units, costs, [1] * len(layers)), share, (rows, 1))


@given(networks(), st.sampled_from([1.2, 1.5, 2, 3, 7]), st.integers(1, 5), st.integers(1, 3))
def test_cycles_are_met_in_whole_tiles_or_refused_with_a_number_that_can_be(
    layers: list[Candidates], factor: float, rows: int, columns: int
) -> None:
    options = PruneOptions.of({"align": f"{rows}x{columns}", "budget": f"speedup={factor}"})
    kept = or_next_best(layers, options)
    if kept is None:
        return
    share, masks = kept
    units = [units_of(layer, rows, columns) for layer in layers]
    costs = [float(sum(2 * rows + columns - 2 + vectors for vectors in layer.vectors)) for layer in layers]
    passes = [
        oracle.dense_blocks(
            len(layer.saliency) // layer.groups, layer.saliency.shape[1], layer.groups, (rows, columns)
        )
        for layer in layers
    ]
    dense = sum(cost * len(blocks) for cost, blocks in zip(costs, passes, strict=True))
    check_purchase(layers, masks, (units, costs, [1] * len(layers)), share, (rows, columns), dense)
    for layer, mask, unit in zip(layers, masks, units, strict=True):
        parts = sum(ceil(count / rows) for count in mask.sum(axis=1).tolist())
        all_parts = len(units_of(layer, rows, 1))
        assert parts in (bought(mask, rows, columns) * columns, all_parts), "a tile is not full"
        assert unit


def or_next_best(layers: list[Candidates], options: PruneOptions) -> tuple[float, list[np.ndarray]] | None:
    """(share, kept), of the budget that a refusal names if there is one; None where it names none."""
    try:
        return options.share, select(layers, options, options.share)
    except OptionError as fault:
        named = re.fullmatch(r"give at most ((compression|speedup)=[\d.]+)", fault.remedy)
        if named is None:
            assert fault.remedy == "give --sparsity instead, or a smaller array"
            return None
        again = PruneOptions.of({"align": str(options.align), "budget": named[1]})
        return again.share, select(layers, again, again.share)


@given(networks())
def test_a_share_of_one_keeps_everything(layers: list[Candidates]) -> None:
    for align in (None, "4x4"):
        kept = select(layers, PruneOptions.of({"sparsity": 0.0, "align": align}), 1.0)
        assert all(mask.all() for mask in kept)


@pytest.mark.parametrize("factor", [49, 98, 103])
def test_a_budget_that_leaves_exactly_one_tile_is_met(factor: int) -> None:
    """1 / 49 * 49 is less than 1."""
    layers = [Candidates(np.ones((8 * factor, 8)))]
    options = PruneOptions.of({"align": "8x8", "budget": f"speedup={factor}"})
    (kept,) = select(layers, options, options.share)
    assert kept.sum() == 64


def test_a_budget_that_one_part_for_each_layer_uses_up_is_refused_without_a_useless_remedy() -> None:
    options = PruneOptions.of({"align": "8x8", "budget": "compression=2"})
    with pytest.raises(OptionError) as fault:
        select([Candidates(np.ones((1, 8)))], options, options.share)
    assert (fault.value.sentence, fault.value.remedy) == (
        "--budget compression=2: with one part for each layer, or its floor, compression is 1.00",
        "give --sparsity instead, or a smaller array",
    )
