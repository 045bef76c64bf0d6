"""How operators other than layers pass channels on: a table of rules, one for each kind of operator.

A rule gives the maps of a node's outputs, or None where it cannot tell. It must never call a channel zero that is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tightc.model.onnx_proto.graph import Array, Node
from tightc.selection.channels import ALWAYS, NEVER
from tightc.selection.network.channel_map import ChannelMap, with_rank
from tightc.selection.network.channel_moves import MOVES
from tightc.selection.network.channel_trace import ChannelTrace

Rule = Callable[[ChannelTrace, Node], ChannelMap | None]

# operators of one input that are zero for zero ...
_ACTIVATIONS = "Relu LeakyRelu ThresholdedRelu Elu Celu Selu Gelu HardSwish Mish Tanh Softsign Swish"
_OTHERS = (
    "Abs Neg Erf Sqrt Sign Floor Ceil Round Sin Sinh Asin Asinh Tan Atan Atanh Identity Cast CastLike Dropout"
)
# ... and those that are not
_NONZERO = "Sigmoid Softplus Exp Cos Cosh Acos"
_POOLING = "MaxPool AveragePool LpPool GlobalMaxPool GlobalAveragePool GlobalLpPool"
_REDUCTIONS = "ReduceSum ReduceMean ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceSumSquare"


def follow(trace: ChannelTrace, node: Node) -> list[ChannelMap] | None:
    """The maps of the outputs of `node`, which reads at least one value with a map; None where they cannot be told."""
    if node.op in MOVES:
        return MOVES[node.op](trace, node)
    rule = RULES.get(node.op)
    more = [name for name in node.outputs[1:] if name and name in trace.values.readers]
    found = None if rule is None or more else rule(trace, node)
    return None if found is None else [found]


def _same(trace: ChannelTrace, node: Node) -> ChannelMap | None:
    """Zero for zero."""
    return trace.maps.get(node.inputs[0])


def _nonzero(trace: ChannelTrace, node: Node) -> ChannelMap | None:
    """Some constant for zero."""
    return trace.nonzero(trace.maps[node.inputs[0]], _label(node))


def _label(node: Node) -> str:
    return f"{node.op} {node.label}"


def _factors(trace: ChannelTrace, node: Node) -> list[ChannelMap] | None:
    """The maps of the operands of `node` but the constants, in the rank of its output."""
    ranks = [trace.values.ranks.get(name, 0) for name in node.inputs]
    ranks += [trace.maps[name].ndim for name in node.inputs if name in trace.maps]
    if any(name not in trace.maps and name not in trace.values.ranks for name in node.inputs):
        return None
    never = np.full(1, NEVER)
    return [
        with_rank(trace.maps.get(name, never), max(ranks))
        for name in node.inputs
        if trace.values.addend(name) is None
    ]


def _addends(trace: ChannelTrace, node: Node) -> list[tuple[int, Array]]:
    """The constant operands of `node`: the input, and the numbers behind it."""
    found = [(slot, trace.values.addend(name)) for slot, name in enumerate(node.inputs)]
    return [(slot, addend.numbers) for slot, addend in found if addend is not None]


def _sum(trace: ChannelTrace, node: Node) -> ChannelMap | None:
    """A sum is zero if all that is added is."""
    maps = _factors(trace, node)
    channels = None if maps is None else trace.join(maps, "all")
    for slot, _ in _addends(trace, node):
        channels = None if channels is None else trace.shifted(channels, node, slot)
    return channels


def _product(trace: ChannelTrace, node: Node) -> ChannelMap | None:
    """A product is zero if one of its factors is."""
    maps = _factors(trace, node)
    if maps is None:
        return None
    channels: ChannelMap | None = maps[0]
    for factor in maps[1:]:
        channels = None if channels is None else trace.join([channels, factor], "any")
    return channels


def _quotient(trace: ChannelTrace, node: Node) -> ChannelMap | None:
    """Zero over anything but a zero."""
    divisor = trace.values.constant(node, 1)
    if node.inputs[1] in trace.maps or (divisor is not None and not np.all(divisor)):
        return None
    return _product(trace, node)


def _power(trace: ChannelTrace, node: Node) -> ChannelMap | None:
    exponent = trace.values.constant(node, 1)
    if exponent is None or not (exponent > 0).all() or exponent.size > 1:
        return None
    return trace.maps[node.inputs[0]]


def _extreme(trace: ChannelTrace, node: Node) -> ChannelMap | None:
    """The largest or smallest of several is zero if all are, and constants do not reach beyond zero."""
    maps = _factors(trace, node)
    channels = None if maps is None else trace.join(maps, "all")
    bounds = [numbers if node.op == "Max" else -numbers for _, numbers in _addends(trace, node)]
    if channels is not None and any((bound > 0).any() for bound in bounds):
        return trace.nonzero(channels, _label(node))
    return channels


def _clip(trace: ChannelTrace, node: Node) -> ChannelMap | None:
    channels = trace.maps.get(node.inputs[0])
    bounds = [trace.values.constant(node, slot) for slot in (1, 2)]
    given = [len(node.inputs) > slot and bool(node.inputs[slot]) for slot in (1, 2)]
    if channels is None or any(there and bound is None for there, bound in zip(given, bounds, strict=True)):
        return None
    low, high = bounds
    if (low is not None and (low > 0).any()) or (high is not None and (high < 0).any()):
        return trace.nonzero(channels, _label(node))
    return channels


def _hard_sigmoid(trace: ChannelTrace, node: Node) -> ChannelMap | None:
    return _same(trace, node) if node.attributes.get("beta", 0.5) <= 0 else _nonzero(trace, node)


def _slope(trace: ChannelTrace, node: Node) -> ChannelMap | None:
    """PRelu: its slopes do not matter."""
    return None if node.inputs[1] in trace.maps else trace.maps[node.inputs[0]]


def _choice(trace: ChannelTrace, node: Node) -> ChannelMap | None:
    """Where: zero if both choices are."""
    rank = trace.values.ranks.get(node.outputs[0])
    if node.inputs[0] in trace.maps or rank is None:
        return None
    maps = []
    for name in node.inputs[1:]:
        addend = trace.values.addend(name)
        default = ALWAYS if addend is not None and not addend.numbers.any() else NEVER
        maps.append(with_rank(trace.maps.get(name, np.full(1, default)), rank))
    return trace.join(maps, "all")


def _norm(trace: ChannelTrace, node: Node) -> ChannelMap | None:
    """A norm with stored statistics, or over a channel's own pixels, shifts channels by constants."""
    channels = trace.maps[node.inputs[0]]
    if node.attributes.get("training_mode", 0) or channels.ndim < 2:
        return None
    if any(name in trace.maps for name in node.inputs[1:]) or any(side > 1 for side in channels.shape[2:]):
        return None
    for slot in (2, 3) if node.op == "BatchNormalization" else (2,):
        channels = trace.shifted(channels, node, slot, (1,))
    return channels


def _across_channels(trace: ChannelTrace, node: Node) -> ChannelMap | None:
    """LRN: zero for zero, but a channel is scaled by its neighbors."""
    trace.mark_read(trace.maps[node.inputs[0]])
    return trace.maps[node.inputs[0]]


def _pool(trace: ChannelTrace, node: Node) -> ChannelMap | None:
    channels = trace.maps[node.inputs[0]]
    return channels if all(side == 1 for side in channels.shape[2:]) else None


def _reduce(trace: ChannelTrace, node: Node) -> ChannelMap | None:
    channels = trace.maps[node.inputs[0]]
    axes: Any = node.attributes.get("axes")
    if len(node.inputs) > 1 and node.inputs[1]:
        axes = trace.values.constant(node, 1)
        if axes is None:
            return None
    if axes is None or not len(axes):
        if node.attributes.get("noop_with_empty_axes", 0):
            return channels
        axes = range(channels.ndim)
    axes = sorted({int(axis) % channels.ndim for axis in axes})
    reduced = trace.sum_along(channels, axes)
    return reduced if node.attributes.get("keepdims", 1) else reduced.squeeze(tuple(axes))


def _quantize(trace: ChannelTrace, node: Node) -> ChannelMap | None:
    """QuantizeLinear: with a zero point of 0, or directly before a DequantizeLinear with the same, zero stays zero."""
    zero = trace.values.constant(node, 2)
    if node.inputs[0] not in trace.maps or (zero is None and any(node.inputs[2:3])):
        return None
    if zero is not None and zero.any():
        readers = [reader for reader in trace.values.graph.nodes if node.outputs[0] in reader.inputs]
        if not all(_dequantizes(trace, reader, zero) for reader in readers):
            return None
    return trace.maps[node.inputs[0]]


def _dequantizes(trace: ChannelTrace, node: Node, zero: Array) -> bool:
    """Whether `node` is a DequantizeLinear with this zero point."""
    own = trace.values.constant(node, 2)
    return node.op == "DequantizeLinear" and own is not None and np.array_equal(own, zero)


def _dequantize(trace: ChannelTrace, node: Node) -> ChannelMap | None:
    zero = trace.values.constant(node, 2)
    if zero is None and any(node.inputs[2:3]):
        return None
    if zero is not None and zero.any():
        source = trace.values.producers.get(node.inputs[0])
        own = None if source is None or source.op != "QuantizeLinear" else trace.values.constant(source, 2)
        if own is None or not np.array_equal(own, zero):
            return None
    return trace.maps[node.inputs[0]]


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(f"{_ACTIVATIONS} {_OTHERS}".split(), _same),
    **dict.fromkeys(_NONZERO.split(), _nonzero),
    **dict.fromkeys(_POOLING.split(), _pool),
    **dict.fromkeys(_REDUCTIONS.split(), _reduce),
    **dict.fromkeys(("Add", "Sub", "Sum", "Mean"), _sum),
    **dict.fromkeys(("Max", "Min"), _extreme),
    "Mul": _product,
    "Div": _quotient,
    "Pow": _power,
    "Clip": _clip,
    "HardSigmoid": _hard_sigmoid,
    "PRelu": _slope,
    "Where": _choice,
    "BatchNormalization": _norm,
    "InstanceNormalization": _norm,
    "LRN": _across_channels,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
}
