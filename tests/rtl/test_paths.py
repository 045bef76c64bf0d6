"""What follows a layer is followed only where it means what it says of the filters: no other axes, no reshapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.rtl_models import Layer, graph, int8
from helpers.rtl_runs import icarus, randomly_packed, simulated
from tightc.rtl.options import RtlOptions
from tightc.rtl.rtl import rtl

FOUR = np.array([0.3, -0.2, 0.9, -0.7], np.float32)


def squares(after: str, **tensors: np.ndarray) -> Layer:
    """As many filters as rows and columns of the outputs, so that a constant's shape alone says what it is of."""
    return Layer("Conv", (2, 3, 6, 6), int8(4, 3, 3, 3), after=after, out_scale=0.05, tensors=tensors)


PATHS = {
    "of filters": (squares("r = Add(a, c)", c=FOUR.reshape(4, 1, 1)), True),
    "of filters, with a batch": (squares("r = Mul(a, c)", c=FOUR.reshape(1, 4, 1, 1)), True),
    "of rows": (squares("r = Add(a, c)", c=FOUR.reshape(4, 1)), False),
    "of columns": (squares("r = Add(a, c)", c=FOUR), False),
    "identity": (squares("i = Identity(a)\n r = Add(i, c)", c=FOUR.reshape(4, 1, 1)), True),
    "flattened": (squares("r = Flatten(a)"), True),
    "rectified after flattening": (squares("f = Flatten(a)\n r = Relu(f)"), False),
    "of another axis after a reshape": (
        squares("f = Reshape(a, s)\n r = Add(f, c)", s=np.array([8, 4, 4, 1]), c=FOUR.reshape(4, 1, 1)),
        False,
    ),
}


@icarus
@pytest.mark.parametrize("name", PATHS)
def test_outputs_are_requantized_only_where_constants_are_of_filters(name: str, tmp_path: Path) -> None:
    layer, requantized = PATHS[name]
    model = randomly_packed(layer.proto(), (4, 4), 3)
    simulated(model, tmp_path)  # VerifyError where a byte is not onnxruntime's
    assert [row["requantized"] for row in rtl(model, RtlOptions()).report.layers] == [requantized]


@icarus
def test_a_pool_of_what_was_reshaped_links_no_layers(tmp_path: Path) -> None:
    proto = graph(
        """(float[2, 3, 6, 6] x) => (float y) {
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            v = DequantizeLinear(w, ws, z)
            [first] a = Conv(d, v)
            p = QuantizeLinear(a, s, z)
            e = DequantizeLinear(p, s, z)
            f = Reshape(e, shape)
            m = MaxPool<kernel_shape = [2, 2]>(f)
            o = QuantizeLinear(m, s, z)
            g = DequantizeLinear(o, s, z)
            u = DequantizeLinear(k, ws, z)
            [second] y = Conv(g, u)
        }""",
        w=int8(4, 3, 3, 3), k=int8(2, 4, 1, 3), shape=np.array([2, 4, 2, 8]), ws=np.float32(0.003), s=np.float32(0.05),
        z=np.int8(0),
    )  # fmt: skip
    model = randomly_packed(proto, (4, 4), 3)
    simulated(model, tmp_path, chain=True)
    assert [row["reads"] for row in rtl(model, RtlOptions()).report.layers] == [None, None]
