"""Sizes that a model leaves open are tried within memory, and outputs of unknown rank get that of a run."""

from __future__ import annotations

import onnx
import pytest

from helpers import models
from helpers.loading import loaded
from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import ModelError
from tightc.model.runtime.open_sizes import resolve_open_sizes


def test_an_assumed_size_fits_into_memory() -> None:
    proto = models.build(
        "net (float[B, C, D, H, W] x) => (float[B, C, D, H, U] y) { y = MatMul(x, w) }",
        w=models.sparse(32, 4),
    )
    sizes, _ = resolve_open_sizes(proto, "net.onnx", InputSizeOptions())
    assert sizes.input_shape == ("x=1x32x32x32x32",)


def test_outputs_of_an_old_opset_are_compared_within_memory() -> None:
    # no tried size is 7, and 224 in four axes would take 20 GB
    proto = models.build(
        "net (float[B, C, D, H, W] x) => (float[B, C, D, H, U] y) { y = MatMul(x, w) }",
        opset=11,
        w=models.sparse(7, 4),
    )
    words = "outputs not compared (no size of its open inputs was found that runs)"
    assert loaded(proto).normalized[-1].endswith(words)


def carried_by_a_loop(size: str) -> onnx.ModelProto:
    """A value whose rank onnxruntime does not state, since a Loop may change it, read by a Gemm."""
    proto = models.build(
        f"""net (float[{size}, 4] x, int64 n, bool flag) => (float[A, B] y, float[C, D] z) {{
            y = Loop (n, flag, x) <body = once (int64 i, bool b, float[M, 4] s) => (bool a, float[M, 4] t) {{
                a = Identity(b)
                t = MatMul(s, v)
            }}>
            z = Gemm(y, w)
        }}""",
        v=models.sparse(4, 4),
        w=models.sparse(4, 3, seed=1),
    )
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return proto


@pytest.mark.parametrize("size", ["2", "N"])
def test_an_output_of_unknown_rank_gets_that_of_a_run(size: str) -> None:
    model = loaded(carried_by_a_loop(size))
    assert len(model.proto.graph.output[0].type.tensor_type.shape.dim) == 2


def test_an_output_of_unknown_rank_is_refused_where_no_size_runs() -> None:
    proto = carried_by_a_loop("N")
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "K"
    words = (
        r"^net.onnx: expected a shape for output y, got none, and none can be inferred; export the model with the "
        "shapes of its outputs or with fixed input sizes$"
    )
    with pytest.raises(ModelError, match=words):
        loaded(proto)
