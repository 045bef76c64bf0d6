"""Requantization in fixed point: what turns an int32 sum into a byte. Kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MULTIPLIER_BITS, _MOST_SHIFT = 30, 46


@dataclass(frozen=True)
class FixedPoint:
    """byte = (sum x multiplier + offset) >> shift, cut to `low`..`high`; arrays are (filters,) int64."""

    multiplier: NDArray[np.int64]
    offset: NDArray[np.int64]
    shift: NDArray[np.int64]
    low: int = -128
    high: int = 127


def fixed_point(factor: NDArray[np.float64], addend: NDArray[np.float64], low: int, high: int) -> FixedPoint:
    """The nearest fixed-point form of sum x `factor` + `addend`, rounded: both (filters,).

    Multipliers have 31 bits and a sign. The half that rounds is in the offset: halves are rounded up.
    """
    exponent = np.ceil(np.log2(np.where(factor == 0, 1.0, np.abs(factor)))).astype(np.int64)
    shift = np.clip(_MULTIPLIER_BITS - exponent, 0, _MOST_SHIFT)
    unit = np.exp2(shift)
    half = np.where(shift > 0, np.left_shift(1, np.maximum(shift, 1) - 1), 0)
    multiplier = np.rint(factor * unit).astype(np.int64)
    offset = np.rint(addend * unit).astype(np.int64) + half
    return FixedPoint(multiplier, offset, shift, low, high)
