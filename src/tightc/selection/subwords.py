"""What the digits of whole numbers are worth: how much nearer each brings a number to what it stands for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tightc.selection.top_k import Kept, Saliency
from tightc.tile.subwords import LARGEST, Int8, nearest, subwords_of


def subword_saliency(real: NDArray[np.float64], scale: NDArray[np.float64], bits: int) -> Saliency:
    """The fall of the square error by each digit of `bits` that a weight gets, the first one first.

    `real`: (filters, inputs) float64; `scale`: (filters,) or (1,) float64, a step of the whole numbers. Gives (filters,
    inputs * digits) float64, at least 0, falling along the digits of a weight: where a further digit would win more
    than the one before it, both count as their mean (the least concave majorant), so that whoever keeps what is worth
    most never skips one.
    """
    steps = np.abs(real) / scale[:, None]
    whole = np.minimum(np.rint(steps), LARGEST).astype(np.uint8)
    errors = np.square((steps - nearest(bits)[:, whole]) * scale[:, None])
    won = errors[0] - errors  # (digits + 1, filters, inputs) by so many digits
    worths = np.diff(_majorant(won), axis=0)
    return np.ascontiguousarray(np.moveaxis(worths, 0, -1).reshape(len(real), -1))


def with_digits(whole: Int8, kept: Kept, bits: int) -> Int8:
    """`whole`, (filters, inputs) int8, each with the best of as many digits as are `kept` of it.

    `kept`: (filters, inputs * digits) bool, the columns of `subword_saliency`.
    """
    many = kept.reshape(*whole.shape, subwords_of(bits)).sum(axis=-1)
    left: Int8 = (np.sign(whole) * nearest(bits)[many, np.abs(whole)]).astype(np.int8)
    return left


def _majorant(won: NDArray[np.float64]) -> NDArray[np.float64]:
    """The least concave majorant of `won` along its first axis, which has few places."""
    last = len(won) - 1
    best = won.copy()
    for at in range(1, last):
        for before in range(at):
            for behind in range(at + 1, last + 1):
                share = (at - before) / (behind - before)
                best[at] = np.maximum(best[at], won[before] + share * (won[behind] - won[before]))
    return best
