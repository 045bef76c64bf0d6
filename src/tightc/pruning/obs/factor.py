"""Triangular factors of symmetric positive definite matrices: kernels with the same bits for any number of threads.

LAPACK would be faster, but its rounding depends on its number of threads. Here everything is a dot product of rows,
and one thread computes each of them.

A matrix A is factored from its last row up: A = R R', where R is upper triangular. Its inverse is then V V' with the
lower triangular V = (R^-1)'. Elimination in the order of columns needs row j of V' once the columns before j are
decided (Frantar and Alistarh, "SparseGPT", ICML 2023, section 3.3).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.parallel import ordered_map, ranges

Matrix = NDArray[np.float64]

_PANEL = 64  # columns factored at once: their rows fit the L2 cache
_ROWS = 32  # rows per task of a thread
FAST_MATH = {"reassoc", "contract"}  # permits vectorized dot products


def upper_factor(matrix: Matrix) -> Matrix:
    """R of `matrix` = R R': (inputs, inputs) float64, upper triangular, zeros below.

    `matrix`: (inputs, inputs) float64, symmetric, positive definite.
    """
    upper = np.triu(matrix)
    for begin, end in reversed(ranges(len(upper), _PANEL)):
        _factor_corner(upper, begin, end)

        def factor_rows(rows: range, begin: int = begin, end: int = end) -> None:
            _factor_rows(upper, begin, end, rows.start, rows.stop)

        for _ in ordered_map(factor_rows, _row_ranges(begin)):
            pass
    return upper


def inverse_root(upper: Matrix) -> Matrix:
    """V of (R R')^-1 = V V': (inputs, inputs) float64, lower triangular; `upper` is R."""
    root = np.zeros_like(upper)
    for _ in ordered_map(
        lambda rows: _invert_rows(upper, root, rows.start, rows.stop), _row_ranges(len(upper))
    ):
        pass
    return root


def inverse_from_root(root: Matrix) -> Matrix:
    """V V': (inputs, inputs) float64, symmetric to the last bit; `root` is V."""
    inverse = np.empty_like(root)
    for _ in ordered_map(
        lambda rows: _multiply_rows(root, inverse, rows.start, rows.stop), _row_ranges(len(root))
    ):
        pass
    lower: Matrix = np.tril(inverse)
    return lower + np.tril(inverse, -1).T


def solve(upper: Matrix, targets: Matrix) -> Matrix:
    """X of X R R' = `targets`, both (filters, inputs) float64; `upper` is R."""
    found = targets.copy()
    for _ in ordered_map(
        lambda rows: _solve_rows(upper, found, rows.start, rows.stop), _row_ranges(len(found))
    ):
        pass
    return found


def _row_ranges(rows: int) -> list[range]:
    """The rows of each task."""
    return [range(*bounds) for bounds in ranges(rows, _ROWS)]


@njit(nogil=True, cache=True, fastmath=FAST_MATH)
def dot(left: Any, right: Any, begin: int, end: int) -> float:
    """Dot product of elements `begin` to `end`, exclusive."""
    total = 0.0
    for k in range(begin, end):
        total += left[k] * right[k]
    return total


@njit(nogil=True, cache=True)
def _factor_corner(upper: Matrix, begin: int, end: int) -> None:
    """Factor the diagonal block, rows and columns `begin` to `end`; columns right of it are done."""
    size = len(upper)
    for j in range(end - 1, begin - 1, -1):
        upper[j, j] = np.sqrt(upper[j, j] - dot(upper[j], upper[j], j + 1, size))
        for i in range(begin, j):
            upper[i, j] = (upper[i, j] - dot(upper[i], upper[j], j + 1, size)) / upper[j, j]


@njit(nogil=True, cache=True)
def _factor_rows(upper: Matrix, begin: int, end: int, first: int, last: int) -> None:
    """Factor the same columns of rows `first` to `last`, above the block."""
    size = len(upper)
    for i in range(first, last):
        for j in range(end - 1, begin - 1, -1):
            upper[i, j] = (upper[i, j] - dot(upper[i], upper[j], j + 1, size)) / upper[j, j]


@njit(nogil=True, cache=True)
def _invert_rows(upper: Matrix, root: Matrix, first: int, last: int) -> None:
    """Rows `first` to `last` of V: row j solves R v = e_j. In step, so that each row of R is read once."""
    for i in range(last - 1, -1, -1):
        for j in range(max(first, i), last):
            if i == j:
                root[j, i] = 1.0 / upper[i, i]
            else:
                root[j, i] = -dot(upper[i], root[j], i + 1, j + 1) / upper[i, i]


@njit(nogil=True, cache=True)
def _multiply_rows(root: Matrix, inverse: Matrix, first: int, last: int) -> None:
    """Rows `first` to `last` of V V', up to the diagonal."""
    for j in range(last):
        for i in range(max(first, j), last):
            inverse[i, j] = dot(root[i], root[j], 0, j + 1)


@njit(nogil=True, cache=True)
def _solve_rows(upper: Matrix, found: Matrix, first: int, last: int) -> None:
    """Solve rows `first` to `last` of `found` in place."""
    size = len(upper)
    for i in range(size - 1, -1, -1):
        for r in range(first, last):
            found[r, i] = (found[r, i] - dot(upper[i], found[r], i + 1, size)) / upper[i, i]
    for i in range(size):
        for r in range(first, last):
            found[r, i] /= upper[i, i]
            weight = found[r, i]
            for k in range(i + 1, size):
                found[r, k] -= upper[i, k] * weight
