"""Which weights of a layer go first, and what those that stay become: kernels, a filter at a time.

The error of a layer with weights w is (w - v) A (w - v)' for each filter, v the weights that fit its outputs best and A
the second moments of its inputs. Removing weight k alone, with all others adapted, raises it by v_k^2 / [A^-1]_kk
(LeCun et al., "Optimal Brain Damage" and Hassibi et al., "Optimal Brain Surgeon", 1990 and 1993).

- `removals` removes one weight after the other, each time the cheapest: ExactOBS, algorithm 1 of Frantar and Alistarh,
  "Optimal Brain Compression", NeurIPS 2022. It takes inputs^3 / 3 multiplications a filter.
- `first_losses` asks only what the first removal of each would cost, and `swept` then removes the chosen ones in the
  order of columns, adapting what comes after: Frantar and Alistarh, "SparseGPT", ICML 2023. Inputs^2 a filter.
- `fitted` gives the best weights for places that are chosen: least squares. What ExactOBS leaves is the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tightc.parallel import ordered_map, ranges
from tightc.pruning.obs.factor import _FAST, Matrix, _dot

Marks = NDArray[np.bool_]

_FILTERS = 4  # that a thread takes at a time where each is much work
_SWEPT = 16  # whose rows stay in the second-level cache together


def removals(weights: Matrix, inverse: Matrix, gone: Marks) -> tuple[NDArray[np.int64], Matrix]:
    """The order in which each filter's weights go, (filters, inputs) int64, and what each then adds to the error.

    `weights`: (filters, inputs) float64, the best fit; `inverse`: (inputs, inputs) float64, of the second moments;
    `gone`: (filters, inputs) bool, weights that are removed before all others. The errors, (filters, inputs) float64,
    are in the order of removal.
    """
    order = np.zeros(weights.shape, np.int64)
    losses = np.zeros_like(weights)

    def remove(rows: tuple[int, int]) -> None:
        for row in range(*rows):
            _remove(weights[row].copy(), inverse.copy(), gone[row], order[row], losses[row])

    for _ in ordered_map(remove, ranges(len(weights), _FILTERS)):
        pass
    return order, losses


def in_place(order: NDArray[np.int64], losses: Matrix, gone: Marks) -> Matrix:
    """What `removals` gives, at the places of the weights: (filters, inputs) float64; 0 where `gone`.

    Made so that they do not fall along the order: a weight that goes cheaply only because another went before it must
    not go first.
    """
    ordered = np.maximum.accumulate(np.where(np.take_along_axis(gone, order, 1), 0.0, losses), axis=1)
    placed = np.empty_like(losses)
    np.put_along_axis(placed, order, ordered, axis=1)
    return placed


def first_losses(weights: Matrix, root: Matrix, gone: Marks) -> Matrix:
    """What each weight would cost alone: (filters, inputs) float64; 0 where `gone`. `root`: V of the inverse V V'."""
    losses: Matrix = np.square(weights) / np.square(root).sum(axis=1)
    losses[gone] = 0
    return losses


def fitted(targets: Matrix, moments: Matrix, kept: Marks) -> Matrix:
    """The weights at the places `kept` that fit best, zeros elsewhere: (filters, inputs) float64.

    `targets`: (filters, inputs) float64, best fit times second moments; `moments`: (inputs, inputs) float64.
    """
    found = np.zeros_like(targets)

    def fit(rows: tuple[int, int]) -> None:
        for row in range(*rows):
            places = np.flatnonzero(kept[row])
            _fit(targets[row], moments, places, found[row])

    for _ in ordered_map(fit, ranges(len(targets), _FILTERS)):
        pass
    return found


def swept(weights: Matrix, root: Matrix, kept: Marks) -> Matrix:
    """The weights when those not `kept` are removed from first column to last: (filters, inputs) float64.

    `weights`: (filters, inputs) float64, the best fit; `root`: V of the inverse V V', lower triangular.
    """
    found = weights.copy()
    rows_of_root = np.ascontiguousarray(root.T)
    for _ in ordered_map(lambda rows: _sweep(found, rows_of_root, kept, *rows), ranges(len(found), _SWEPT)):
        pass
    return found


def strengths(weights: Matrix, moments: Matrix) -> NDArray[np.float64]:
    """w A w' of each filter, the mean square of its outputs: (filters,) float64."""
    found = np.zeros(len(weights))
    for _ in ordered_map(
        lambda rows: _strengths(weights, moments, found, *rows), ranges(len(weights), _SWEPT)
    ):
        pass
    return found


@njit(nogil=True, cache=True)
def _remove(weights: Any, inverse: Matrix, gone: Any, order: Any, losses: Any) -> None:
    """Removes all weights of a filter; what is left of `weights` and `inverse` always lies in front."""
    places = np.arange(len(weights))
    for left in range(len(weights), 0, -1):
        taken, least = 0, np.inf
        for i in range(left):
            loss = -1.0 if gone[places[i]] else weights[i] * weights[i] / inverse[i, i]
            if loss < least:
                taken, least = i, loss
        order[len(weights) - left] = places[taken]
        losses[len(weights) - left] = weights[taken] * weights[taken] / inverse[taken, taken]
        _eliminate(weights, inverse, taken, left)
        last = left - 1
        places[taken], weights[taken] = places[last], weights[last]
        inverse[taken, :last] = inverse[last, :last]
        inverse[:last, taken] = inverse[:last, last]
        inverse[taken, taken] = inverse[last, last]


@njit(nogil=True, cache=True, fastmath=_FAST)
def _eliminate(weights: Any, inverse: Matrix, taken: int, left: int) -> None:
    """Takes one weight out: the others adapt, and the inverse becomes that of the moments without it."""
    row = inverse[taken, :left] / inverse[taken, taken]
    weight = weights[taken]
    for i in range(left):
        weights[i] -= weight * row[i]
        if i != taken:
            factor = inverse[i, taken]
            for j in range(left):
                inverse[i, j] -= factor * row[j]


@njit(nogil=True, cache=True)
def _fit(targets: Any, moments: Matrix, places: NDArray[np.int64], found: Any) -> None:
    """Least squares on `places`, by the factor R R' of their moments, last row first."""
    size = len(places)
    upper = np.empty((size, size))
    values = np.empty(size)
    for i in range(size):
        values[i] = targets[places[i]]
        for j in range(size):
            upper[i, j] = moments[places[i], places[j]]
    for j in range(size - 1, -1, -1):
        upper[j, j] = np.sqrt(upper[j, j] - _dot(upper[j], upper[j], j + 1, size))
        for i in range(j):
            upper[i, j] = (upper[i, j] - _dot(upper[i], upper[j], j + 1, size)) / upper[j, j]
    for i in range(size - 1, -1, -1):
        values[i] = (values[i] - _dot(upper[i], values, i + 1, size)) / upper[i, i]
    for i in range(size):
        values[i] /= upper[i, i]
        for k in range(i + 1, size):
            values[k] -= upper[i, k] * values[i]
        found[places[i]] = values[i]


@njit(nogil=True, cache=True)
def _sweep(found: Matrix, rows_of_root: Matrix, kept: Marks, first: int, last: int) -> None:
    """Filters `first` to `last`, column by column."""
    inputs = found.shape[1]
    for j in range(inputs):
        for r in range(first, last):
            if not kept[r, j]:
                error = found[r, j] / rows_of_root[j, j]
                found[r, j] = 0.0
                for k in range(j + 1, inputs):
                    found[r, k] -= error * rows_of_root[j, k]


@njit(nogil=True, cache=True)
def _strengths(weights: Matrix, moments: Matrix, found: Any, first: int, last: int) -> None:
    """Of filters `first` to `last`."""
    inputs = len(moments)
    for i in range(inputs):
        for r in range(first, last):
            if weights[r, i] != 0:
                found[r] += weights[r, i] * _dot(moments[i], weights[r], 0, inputs)
