"""The random numbers of the kernels: xorshift64* (Vigna 2016), one uint64 of state, anything but 0."""

from __future__ import annotations

import numpy as np

from tightc.kernel_cache import njit


@njit(nogil=True, cache=True)
def _next(rng: np.uint64) -> np.uint64:
    """The state after `rng`; its random number is `_draw` of it."""
    rng ^= rng >> np.uint64(12)
    rng ^= rng << np.uint64(25)
    rng ^= rng >> np.uint64(27)
    return rng


@njit(nogil=True, cache=True)
def _draw(rng: np.uint64) -> np.uint64:
    """64 random bits of a state."""
    return rng * np.uint64(2685821657736338717)


@njit(nogil=True, cache=True)
def _pick(bits: np.uint64, among: int) -> np.int64:
    """A number below `among` from 16 random bits, or from 32 if `among` is above 65536."""
    if among > 65536:
        return (np.int64(bits & np.uint64(0xFFFFFFFF)) * among) >> 32
    return (np.int64(bits & np.uint64(0xFFFF)) * among) >> 16


def seed_state(seed: np.random.SeedSequence) -> np.uint64:
    """A first state from a seed: odd, so never 0."""
    return np.uint64(seed.generate_state(1, np.uint64)[0] | np.uint64(1))
