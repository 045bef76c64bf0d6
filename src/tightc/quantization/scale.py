"""How large a step of int8 is for a filter's weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LARGEST = 127  # of sign and magnitude in eight bits
_SHARES = np.linspace(
    1.0, 0.5, 101
)  # of a filter's largest weight, what the largest whole number may stand for


def best_scales(weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """For each row the step that leaves the least mean square error when its values are rounded, (rows,) float32.

    `weights`: (rows, values) float64. Steps are sought between those that span a row's largest value and half of it;
    what is beyond is cut off. A row of zeros has a step of 1.
    """
    largest = np.abs(weights).max(axis=1, initial=0.0)
    best = np.where(largest > 0, largest / LARGEST, 1.0).astype(np.float32)
    least = np.full(len(weights), np.inf)
    for share in _SHARES:
        scales = np.where(largest > 0, share * largest / LARGEST, 1.0).astype(np.float32)
        errors = np.square(to_int8(weights, scales) * scales[:, None].astype(np.float64) - weights).sum(
            axis=1
        )
        better = errors < least
        best, least = np.where(better, scales, best), np.where(better, errors, least)
    return best


def to_int8(weights: NDArray[np.float64], scales: NDArray[np.float32]) -> NDArray[np.int8]:
    """`weights`, (rows, values), in steps of `scales`, (rows,), to the nearest of -127 to 127."""
    steps = np.rint(weights / scales[:, None].astype(np.float64))
    return np.clip(steps, -LARGEST, LARGEST).astype(np.int8)
