"""Which weights pruning keeps; nothing imported from tightc."""

from __future__ import annotations

from itertools import pairwise, product


def smallest_zeroed(magnitudes: list[float], count: int) -> set[int]:
    """Which `count` weights magnitude pruning zeroes: repeatedly the smallest one left, ties to the earliest."""
    left = dict(enumerate(magnitudes))
    removed = set()
    for _ in range(count):
        least = min(left, key=lambda i: (left[i], i))
        removed.add(least)
        del left[least]
    return removed


def largest_faults(
    layers: list[list[list[float]]], kept: list[list[list[bool]]], count: int, minimums: list[int]
) -> list[str]:
    """What is wrong if `kept` marks the `count` largest saliencies of all layers, but the minimum of each.

    Filters are lists. Equals at the threshold may be any of them, but every filter keeps its share, to within one.
    """
    faults = []
    pairs = [
        [
            (value, stays)
            for row, marks in zip(*both, strict=True)
            for value, stays in zip(row, marks, strict=True)
        ]
        for both in zip(layers, kept, strict=True)
    ]
    inside = [sorted((value for value, stays in layer if stays), reverse=True) for layer in pairs]
    outside = [value for layer in pairs for value, stays in layer if not stays]
    if sum(map(len, inside)) != min(max(count, sum(minimums)), sum(map(len, pairs))):
        faults.append("another count")
    for layer, values, minimum in zip(pairs, inside, minimums, strict=True):
        if values != sorted((value for value, _ in layer), reverse=True)[: len(values)]:
            faults.append("not the largest of its layer")
        if len(values) < minimum:
            faults.append("below the minimum")
        if len(values) > minimum and outside and values[-1] < max(outside):
            faults.append("kept instead of a larger one of another layer")
    return faults if faults or any(minimums) else _tie_faults(layers, kept)


def _tie_faults(layers: list[list[list[float]]], kept: list[list[list[bool]]]) -> list[str]:
    values = [
        value
        for layer, masks in zip(layers, kept, strict=True)
        for row, marks in zip(layer, masks, strict=True)
        for value, stays in zip(row, marks, strict=True)
        if stays
    ]
    if not values:
        return []
    threshold = min(values)
    shares = [
        (
            sum(value == threshold for value in row),
            sum(value == threshold and stays for value, stays in zip(row, marks, strict=True)),
        )
        for layer, masks in zip(layers, kept, strict=True)
        for row, marks in zip(layer, masks, strict=True)
    ]
    fraction = sum(stays for _, stays in shares) / sum(equal for equal, _ in shares)
    return [f"{stays} of {equal} equals" for equal, stays in shares if abs(stays - fraction * equal) >= 1]


def segments(saliencies: list[float], rows: int, first: int = 0) -> list[list[int]]:
    """A filter's weights by number, the most salient first, `rows` to a segment; ties from input `first` on."""
    inputs = len(saliencies)
    order = sorted(range(inputs), key=lambda place: (-saliencies[place], (place - first) % inputs))
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


Points = list[tuple[float, float]]


def points(units: list[float], costs: list[float]) -> Points:
    """(cost, saliency) of 1, 2, ... units of a layer."""
    return [(sum(costs[:count]), sum(units[:count])) for count in range(1, len(units) + 1)]


def most_saliency_of_points(layers: list[Points], budget: float) -> float:
    """The most saliency of one point of each layer that `budget` buys, by trying all."""
    return max(
        sum(saliency for _, saliency in taken)
        for taken in product(*layers)
        if sum(cost for cost, _ in taken) <= budget
    )


def largest_step(places: Points) -> float:
    """The most saliency between neighbours on the upper hull of the points of a layer.

    A point is on the hull if no line between two others, one cheaper and one dearer, passes above it, and if no point
    that costs no more has more.
    """
    hull = [
        (cost, value)
        for cost, value in sorted(set(places))
        if not any(more >= value and less <= cost and (less, more) != (cost, value) for less, more in places)
        and not any(
            before[1] + (behind[1] - before[1]) * (cost - before[0]) / (behind[0] - before[0]) > value + 1e-9
            for before in places
            for behind in places
            if before[0] < cost < behind[0]
        )
    ]
    return max((behind[1] - before[1] for before, behind in pairwise(hull)), default=0.0)


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
