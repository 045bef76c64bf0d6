"""Elimination of weights with compensation by the others: kernels, filter by filter.

The error of a filter with weights w is (w - v) H (w - v)', where v is the least-squares solution and H the Hessian
X X^T of its inputs. Removing weight k alone and adapting all others raises the error by v_k^2 / [H^-1]_kk (LeCun et
al., "Optimal Brain Damage", 1990; Hassibi et al., "Optimal Brain Surgeon", 1993).

- `exact_obs` removes one weight after the other, each time the cheapest: ExactOBS, algorithm 1 of Frantar and Alistarh,
  "Optimal Brain Compression", NeurIPS 2022. It takes inputs^3 / 3 multiplications per filter.
- `obs_losses` gives the cost of removing each weight first. `sparsegpt` removes the chosen ones in the order of columns
  and adapts the later ones: Frantar and Alistarh, "SparseGPT", ICML 2023. Inputs^2 multiplications per filter.
- `refit` gives the least-squares weights for a given mask. ExactOBS ends with the same weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.parallel import ordered_map, ranges
from tightc.pruning.obs.factor import FAST_MATH, Matrix, dot
from tightc.selection.top_k import Mask

_FEW = 4  # filters per task of a thread, where each is much work
_MANY = 16  # filters per task that fit the L2 cache together


def exact_obs(weights: Matrix, inverse: Matrix, zeros: Mask) -> tuple[NDArray[np.int64], Matrix]:
    """The order of removal of each filter's weights, (filters, inputs) int64, and what each then adds to the error.

    `weights`: (filters, inputs) float64, the least-squares solution; `inverse`: (inputs, inputs) float64, of the
    Hessian; `zeros`: (filters, inputs) bool, weights removed before all others. The added errors, (filters, inputs)
    float64, are in the order of removal.
    """
    order = np.zeros(weights.shape, np.int64)
    losses = np.zeros_like(weights)

    def remove(rows: range) -> None:
        for row in rows:
            _exact_obs_row(weights[row].copy(), inverse.copy(), zeros[row], order[row], losses[row])

    for _ in ordered_map(remove, _row_ranges(weights, _FEW)):
        pass
    return order, losses


def losses_by_weight(order: NDArray[np.int64], losses: Matrix, zeros: Mask) -> Matrix:
    """The losses of `exact_obs` in the order of the weights: (filters, inputs) float64; 0 for `zeros`.

    `order`, `losses`: as from `exact_obs`. Losses are raised so as not to fall along the order of removal: a weight may
    be cheap only because another one was removed before it.
    """
    ordered = np.maximum.accumulate(np.where(np.take_along_axis(zeros, order, 1), 0.0, losses), axis=1)
    placed = np.empty_like(losses)
    np.put_along_axis(placed, order, ordered, axis=1)
    return placed


def obs_losses(weights: Matrix, root: Matrix, zeros: Mask) -> Matrix:
    """The loss of removing each weight alone: (filters, inputs) float64; 0 for `zeros`.

    `weights`: (filters, inputs) float64, the least-squares solution; `root`: V of H^-1 = V V', lower triangular.
    """
    losses: Matrix = np.square(weights) / np.square(root).sum(axis=1)
    losses[zeros] = 0
    return losses


def refit(targets: Matrix, hessian: Matrix, kept: Mask) -> Matrix:
    """The least-squares weights where `kept`, zeros elsewhere: (filters, inputs) float64.

    `targets`: (filters, inputs) float64, the unconstrained solution times the Hessian; `hessian`: (inputs, inputs)
    float64.
    """
    found = np.zeros_like(targets)

    def solve(rows: range) -> None:
        for row in rows:
            _refit_row(targets[row], hessian, np.flatnonzero(kept[row]), found[row])

    for _ in ordered_map(solve, _row_ranges(targets, _FEW)):
        pass
    return found


def sparsegpt(weights: Matrix, root: Matrix, kept: Mask) -> Matrix:
    """The weights after those not `kept` are removed from the first column to the last: (filters, inputs) float64.

    `weights`: (filters, inputs) float64, the least-squares solution; `root`: V of H^-1 = V V', lower triangular.
    """
    found = weights.copy()
    rows_of_root = np.ascontiguousarray(root.T)

    def sweep(rows: range) -> None:
        _sparsegpt_rows(found, rows_of_root, kept, rows.start, rows.stop)

    for _ in ordered_map(sweep, _row_ranges(found, _MANY)):
        pass
    return found


def mean_square_outputs(weights: Matrix, hessian: Matrix) -> NDArray[np.float64]:
    """w H w', the mean square of each filter's outputs: (filters,) float64.

    `weights`: (filters, inputs) float64, w; `hessian`: (inputs, inputs) float64, H.
    """
    found = np.zeros(len(weights))

    def sum_up(rows: range) -> None:
        _mean_square_rows(weights, hessian, found, rows.start, rows.stop)

    for _ in ordered_map(sum_up, _row_ranges(weights, _MANY)):
        pass
    return found


def _row_ranges(matrix: Matrix, step: int) -> list[range]:
    """The rows of each task."""
    return [range(*bounds) for bounds in ranges(len(matrix), step)]


@njit(nogil=True, cache=True)
def _exact_obs_row(weights: Any, inverse: Matrix, zeros: Any, order: Any, losses: Any) -> None:
    """Remove all weights of a filter; the remaining part of `weights` and `inverse` is kept in front."""
    columns = np.arange(len(weights))
    for left in range(len(weights), 0, -1):
        taken, least = 0, np.inf
        for i in range(left):
            loss = -1.0 if zeros[columns[i]] else weights[i] * weights[i] / inverse[i, i]
            if loss < least:
                taken, least = i, loss
        order[len(weights) - left] = columns[taken]
        losses[len(weights) - left] = weights[taken] * weights[taken] / inverse[taken, taken]
        _eliminate(weights, inverse, taken, left)
        last = left - 1
        columns[taken], weights[taken] = columns[last], weights[last]
        inverse[taken, :last] = inverse[last, :last]
        inverse[:last, taken] = inverse[:last, last]
        inverse[taken, taken] = inverse[last, last]


@njit(nogil=True, cache=True, fastmath=FAST_MATH)
def _eliminate(weights: Any, inverse: Matrix, taken: int, left: int) -> None:
    """Remove one weight: adapt the others, and update the inverse to that of the Hessian without it."""
    row = inverse[taken, :left] / inverse[taken, taken]
    weight = weights[taken]
    for i in range(left):
        weights[i] -= weight * row[i]
        if i != taken:
            factor = inverse[i, taken]
            for j in range(left):
                inverse[i, j] -= factor * row[j]


@njit(nogil=True, cache=True)
def _refit_row(targets: Any, hessian: Matrix, columns: NDArray[np.int64], found: Any) -> None:
    """Least squares on `columns`, by the factor R R' of their Hessian, last row first."""
    size = len(columns)
    upper = np.empty((size, size))
    values = np.empty(size)
    for i in range(size):
        values[i] = targets[columns[i]]
        for j in range(size):
            upper[i, j] = hessian[columns[i], columns[j]]
    for j in range(size - 1, -1, -1):
        upper[j, j] = np.sqrt(upper[j, j] - dot(upper[j], upper[j], j + 1, size))
        for i in range(j):
            upper[i, j] = (upper[i, j] - dot(upper[i], upper[j], j + 1, size)) / upper[j, j]
    for i in range(size - 1, -1, -1):
        values[i] = (values[i] - dot(upper[i], values, i + 1, size)) / upper[i, i]
    for i in range(size):
        values[i] /= upper[i, i]
        for k in range(i + 1, size):
            values[k] -= upper[i, k] * values[i]
        found[columns[i]] = values[i]


@njit(nogil=True, cache=True)
def _sparsegpt_rows(found: Matrix, rows_of_root: Matrix, kept: Mask, first: int, last: int) -> None:
    """Sweep filters `first` to `last`, column by column."""
    inputs = found.shape[1]
    for j in range(inputs):
        for r in range(first, last):
            if not kept[r, j]:
                error = found[r, j] / rows_of_root[j, j]
                found[r, j] = 0.0
                for k in range(j + 1, inputs):
                    found[r, k] -= error * rows_of_root[j, k]


@njit(nogil=True, cache=True)
def _mean_square_rows(weights: Matrix, hessian: Matrix, found: Any, first: int, last: int) -> None:
    """w H w' of filters `first` to `last`, added to `found`."""
    inputs = len(hessian)
    for i in range(inputs):
        for r in range(first, last):
            if weights[r, i] != 0:
                found[r] += weights[r, i] * dot(hessian[i], weights[r], 0, inputs)
