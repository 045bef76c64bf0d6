"""Triangular factors of symmetric positive matrices: kernels whose bits do not depend on the number of threads.

LAPACK would be faster, but cuts its work by the threads that it has, and rounds by the cut. Everything here is made of
dot products of rows, each of which is computed whole by one thread.

A matrix A is factored from its last row up, A = R R', R upper triangular, because its inverse then is V V' with
V = (R^-1)' lower triangular, and row j of V' is what elimination in the order of columns needs once the columns before
j are decided (Frantar and Alistarh, "SparseGPT", ICML 2023, section 3.3).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tightc.parallel import ordered_map, ranges

Matrix = NDArray[np.float64]

_PANEL = 64  # columns factored at once: their rows stay in the second-level cache
_ROWS = 32  # rows that a thread takes at a time
_FAST = {"reassoc", "contract"}  # dot products may be summed in the order of the vector unit


def factored(matrix: Matrix) -> Matrix:
    """R of `matrix` = R R': (inputs, inputs) float64, upper triangular, zeros below.

    `matrix`: (inputs, inputs) float64, symmetric, positive definite.
    """
    upper = np.triu(matrix)
    for begin, end in reversed(ranges(len(upper), _PANEL)):
        _factor_corner(upper, begin, end)

        def solve_rows(rows: tuple[int, int], begin: int = begin, end: int = end) -> None:
            _factor_rows(upper, begin, end, *rows)

        for _ in ordered_map(solve_rows, ranges(begin, _ROWS)):
            pass
    return upper


def inverse_root(upper: Matrix) -> Matrix:
    """V of (R R')^-1 = V V': (inputs, inputs) float64, lower triangular, from R, which is `upper`."""
    root = np.zeros_like(upper)
    for _ in ordered_map(lambda rows: _invert_rows(upper, root, *rows), ranges(len(upper), _ROWS)):
        pass
    return root


def inverse_of(root: Matrix) -> Matrix:
    """V V' from V, which is `root`: (inputs, inputs) float64, symmetric to the last bit."""
    inverse = np.empty_like(root)
    for _ in ordered_map(lambda rows: _multiply_rows(root, inverse, *rows), ranges(len(root), _ROWS)):
        pass
    lower: Matrix = np.tril(inverse)
    return lower + np.tril(inverse, -1).T


def solved(upper: Matrix, targets: Matrix) -> Matrix:
    """X of X R R' = `targets`, both (filters, inputs) float64; `upper` is R."""
    found = targets.copy()
    for _ in ordered_map(lambda rows: _solve_rows(upper, found, *rows), ranges(len(found), _ROWS)):
        pass
    return found


@njit(nogil=True, cache=True, fastmath=_FAST)
def _dot(left: Any, right: Any, begin: int, end: int) -> float:
    """Sum of products from `begin` to `end`, exclusive."""
    total = 0.0
    for k in range(begin, end):
        total += left[k] * right[k]
    return total


@njit(nogil=True, cache=True)
def _factor_corner(upper: Matrix, begin: int, end: int) -> None:
    """Factors the block on the diagonal, rows and columns `begin` to `end`; what is right of it is done."""
    size = len(upper)
    for j in range(end - 1, begin - 1, -1):
        upper[j, j] = np.sqrt(upper[j, j] - _dot(upper[j], upper[j], j + 1, size))
        for i in range(begin, j):
            upper[i, j] = (upper[i, j] - _dot(upper[i], upper[j], j + 1, size)) / upper[j, j]


@njit(nogil=True, cache=True)
def _factor_rows(upper: Matrix, begin: int, end: int, first: int, last: int) -> None:
    """The same columns of rows `first` to `last`, which lie above the block."""
    size = len(upper)
    for i in range(first, last):
        for j in range(end - 1, begin - 1, -1):
            upper[i, j] = (upper[i, j] - _dot(upper[i], upper[j], j + 1, size)) / upper[j, j]


@njit(nogil=True, cache=True)
def _invert_rows(upper: Matrix, root: Matrix, first: int, last: int) -> None:
    """Rows `first` to `last` of V: row j solves R v = e_j. Side by side, so that a row of R is read once for all."""
    for i in range(last - 1, -1, -1):
        for j in range(max(first, i), last):
            if i == j:
                root[j, i] = 1.0 / upper[i, i]
            else:
                root[j, i] = -_dot(upper[i], root[j], i + 1, j + 1) / upper[i, i]


@njit(nogil=True, cache=True)
def _multiply_rows(root: Matrix, inverse: Matrix, first: int, last: int) -> None:
    """Rows `first` to `last` of V V', up to the diagonal."""
    for j in range(last):
        for i in range(max(first, j), last):
            inverse[i, j] = _dot(root[i], root[j], 0, j + 1)


@njit(nogil=True, cache=True)
def _solve_rows(upper: Matrix, found: Matrix, first: int, last: int) -> None:
    """Rows `first` to `last` of targets, which become solutions."""
    size = len(upper)
    for i in range(size - 1, -1, -1):
        for r in range(first, last):
            found[r, i] = (found[r, i] - _dot(upper[i], found[r], i + 1, size)) / upper[i, i]
    for i in range(size):
        for r in range(first, last):
            found[r, i] /= upper[i, i]
            weight = found[r, i]
            for k in range(i + 1, size):
                found[r, k] -= upper[i, k] * weight
