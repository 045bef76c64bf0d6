"""A convolution as a product; nothing imported from tightc."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from oracle.packings import block_diagonal


def im2col(
    x: np.ndarray,
    kernel: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    dilations: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> tuple[np.ndarray, tuple[int, int]]:
    """(batch, channels, height, width) -> (batch x out height x out width, channels x kernel), and the out sizes."""
    batch, channels, height, width = x.shape
    top, left, bottom, right = pads
    padded = np.zeros((batch, channels, height + top + bottom, width + left + right), x.dtype)
    padded[:, :, top : top + height, left : left + width] = x
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    out_h = (padded.shape[2] - reach[0]) // strides[0] + 1
    out_w = (padded.shape[3] - reach[1]) // strides[1] + 1
    rows = []
    for b, i, j in product(range(batch), range(out_h), range(out_w)):
        row = [
            padded[b, c, i * strides[0] + di * dilations[0], j * strides[1] + dj * dilations[1]]
            for c, di, dj in product(range(channels), range(kernel[0]), range(kernel[1]))
        ]
        rows.append(row)
    return np.array(rows), (out_h, out_w)


def convolution(x: np.ndarray, weight: np.ndarray, groups: int = 1, **geometry: Any) -> np.ndarray:
    """im2col and a product with the block-diagonal layer matrix: (batch, filters, out height, out width)."""
    vectors, (out_h, out_w) = im2col(x, weight.shape[2:], **geometry)
    whole = block_diagonal(weight.reshape(weight.shape[0], -1), groups)
    flat = vectors.astype(np.float64) @ whole.astype(np.float64).T
    return flat.reshape(len(x), out_h, out_w, -1).transpose(0, 3, 1, 2)
