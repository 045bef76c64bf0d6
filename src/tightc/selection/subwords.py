"""Saliency of the subwords of int8 weights: by how much each reduces the quantization error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tightc.selection.top_k import Mask, Saliency
from tightc.tile.subwords import LARGEST, nearest, subwords_of

Integers = NDArray[np.int8]


def subword_saliency(weights: NDArray[np.float64], scale: NDArray[np.float64], bits: int) -> Saliency:
    """By how much each further subword of a weight reduces its square error.

    `weights`: (filters, inputs) float64, dequantized; `scale`: (filters,) or (1,) float64, of the int8 weights; `bits`:
    of a subword. Gives (filters, inputs * subwords) float64, at least 0, falling along the subwords of a weight. A
    subword that would reduce the error by more than the one before it shares the mean with it (the least concave
    majorant), so that the most salient subwords of a weight always come first.
    """
    steps = np.abs(weights) / scale[:, None]
    integers = np.minimum(np.rint(steps), LARGEST).astype(np.uint8)
    errors = np.square((steps - nearest(bits)[:, integers]) * scale[:, None])
    reduced = errors[0] - errors  # (subwords + 1, filters, inputs), by the number of subwords
    saliency = np.diff(_concave_majorant(reduced), axis=0)
    return np.ascontiguousarray(np.moveaxis(saliency, 0, -1).reshape(len(weights), -1))


def with_subwords(integers: Integers, kept: Mask, bits: int) -> Integers:
    """`integers`, (filters, inputs) int8, each rounded to the number of its subwords that are `kept`.

    `kept`: (filters, inputs * subwords) bool, in the columns of `subword_saliency`; `bits`: of a subword.
    """
    counts = kept.reshape(*integers.shape, subwords_of(bits)).sum(axis=-1)
    rounded: Integers = (np.sign(integers) * nearest(bits)[counts, np.abs(integers)]).astype(np.int8)
    return rounded


def _concave_majorant(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least concave majorant along the first axis, which is short."""
    last = len(values) - 1
    best = values.copy()
    for at in range(1, last):
        for before in range(at):
            for behind in range(at + 1, last + 1):
                ratio = (at - before) / (behind - before)
                best[at] = np.maximum(best[at], values[before] + ratio * (values[behind] - values[before]))
    return best
