"""Packed weights of integers: zero points and nibbles come back to the bit, and onnxruntime computes the same."""

from __future__ import annotations

import pytest

from helpers.chains import assert_sound, stored, through
from helpers.weight_forms import WEIGHT_FORMS


@pytest.mark.parametrize(
    "form",
    [
        "DequantizeLinear, asymmetric uint8",
        "DequantizeLinear, asymmetric int4",
        "DequantizeLinear, int8, several zero points",
        "DequantizeLinear, uint8, several zero points, ConvTranspose",
        "DequantizeLinear, uint4, several zero points, Gemm",
        "DequantizeLinear, uint4 blocks with zero points",
        "DequantizeLinear, uint8 blocks, the last one shorter",
    ],
)
def test_integers_with_zero_points_are_packed_without_loss(form: str) -> None:
    chain = through(WEIGHT_FORMS[form](), simulated=False)
    assert len(stored(chain.packed.proto)) == 1, "it is packed"
    assert_sound(chain)
