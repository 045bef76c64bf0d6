"""Which weights pruning keeps; nothing imported from tightc."""

from __future__ import annotations

from itertools import product


def smallest_zeroed(magnitudes: list[float], count: int) -> set[int]:
    """Which `count` weights magnitude pruning zeroes: repeatedly the smallest one left, ties to the earliest."""
    left = dict(enumerate(magnitudes))
    removed = set()
    for _ in range(count):
        least = min(left, key=lambda i: (left[i], i))
        removed.add(least)
        del left[least]
    return removed


def largest_kept(saliencies: list[float], count: int) -> list[bool]:
    """The `count` largest; ties go to the later."""
    order = sorted(range(len(saliencies)), key=lambda place: (saliencies[place], place))
    stay = set(order[max(0, len(saliencies) - max(0, count)) :])
    return [place in stay for place in range(len(saliencies))]


def largest_with_minimums(layers: list[list[float]], count: int, minimums: list[int]) -> list[list[bool]]:
    """The minimum of each layer, then the largest of the others, until `count` are kept."""
    kept = [largest_kept(saliencies, minimum) for saliencies, minimum in zip(layers, minimums, strict=True)]
    rest = sorted(
        (value, number, place)
        for number, saliencies in enumerate(layers)
        for place, value in enumerate(saliencies)
        if not kept[number][place]
    )
    while rest and sum(map(sum, kept)) < count:
        _, number, place = rest.pop()
        kept[number][place] = True
    return kept


def segments(saliencies: list[float], rows: int) -> list[list[int]]:
    """A filter's weights by number, the most salient first, ties to the first, `rows` to a segment."""
    order = sorted(range(len(saliencies)), key=lambda place: (-saliencies[place], place))
    return [order[begin : begin + rows] for begin in range(0, len(order), rows)]


def most_saliency(units: list[list[float]], costs: list[float], budget: float, minimums: list[int]) -> float:
    """The most saliency that `budget` buys, by trying every number of units from each layer's minimum."""
    best = -1.0
    for taken in product(
        *(range(minimum, len(saliencies) + 1) for saliencies, minimum in zip(units, minimums, strict=True))
    ):
        spent = sum(count * cost for count, cost in zip(taken, costs, strict=True))
        if spent <= budget or list(taken) == minimums:
            best = max(
                best, sum(sum(saliencies[:count]) for saliencies, count in zip(units, taken, strict=True))
            )
    return best


def most_relaxed_saliency(
    units: list[list[float]], costs: list[float], budget: float, minimums: list[int]
) -> float:
    """The same if the last unit may be cut: an upper bound of any choice of whole units."""
    value = sum(sum(saliencies[:minimum]) for saliencies, minimum in zip(units, minimums, strict=True))
    left = budget - sum(cost * minimum for cost, minimum in zip(costs, minimums, strict=True))
    others = sorted(
        (
            (unit / cost, cost)
            for saliencies, cost, minimum in zip(units, costs, minimums, strict=True)
            for unit in saliencies[minimum:]
        ),
        reverse=True,
    )
    for density, cost in others:
        segment = min(cost, max(0.0, left))
        value += density * segment
        left -= segment
    return value


def greedy_units(
    units: list[list[float]], costs: list[float], budget: float, minimums: list[int]
) -> list[int]:
    """The minimums, then repeatedly the unit that fits with the most saliency per cost; ties go to the first."""
    taken = list(minimums)
    while True:
        left = budget - sum(cost * count for cost, count in zip(costs, taken, strict=True))
        fitting = [
            number for number, one in enumerate(units) if taken[number] < len(one) and costs[number] <= left
        ]
        if not fitting:
            return taken
        taken[max(fitting, key=lambda number: (units[number][taken[number]] / costs[number], -number))] += 1


def regrown(saliencies: list[float], kept: list[bool], gradients: list[float], fraction: float) -> list[bool]:
    """One filter after a `fraction` of its weights, the least salient, gave way to zeros with the largest gradients."""
    going = sorted(
        (place for place, stays in enumerate(kept) if stays), key=lambda place: (saliencies[place], place)
    )
    coming = sorted(
        (place for place, stays in enumerate(kept) if not stays and gradients[place] > 0),
        key=lambda place: (-gradients[place], place),
    )
    count = min(int(fraction * len(going)), len(coming))
    found = list(kept)
    for old, new in zip(going[:count], coming[:count], strict=True):
        found[old], found[new] = False, True
    return found
