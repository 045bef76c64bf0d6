"""The random numbers of the kernels, against the generator in plain integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tightc.permutation.annealing.rng import _draw, _next, _pick, seed_state

pytestmark = pytest.mark.kernel
WORD = 2**64 - 1
FEW = settings(max_examples=60)


def plain_next(state: int) -> int:
    """xorshift with the shifts 12, 25 and 27, as Vigna (2016) gives them."""
    state ^= state >> 12
    state ^= state << 25 & WORD
    return state ^ state >> 27


def test_the_first_numbers_are_those_of_xorshift64_star() -> None:
    state, found = np.uint64(1), []
    for _ in range(3):
        state = np.uint64(_next(state))
        found.append(int(_draw(state)))
    assert found == [5180492295206395165, 12380297144915551517, 13389498078930870103]


@FEW
@given(st.integers(1, WORD))
def test_any_state_is_followed_as_in_plain_integers(state: int) -> None:
    assert int(_next(np.uint64(state))) == plain_next(state)
    assert int(_draw(np.uint64(state))) == state * 0x2545F4914F6CDD1D & WORD


@FEW
@given(st.integers(0, WORD), st.integers(1, 2**31 - 1))
def test_a_pick_is_the_fraction_of_its_bits(bits: int, among: int) -> None:
    width = 16 if among <= 2**16 else 32
    assert _pick(np.uint64(bits), among) == bits % 2**width * among >> width


@pytest.mark.parametrize(("among", "highest"), [(1, 0), (2**16, 2**16 - 1), (2**31 - 1, 2**31 - 2)])
def test_picks_reach_the_first_and_the_last(among: int, highest: int) -> None:
    assert _pick(np.uint64(0), among) == 0
    assert _pick(np.uint64(WORD), among) == highest


@pytest.mark.parametrize("seed", range(20))
def test_a_state_from_a_seed_is_never_zero(seed: int) -> None:
    assert int(seed_state(np.random.SeedSequence(seed))) % 2 == 1
