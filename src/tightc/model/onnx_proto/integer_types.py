"""The types that integer weights may have."""

from __future__ import annotations

from typing import Any

import numpy as np

_BITS = {"int8": 8, "uint8": 8, "int4": 4, "uint4": 4}  # of a weight, by the name of its dtype
INTEGER_TYPES = tuple(_BITS)


def is_integer_type(dtype: np.dtype[Any]) -> bool:
    """Whether integer weights may be of `dtype`."""
    return dtype.name in _BITS


def weight_bits(dtype: np.dtype[Any]) -> int:
    """Bits of a weight of `dtype`, as files store it: numpy holds four bits in a byte."""
    return _BITS.get(dtype.name, 8 * dtype.itemsize)


def integer_limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The least and the largest integer of `dtype`; numpy does not know those of four bits."""
    values = 2 ** weight_bits(dtype)
    return (0, values - 1) if dtype.name.startswith("u") else (-values // 2, values // 2 - 1)
