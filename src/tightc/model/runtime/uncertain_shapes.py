"""Values that onnxruntime may give another shape than ONNX shape inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx
from onnx import helper

from tightc.model.onnx_proto.graph import is_standard

_Attributes = Mapping[str, Any]


def values_of_uncertain_shape(graph: onnx.GraphProto) -> set[str]:
    """Names of the values of `graph` behind operators where ONNX and onnxruntime may compute different sizes.

    Operators with a subgraph (If, Loop, Scan) and those of other domains, such as functions of the model, count as
    such without a look inside.
    """
    found: set[str] = set()
    for node in graph.node:
        if not found.isdisjoint(node.input) or _is_uncertain(node):
            found.update(name for name in node.output if name)
    return found


def _is_uncertain(node: onnx.NodeProto) -> bool:
    if not is_standard(node.domain):
        return True
    if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        return True
    rule = _RULES.get(node.op_type)
    if rule is None:
        return False
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return rule(node, attributes)


def _resize(node: onnx.NodeProto, attributes: _Attributes) -> bool:
    """Uncertain with scales: ONNX rounds size x scale in float64, onnxruntime in float32, so 10 x 0.7 is 6 or 7.

    An aspect ratio policy turns sizes into scales.
    """
    policy = attributes.get("keep_aspect_ratio_policy", b"stretch")
    return any(node.input[2:3]) or policy != b"stretch"


def _pool(_node: onnx.NodeProto, attributes: _Attributes) -> bool:
    """Uncertain with ceil_mode, and with SAME padding of dilated kernels.

    Before opset 22, ONNX counts a last window that starts in the padding. With SAME, the two libraries pad for
    different kernel sizes.
    """
    if attributes.get("ceil_mode", 0):
        return True
    return _is_same(attributes) and any(step != 1 for step in attributes.get("dilations", ()))


def _conv_transpose(_node: onnx.NodeProto, attributes: _Attributes) -> bool:
    """Uncertain with output_shape, where ONNX drops an axis below the input's size, and with padded SAME output."""
    return "output_shape" in attributes or (_is_same(attributes) and "output_padding" in attributes)


def _range(_node: onnx.NodeProto, _attributes: _Attributes) -> bool:
    """Always uncertain: the number of float32 steps (10 - 0.2) / 0.2 is 49 or 50."""
    return True


def _is_same(attributes: _Attributes) -> bool:
    return attributes.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER")


# Found by comparing both libraries on the node tests of the onnx package and on random settings of fifty operators.
_RULES: dict[str, Callable[[onnx.NodeProto, _Attributes], bool]] = {
    "AveragePool": _pool,
    "ConvTranspose": _conv_transpose,
    "LpPool": _pool,
    "MaxPool": _pool,
    "Range": _range,
    "Resize": _resize,
}
