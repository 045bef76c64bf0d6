"""How far a sum of products may be off by rounding."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SUM_ROUNDOFF = (
    2.0**-24
)  # of float32, in which the engine and onnxruntime add up, whatever the type of the operands
_CONFIDENCE = 10.0  # lambda: a sound sum exceeds the bound with a probability below 2 n exp(-50)
_FURTHER_OPERATIONS = 4  # scales, a bias, the factors of a Gemm


def rounding_bound(
    magnitudes: NDArray[np.float64], terms: int, outputs: NDArray[np.float64], dtype: np.dtype[Any]
) -> NDArray[np.float64]:
    """The largest difference that rounding may make between two float32 sums of `terms` products.

    `magnitudes`: sums of the products' absolute values, and `outputs`: the sums, of one shape; one of the two is stored
    in `dtype`. Each is off by at most (exp(lambda sqrt(n) u + n u^2 / (1 - u)) - 1) times the magnitudes, in any order
    (Higham and Mary, A new approach to probabilistic rounding error analysis, SIAM J. Sci. Comput. 41(5), 2019,
    theorem 2.4).
    """
    count = terms + _FURTHER_OPERATIONS
    exponent = _CONFIDENCE * sqrt(count) * _SUM_ROUNDOFF + count * _SUM_ROUNDOFF**2 / (1 - _SUM_ROUNDOFF)
    summing = 2 * np.expm1(exponent) * magnitudes
    stored = np.finfo(dtype if dtype.kind == "f" else np.float32)
    rounding = np.abs(outputs) * float(stored.eps) / 2
    bound: NDArray[np.float64] = summing + rounding + float(stored.smallest_subnormal)
    return bound
