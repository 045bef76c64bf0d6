"""A choice for each layer, so that all together have the most saliency that a budget pays for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_HALVINGS = 60  # of the interval that the multiplier lies in


class Curve(NamedTuple):
    """What a layer may keep in one of several ways: the cost and the saliency of each choice, (choices,) float64."""

    costs: NDArray[np.float64]
    saliency: NDArray[np.float64]


class Choice(NamedTuple):
    """The number of the `curve` that a layer chooses from, the `place` of its choice there, and the `cost` of that."""

    curve: int
    place: int
    cost: float


def best_choices(layers: Sequence[Sequence[Curve]], budget: float) -> list[Choice]:
    """A choice for each layer, from one of its curves, so that all together cost at most `budget`.

    Every layer takes the choice of the most saliency less a multiple of its cost, with the least multiplier at which
    the budget pays for all choices (Everett, "Generalized Lagrange Multiplier Method", 1963). Just below it some layers
    would take more: in their order they do, as far as the budget goes. So the choices miss the optimum by less than one
    layer gains in such a step. Of equal ones it is the first. Where no multiplier is high enough, the cheapest choice
    of each layer decides. A choice of infinite cost is none.
    """
    high = max(float(curve.saliency.max()) for curves in layers for curve in curves) / budget
    low = 0.0
    for _ in range(_HALVINGS):
        if _spent(_best(layers, high)) <= budget:
            break
        low, high = high, 4 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _spent(_best(layers, middle)) <= budget:
            high = middle
        else:
            low = middle
    found = _best(layers, high)
    left = budget - _spent(found)
    for number, more in enumerate(_best(layers, low)):
        further = more.cost - found[number].cost
        if further <= left:
            found[number] = more
            left -= further
    return found


def with_rest_spent(
    layers: Sequence[Sequence[Curve]], choices: Sequence[Choice], budget: float
) -> list[Choice]:
    """`choices` with what is left of `budget` spent: in their order, layers take the most saliency that it pays for.

    A multiplier only finds choices on the upper hull of saliency over cost; others may fit in between. It ends when no
    layer alone can take more.
    """
    found: list[Choice] = []
    further = list(choices)
    while further != found:
        found, further = further, list(further)
        for number, curves in enumerate(layers):
            left = budget - _spent(further)
            further[number] = _most_for(curves, further[number], left)
    return found


def _most_for(curves: Sequence[Curve], own: Choice, left: float) -> Choice:
    """The choice of the most saliency for what the layer's `own` costs and what is `left`; its own if none has more."""
    best, found = float(curves[own.curve].saliency[own.place]), own
    for index, curve in enumerate(curves):
        affordable = np.where(curve.costs <= own.cost + left, curve.saliency, -np.inf)
        place = int(np.argmax(affordable))
        if affordable[place] > best:
            best, found = float(affordable[place]), Choice(index, place, float(curve.costs[place]))
    return found


def _best(layers: Sequence[Sequence[Curve]], multiplier: float) -> list[Choice]:
    """What each layer chooses if so many times the cost counts against the saliency."""
    found = []
    for curves in layers:
        gains = [
            np.where(np.isinf(curve.costs), -np.inf, curve.saliency) - multiplier * np.nan_to_num(curve.costs)
            for curve in curves
        ]
        best = max(range(len(curves)), key=lambda number: gains[number].max())
        place = int(np.argmax(gains[best]))
        found.append(Choice(best, place, float(curves[best].costs[place])))
    return found


def _spent(choices: Sequence[Choice]) -> float:
    return sum(choice.cost for choice in choices)
