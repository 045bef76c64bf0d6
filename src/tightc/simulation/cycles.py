"""Closed forms of cycles on a systolic array, one pass after the other. docs/architecture.md; SCALE-Sim 3.0.0.

R rows, C columns; a layer of N filters, K inputs and M vectors in each of `groups` groups.
"""

from __future__ import annotations

from collections.abc import Callable

from tightc.tiles.array import ArrayShape
from tightc.tiles.bounds import folds


def pass_cycles(array: ArrayShape, vectors: int) -> int:
    """Cycles of one weight-stationary pass: R to load, M to stream, R + C - 2 to fill and drain."""
    return array.rows + vectors + array.rows + array.columns - 2


def dense_ws(array: ArrayShape, filters: int, inputs: int, vectors: int) -> int:
    """Weight-stationary: ceil(K / R) * ceil(N / C) * (2 R + C + M - 2)."""
    return folds(inputs, array.rows) * folds(filters, array.columns) * pass_cycles(array, vectors)


def dense_os(array: ArrayShape, filters: int, inputs: int, vectors: int) -> int:
    """Output-stationary: ceil(M / R) * ceil(N / C) * (K + R + C - 2)."""
    stream = inputs + array.rows + array.columns - 2
    return folds(vectors, array.rows) * folds(filters, array.columns) * stream


def dense_is(array: ArrayShape, filters: int, inputs: int, vectors: int) -> int:
    """Input-stationary: ceil(K / R) * ceil(M / C) * (2 R + C + N - 2)."""
    stream = 2 * array.rows + array.columns + filters - 2
    return folds(inputs, array.rows) * folds(vectors, array.columns) * stream


DENSE: dict[str, Callable[[ArrayShape, int, int, int], int]] = {
    "ws": dense_ws,
    "os": dense_os,
    "is": dense_is,
}


def passes(dataflow: str, array: ArrayShape, filters: int, inputs: int, vectors: int) -> int:
    """Folds of the dense layer: how often the array is filled with what stays in it."""
    if dataflow == "ws":
        return folds(inputs, array.rows) * folds(filters, array.columns)
    if dataflow == "os":
        return folds(vectors, array.rows) * folds(filters, array.columns)
    return folds(inputs, array.rows) * folds(vectors, array.columns)
