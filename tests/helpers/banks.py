"""Random networks from banks to lanes for Hypothesis, and tiles as the oracle takes them."""

from __future__ import annotations

from hypothesis import strategies as st

import oracle
from tightc.accelerator.bank_network import BankNetwork
from tightc.accelerator.hardware import ActivationBuffer
from tightc.tile.packing import Packing

BUFFER = {"size": "64 KiB", "bandwidth": "1000 words/cycle", "double_buffered": True}


def network(banks: int, reach: int | None, rows: int) -> BankNetwork:
    """The network of a buffer with these keys."""
    buffer = ActivationBuffer.model_validate({**BUFFER, "banks": banks, "lane_reach": reach})
    found = BankNetwork.of(buffer, rows)
    assert found is not None
    return found


@st.composite
def banks_and_reaches(draw: st.DrawFn, rows: int) -> tuple[int, int]:
    """Banks and a reach that a hardware file with so many `rows` may have."""
    if draw(st.booleans()):  # any number of banks, all of which each lane sees
        return (banks := draw(st.integers(1, 3 * rows))), banks
    divisors = [n for n in range(1, rows + 1) if rows % n == 0]
    banks = draw(st.sampled_from([*divisors, *(rows * n for n in range(2, 5))]))
    least = max(1, banks // rows)
    reaches = [n for n in range(least, banks + 1, least) if banks % n == 0]
    return banks, draw(st.sampled_from(reaches))


def lanes_of(packing: Packing) -> list[list[list[int]]]:
    """The inputs of each lane of each tile."""
    return [tile["lanes"] for tile in oracle.plain(packing)]
