"""Which weights a pruning keeps; nothing imported from tightc."""

from __future__ import annotations

from itertools import product


def smallest_zeroed(magnitudes: list[float], count: int) -> set[int]:
    """Which `count` weights magnitude pruning zeroes: repeatedly the smallest that is left, the earliest of equals."""
    left = dict(enumerate(magnitudes))
    gone = set()
    for _ in range(count):
        least = min(left, key=lambda i: (left[i], i))
        gone.add(least)
        del left[least]
    return gone


def largest_kept(worths: list[float], count: int) -> list[bool]:
    """The `count` largest; of equal ones the later."""
    order = sorted(range(len(worths)), key=lambda place: (worths[place], place))
    stay = set(order[max(0, len(worths) - max(0, count)) :])
    return [place in stay for place in range(len(worths))]


def largest_with_floors(layers: list[list[float]], count: int, floors: list[int]) -> list[list[bool]]:
    """Of each layer its floor, and of all that is left the largest, until `count` are kept."""
    kept = [largest_kept(worths, floor) for worths, floor in zip(layers, floors, strict=True)]
    rest = sorted(
        (worth, number, place)
        for number, worths in enumerate(layers)
        for place, worth in enumerate(worths)
        if not kept[number][place]
    )
    while rest and sum(map(sum, kept)) < count:
        _, number, place = rest.pop()
        kept[number][place] = True
    return kept


def parts(worths: list[float], rows: int) -> list[list[int]]:
    """A filter's weights by number, those worth most first, of equal ones the first, `rows` to a part."""
    order = sorted(range(len(worths)), key=lambda place: (-worths[place], place))
    return [order[begin : begin + rows] for begin in range(0, len(order), rows)]


def most_worth(units: list[list[float]], costs: list[float], budget: float, floors: list[int]) -> float:
    """The most that `budget` buys, by trying everything: of each layer its floor, then as many units as it takes."""
    best = -1.0
    for taken in product(
        *(range(floor, len(worths) + 1) for worths, floor in zip(units, floors, strict=True))
    ):
        price = sum(count * cost for count, cost in zip(taken, costs, strict=True))
        if price <= budget or list(taken) == floors:
            best = max(best, sum(sum(worths[:count]) for worths, count in zip(units, taken, strict=True)))
    return best


def most_relaxed_worth(
    units: list[list[float]], costs: list[float], budget: float, floors: list[int]
) -> float:
    """The same where the last unit may be cut: no choice of whole units is worth more."""
    worth = sum(sum(worths[:floor]) for worths, floor in zip(units, floors, strict=True))
    left = budget - sum(cost * floor for cost, floor in zip(costs, floors, strict=True))
    others = sorted(
        (
            (unit / cost, cost)
            for worths, cost, floor in zip(units, costs, floors, strict=True)
            for unit in worths[floor:]
        ),
        reverse=True,
    )
    for density, cost in others:
        piece = min(cost, max(0.0, left))
        worth += density * piece
        left -= piece
    return worth


def bought_one_by_one(
    units: list[list[float]], costs: list[float], budget: float, floors: list[int]
) -> list[int]:
    """The floors, then again and again the unit that fits and is worth most for its cost; of equal ones the first."""
    taken = list(floors)
    while True:
        left = budget - sum(cost * count for cost, count in zip(costs, taken, strict=True))
        fitting = [
            number for number, one in enumerate(units) if taken[number] < len(one) and costs[number] <= left
        ]
        if not fitting:
            return taken
        taken[max(fitting, key=lambda number: (units[number][taken[number]] / costs[number], -number))] += 1


def regrown(worths: list[float], kept: list[bool], pulls: list[float], share: float) -> list[bool]:
    """One filter after `share` of its weights, the least, gave their places to the zeros that are pulled at most."""
    going = sorted(
        (place for place, stays in enumerate(kept) if stays), key=lambda place: (worths[place], place)
    )
    coming = sorted(
        (place for place, stays in enumerate(kept) if not stays and pulls[place] > 0),
        key=lambda place: (-pulls[place], place),
    )
    count = min(int(share * len(going)), len(coming))
    found = list(kept)
    for old, new in zip(going[:count], coming[:count], strict=True):
        found[old], found[new] = False, True
    return found
