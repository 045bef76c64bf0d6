"""Geometry of convolutions, compared with onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from helpers import models
from tightc.errors import ModelError
from tightc.model.layer_view.convolution_geometry import ConvGeometry, conv_geometry, windows
from tightc.model.onnx_proto.graph import Node, read_graph

# input, weight, attributes: group is part of the weight's shape
CASES = {
    "plain": ((2, 3, 6, 7), (4, 3, 3, 3), {}),
    "1x1": ((1, 5, 4, 4), (3, 5, 1, 1), {}),
    "pads on all sides alike": ((2, 3, 5, 6), (4, 3, 3, 3), {"pads": (1, 1, 1, 1)}),
    "pads that differ": ((2, 3, 5, 6), (4, 3, 3, 2), {"pads": (2, 0, 1, 3)}),
    "strides that differ": ((2, 3, 9, 8), (4, 3, 3, 3), {"strides": (2, 3)}),
    "a stride that leaves pixels out": (
        (1, 2, 10, 10),
        (3, 2, 3, 3),
        {"strides": (2, 2), "pads": (1, 1, 1, 1)},
    ),
    "a stride larger than the kernel": ((1, 2, 11, 10), (3, 2, 2, 1), {"strides": (4, 3)}),
    "dilations": ((2, 3, 9, 10), (4, 3, 3, 2), {"dilations": (2, 3)}),
    "all at once": (
        (2, 3, 13, 11),
        (4, 3, 3, 4),
        {"dilations": (3, 2), "strides": (2, 3), "pads": (1, 2, 0, 4)},
    ),
    "grouped": ((2, 8, 6, 6), (12, 2, 3, 3), {"strides": (2, 2), "pads": (1, 1, 1, 1)}),
    "depthwise": ((2, 6, 7, 7), (12, 1, 3, 3), {"dilations": (2, 1)}),
    "1-D": ((3, 4, 11), (5, 4, 3), {"strides": (2,), "pads": (2, 1), "dilations": (2,)}),
    "1-D grouped": ((2, 6, 9), (6, 2, 4), {"pads": (1, 2)}),
    "3-D": ((2, 2, 5, 6, 7), (3, 2, 2, 3, 2), {"strides": (1, 2, 3), "pads": (1, 0, 2, 0, 3, 1)}),
    "3-D depthwise": ((1, 3, 4, 5, 4), (3, 1, 3, 3, 3), {"pads": (1,) * 6}),
    "one window": ((2, 3, 3, 4), (4, 3, 3, 4), {}),
    **{
        f"{auto_pad}, {form}": ((2, 3, *sizes), (4, 3, *kernel), {"auto_pad": auto_pad, "strides": strides})
        for auto_pad in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
        for form, sizes, kernel, strides in (
            ("2-D", (7, 8), (3, 4), (1, 1)),
            ("2-D strided", (7, 8), (4, 3), (2, 3)),
            ("2-D with gaps", (9, 10), (1, 2), (4, 3)),
            ("2-D that cuts pixels off", (11, 13), (2, 1), (9, 13)),
            ("1-D", (10,), (4,), (3,)),
            ("3-D", (4, 5, 6), (2, 3, 4), (1, 2, 2)),
        )
    },
}


def convolution(
    shape: tuple[int, ...], weight: np.ndarray, attributes: dict[str, object]
) -> tuple[onnx.ModelProto, Node, int]:
    """A model of one Conv, its node, and its groups."""
    groups = shape[1] // weight.shape[1]
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], group=groups, **attributes)
    graph = onnx.helper.make_graph(
        [node],
        "net",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_empty_tensor_value_info("y")],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    opset = onnx.helper.make_opsetid("", models.OPSET)
    proto = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=models.IR)
    return proto, read_graph(proto).nodes[0], groups


@pytest.mark.parametrize("case", CASES)
def test_windows_times_the_layer_matrix_is_what_onnxruntime_gives(case: str) -> None:
    shape, weight_shape, attributes = CASES[case]
    rng = np.random.default_rng(len(case))
    x = rng.integers(-9, 10, shape).astype(np.float32)
    weight = rng.integers(-9, 10, weight_shape).astype(np.float32)
    proto, node, groups = convolution(shape, weight, attributes)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": x})[0]

    geometry = conv_geometry(node, shape, weight_shape)
    assert geometry.outputs == expected.shape[2:]
    vectors = windows(x, geometry)
    matrix = weight.reshape(len(weight), -1)
    filters, inputs = len(matrix) // groups, matrix.shape[1]
    assert vectors.shape == (expected.size // len(matrix), inputs * groups)
    found = np.concatenate(
        [
            vectors[:, g * inputs : (g + 1) * inputs] @ matrix[g * filters : (g + 1) * filters].T
            for g in range(groups)
        ],
        axis=1,
    )
    np.testing.assert_array_equal(found, np.moveaxis(expected, 1, -1).reshape(found.shape))


@pytest.mark.parametrize("case", CASES)
def test_pixels_behind_those_needed_are_in_no_window(case: str) -> None:
    shape, weight_shape, attributes = CASES[case]
    _, node, _ = convolution(shape, np.zeros(weight_shape, np.float32), attributes)
    geometry = conv_geometry(node, shape, weight_shape)
    sides = zip(geometry.pads_begin, geometry.sizes, geometry.pads_end, geometry.used_sizes, strict=True)
    for axis, (begin, size, end, needed) in enumerate(sides):
        assert needed <= begin + size + end
        places = np.indices(geometry.sizes)[axis] + 1
        last = windows(places[np.newaxis, np.newaxis], geometry).max()
        assert last <= max(needed - begin, 0)
        if needed <= begin + size:
            assert last == max(needed - begin, 0)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.bool_, np.float64, np.float16])
def test_windows_keep_the_dtype(dtype: type) -> None:
    x = np.arange(2 * 3 * 4).reshape(1, 2, 3, 4).astype(dtype)
    found = windows(x, ConvGeometry((3, 4), (2, 2), (1, 1), (1, 1), (1, 0), (0, 1)))
    assert found.dtype == dtype
    assert found.shape == (3 * 4, 2 * 4)
    np.testing.assert_array_equal(found[0], [0, 0, *x[0, 0, 0, :2], 0, 0, *x[0, 1, 0, :2]])


def test_the_padding_of_a_dilated_kernel_fills_what_it_reaches() -> None:
    # onnxruntime refuses SAME with dilations, other exporters write it
    node = Node("Conv", "", "c", ("x", "w"), ("y",), {"auto_pad": "SAME_LOWER", "dilations": [2, 3]})
    geometry = conv_geometry(node, (1, 3, 8, 9), (4, 3, 3, 2))
    assert (geometry.dilated_kernel, geometry.pads_begin, geometry.pads_end) == ((5, 4), (2, 2), (2, 1))
    assert geometry.outputs == (8, 9)


def test_empty_lists_stand_for_the_defaults() -> None:
    node = Node("Conv", "", "c", ("x", "w"), ("y",), {"pads": [], "strides": [], "dilations": []})
    bare = Node("Conv", "", "c", ("x", "w"), ("y",), {})
    assert conv_geometry(node, (1, 3, 8, 9), (4, 3, 3, 2)) == conv_geometry(bare, (1, 3, 8, 9), (4, 3, 3, 2))


def test_an_auto_pad_that_onnx_does_not_know_is_refused() -> None:
    node = Node("Conv", "", "stem", ("x", "w"), ("y",), {"auto_pad": "SAME"})
    with pytest.raises(ModelError, match=r"stem: expected auto_pad of .*, got SAME; export the model"):
        conv_geometry(node, (1, 3, 8, 9), (4, 3, 3, 2))
