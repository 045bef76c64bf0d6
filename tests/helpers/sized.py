"""Models with operators that onnxruntime may give another size than ONNX infers. Nothing is imported from tightc."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from helpers import models


@dataclass(frozen=True)
class Sized:
    """One operator on an input x of a shape, with constants in their order; an empty one is omitted."""

    op: str
    shape: tuple[int, ...]
    constants: tuple[Any, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = models.OPSET

    def model(self, open_batch: bool = False) -> onnx.ModelProto:
        """x -> operator -> y -> Relu -> z, with no sizes but those of x."""
        names = [f"c{place}" if len(array) else "" for place, array in enumerate(self.constants)]
        nodes = [
            helper.make_node(self.op, ["x", *names], ["y"], name="sized", **self.attributes),
            helper.make_node("Relu", ["y"], ["z"]),
        ]
        sizes = ["B", *self.shape[1:]] if open_batch else self.shape
        graph = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, sizes)],
            [helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, None)],
            [
                numpy_helper.from_array(np.asarray(array), name)
                for name, array in zip(names, self.constants, strict=True)
                if name
            ],
        )
        opset = helper.make_opsetid("", self.opset)
        return helper.make_model(graph, opset_imports=[opset], ir_version=models.IR)

    def image(self) -> np.ndarray:
        return np.random.default_rng(0).standard_normal(self.shape).astype(np.float32)


def by_onnxruntime(proto: onnx.ModelProto, names: list[str], **feeds: np.ndarray) -> list[np.ndarray] | None:
    """The values `names`; None where onnxruntime cannot run the model."""
    watched = onnx.ModelProto()
    watched.CopyFrom(proto)
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return session.run(names, feeds)
    except Exception:  # noqa: BLE001
        return None


def _scales(*scales: float) -> tuple[Any, ...]:
    return (), np.array(scales, np.float32)


def _sizes(*sizes: int) -> tuple[Any, ...]:
    return (), (), np.array(sizes, np.int64)


_CUT = {"strides": [2, 4], "ceil_mode": 1}  # the last window would start in the padding
_SAME = {"kernel_shape": [3, 2], "dilations": [2, 1], "auto_pad": "SAME_UPPER"}
_HALF = {"mode": "nearest", "coordinate_transformation_mode": "half_pixel"}

POOLS = {
    "ceil_mode": Sized("MaxPool", (2, 3, 7, 8), (), {"kernel_shape": [3, 2], **_CUT}, 13),
    "ceil_mode, opset 22": Sized("MaxPool", (2, 3, 7, 8), (), {"kernel_shape": [3, 2], **_CUT}, 22),
    "ceil_mode, mean": Sized("AveragePool", (2, 3, 7, 8), (), {"kernel_shape": [3, 2], **_CUT}, 13),
    "ceil_mode, pads": Sized(
        "AveragePool", (1, 2, 6, 6), (), {"kernel_shape": [3, 3], "pads": [1, 1, 2, 2], **_CUT}, 13
    ),
    "ceil_mode, a window larger than its input": Sized(
        "MaxPool", (1, 2, 2, 2), (), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}
    ),
    "SAME, dilated": Sized("MaxPool", (1, 2, 7, 8), (), _SAME),
    "SAME, dilated, mean": Sized("AveragePool", (1, 2, 9, 7), (), {**_SAME, "strides": [2, 2]}),
    "SAME, dilated, before": Sized("MaxPool", (1, 2, 9, 8), (), {**_SAME, "auto_pad": "SAME_LOWER"}),
    "SAME, strides that cut pixels off": Sized(
        "AveragePool", (1, 2, 5, 8), (), {"kernel_shape": [2, 3], "strides": [5, 3], "auto_pad": "SAME_UPPER"}
    ),
    "dilated, padding alone": Sized(
        "MaxPool", (1, 1, 2), (), {"kernel_shape": [2], "dilations": [3], "pads": [1, 1]}
    ),
}

RESIZES = {
    "nearest": Sized("Resize", (2, 3, 10, 20), _scales(1, 1, 0.7, 0.7), {"mode": "nearest"}),
    "opset 13": Sized("Resize", (2, 3, 5, 10), _scales(1, 1, 1.4, 1.3), {"mode": "linear"}, 13),
    "axes": Sized("Resize", (1, 2, 5, 20), _scales(2.6, 0.9), {"mode": "linear", "axes": [2, 3]}),
    "a tie": Sized("Resize", (1, 1, 17), _scales(1, 1, 0.3), {**_HALF, "nearest_mode": "round_prefer_ceil"}),
    "scales without an effect": Sized("Resize", (1, 1, 4, 7), _scales(1, 1, 1.05, 1.1), {"mode": "linear"}),
    "not_larger": Sized(
        "Resize", (4, 9), _sizes(7, 7), {"mode": "nearest", "keep_aspect_ratio_policy": "not_larger"}
    ),
    "not_smaller": Sized(
        "Resize", (6, 10), _sizes(9, 13), {"mode": "linear", "keep_aspect_ratio_policy": "not_smaller"}
    ),
    "not_smaller, halfway": Sized(
        "Resize", (15, 10), _sizes(6, 21), {"mode": "nearest", "keep_aspect_ratio_policy": "not_smaller"}
    ),
}

OTHERS = {
    "ConvTranspose, output_shape": Sized(
        "ConvTranspose",
        (1, 2, 4, 5),
        (models.sparse(2, 3, 3, 3),),
        {"strides": [2, 2], "output_shape": [8, 4]},
    ),
    "ConvTranspose, SAME with output_padding": Sized(
        "ConvTranspose",
        (1, 2, 4, 5),
        (models.sparse(2, 3, 3, 3),),
        {"strides": [2, 2], "auto_pad": "SAME_UPPER", "output_padding": [1, 1]},
    ),
}


@st.composite
def pools(draw: st.DrawFn) -> Sized:
    """A MaxPool or AveragePool with any settings; onnxruntime may refuse them."""
    rank = draw(st.integers(1, 3))

    def sides(low: int, high: int, count: int = rank) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=count, max_size=count))

    op = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    opset = draw(st.sampled_from([13, 19, 22]))
    kernel = sides(1, 5)
    attributes: dict[str, Any] = {"kernel_shape": kernel, "ceil_mode": draw(st.integers(0, 1))}
    attributes["strides"] = sides(1, 5)
    if op == "MaxPool" or opset >= 19:
        attributes["dilations"] = sides(1, 3)
    auto_pad = draw(st.sampled_from(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if auto_pad == "NOTSET":
        attributes["pads"] = [draw(st.integers(0, taps - 1)) for taps in kernel * 2]
    else:
        attributes["auto_pad"] = auto_pad
    if op == "AveragePool":
        attributes["count_include_pad"] = draw(st.integers(0, 1))
    return Sized(op, (1, 2, *sides(1, 12)), (), attributes, opset)


_COORDINATES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]


@st.composite
def resizes(draw: st.DrawFn) -> Sized:
    """A Resize of the spatial axes of an image by scales with one decimal digit, or to sizes."""
    rank = draw(st.integers(1, 3))
    shape = (1, 2, *draw(st.lists(st.integers(1, 20), min_size=rank, max_size=rank)))
    opset = draw(st.sampled_from([13, 18, 19]))
    mode = draw(st.sampled_from(["nearest"] if rank == 1 else ["nearest", "linear"]))
    known = _COORDINATES if opset == 19 else _COORDINATES[:-1]
    attributes: dict[str, Any] = {
        "mode": mode,
        "coordinate_transformation_mode": draw(st.sampled_from(known)),
    }
    if mode == "nearest":
        roundings = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
        attributes["nearest_mode"] = draw(st.sampled_from(roundings))
    named = opset >= 18 and draw(st.booleans())
    if named:
        attributes["axes"] = list(range(2, 2 + rank))
    if draw(st.booleans()):
        scales = [draw(st.integers(1, 30)) / 10 for _ in range(rank)]
        return Sized("Resize", shape, _scales(*([] if named else [1, 1]), *scales), attributes, opset)
    if named:
        policies = ["stretch", "not_larger", "not_smaller"]
        attributes["keep_aspect_ratio_policy"] = draw(st.sampled_from(policies))
    sizes = [draw(st.integers(1, 20)) for _ in range(rank)]
    return Sized("Resize", shape, _sizes(*([] if named else shape[:2]), *sizes), attributes, opset)


def scaled(batch: str = "B") -> onnx.ModelProto:
    """A Conv, a Resize by a scale, a MaxPool in ceil mode before two more layers: 10x10, 7x7, 5x5 and 2x2 pixels.

    ONNX infers 6x6 behind the Resize, and behind the pool 1x1.
    """
    return models.build(
        f"""net (float[{batch}, 3, 10, 10] x) => (float[{batch}, 4] y) {{
            [first] a = Conv<pads = [1, 1, 1, 1]>(x, v)
            b = Resize<mode = "nearest">(a, , scales)
            [second] c = Conv(b, w)
            d = MaxPool<kernel_shape = [2, 2], strides = [4, 4], ceil_mode = 1>(c)
            [third] e = Conv(d, u)
            f = GlobalAveragePool(e)
            y = Flatten(f)
        }}""",
        v=models.sparse(6, 3, 3, 3),
        w=models.sparse(8, 6, 3, 3),
        u=models.sparse(4, 8, 1, 1, density=0.8),
        scales=np.array([1, 1, 0.7, 0.7], np.float32),
    )
