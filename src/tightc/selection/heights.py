"""The height of each layer's tiles: of several the one whose segments buy the most saliency for a budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_HALVINGS = 60  # of the interval that the multiplier lies in


class Curve(NamedTuple):
    """What a layer may keep in tiles of one height: the cost and the saliency of each choice, (choices,) float64."""

    costs: NDArray[np.float64]
    saliency: NDArray[np.float64]


def best_heights(layers: Sequence[Sequence[Curve]], budget: float) -> list[int]:
    """Which of the curves of each layer to choose from, so that the choices of all cost at most `budget`.

    Every layer takes the choice of the most saliency less a multiple of its cost, with the least multiplier at which
    the budget pays for all choices (Everett, "Generalized Lagrange Multiplier Method", 1963). Just below it some layers
    would take more: in their order they do, as far as the budget goes. So the choices miss the optimum by less than one
    layer gains in such a step. Of equal curves it is the first. Where no multiplier is high enough, the cheapest choice
    of each layer decides.
    """
    if all(len(curves) == 1 for curves in layers):
        return [0] * len(layers)
    high = max(float(curve.saliency[-1]) for curves in layers for curve in curves) / budget
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
    return [choice.curve for choice in found]


class _Choice(NamedTuple):
    """The number of the `curve` that a layer chooses from, and the `cost` of what it takes."""

    curve: int
    cost: float


def _best(layers: Sequence[Sequence[Curve]], multiplier: float) -> list[_Choice]:
    """What each layer chooses if so many times the cost counts against the saliency."""
    found = []
    for curves in layers:
        gains = [curve.saliency - multiplier * curve.costs for curve in curves]
        best = max(range(len(curves)), key=lambda number: gains[number].max())
        found.append(_Choice(best, float(curves[best].costs[np.argmax(gains[best])])))
    return found


def _spent(choices: Sequence[_Choice]) -> float:
    return sum(choice.cost for choice in choices)
