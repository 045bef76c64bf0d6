"""The int8 scale of each filter's weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LARGEST = 127  # magnitude in eight bits of sign and magnitude
_CLIP_RATIOS = np.linspace(1.0, 0.5, 101)  # largest representable weight over the filter's largest weight


def best_scales(weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """The scale of each row with the least mean square error after rounding: (rows,) float32.

    `weights`: (rows, values) float64. Scales are sought that represent from half to all of a row's largest magnitude;
    larger values are clipped. A row of zeros, or of values so small that a scale would underflow, has scale 1.
    """
    largest = np.abs(weights).max(axis=1, initial=0.0)
    scalable = (_CLIP_RATIOS[-1] * largest / LARGEST).astype(np.float32) > 0
    best = np.where(scalable, largest / LARGEST, 1.0).astype(np.float32)
    least = np.full(len(weights), np.inf)
    for ratio in _CLIP_RATIOS:
        scales = np.where(scalable, ratio * largest / LARGEST, 1.0).astype(np.float32)
        dequantized = to_int8(weights, scales) * scales[:, None].astype(np.float64)
        errors = np.square(dequantized - weights).sum(axis=1)
        better = errors < least
        best, least = np.where(better, scales, best), np.where(better, errors, least)
    return best


def to_int8(weights: NDArray[np.float64], scales: NDArray[np.float32]) -> NDArray[np.int8]:
    """`weights`, (rows, values) float64, divided by `scales`, (rows,) float32, rounded and clipped to -127 to 127."""
    steps = np.rint(weights / scales[:, None].astype(np.float64))
    return np.clip(steps, -LARGEST, LARGEST).astype(np.int8)
