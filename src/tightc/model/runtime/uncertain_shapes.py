"""Values with an inferred shape that may not be the one that onnxruntime computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx
from onnx import helper

from tightc.model.onnx_proto.graph import is_standard

_Attributes = Mapping[str, Any]


def values_of_uncertain_shape(graph: onnx.GraphProto) -> set[str]:
    """Names of the values behind operators with sizes that ONNX and onnxruntime may compute differently.

    Operators with a body (If, Loop, Scan) and those of other domains, functions of the model among them, count as
    such: what is inside is not looked into.
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
    """With a scale: ONNX rounds size x scale as a double, onnxruntime as a float32: 10 x 0.7 is 6 or 7.

    A policy on the aspect ratio makes a scale of the sizes.
    """
    policy = attributes.get("keep_aspect_ratio_policy", b"stretch")
    return any(node.input[2:3]) or policy != b"stretch"


def _pool(_node: onnx.NodeProto, attributes: _Attributes) -> bool:
    """Before opset 22 ONNX counts a last window that starts in the padding; with SAME both pad for other kernels."""
    if attributes.get("ceil_mode", 0):
        return True
    return _is_same(attributes) and any(step != 1 for step in attributes.get("dilations", ()))


def _conv_transpose(_node: onnx.NodeProto, attributes: _Attributes) -> bool:
    """ONNX drops an axis with an output_shape below its input's size, and adds output_padding to SAME."""
    return "output_shape" in attributes or (_is_same(attributes) and "output_padding" in attributes)


def _range(_node: onnx.NodeProto, _attributes: _Attributes) -> bool:
    """The number of float32 steps: (10 - 0.2) / 0.2 is 49 or 50."""
    return True


def _is_same(attributes: _Attributes) -> bool:
    return attributes.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER")


# Found by comparing both on the node tests of the onnx package and on random settings of fifty operators.
_RULES: dict[str, Callable[[onnx.NodeProto, _Attributes], bool]] = {
    "AveragePool": _pool,
    "ConvTranspose": _conv_transpose,
    "LpPool": _pool,
    "MaxPool": _pool,
    "Range": _range,
    "Resize": _resize,
}
