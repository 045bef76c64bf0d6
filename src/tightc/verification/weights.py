"""The weights of two models compared exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tightc.model.file import Model
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layers import Network, read_network
from tightc.model.layer_view.matching import match_layers
from tightc.model.layer_view.quantized_weights import QuantizedWeight
from tightc.model.onnx_proto.graph import constant_tensors
from tightc.model.onnx_proto.stored_tensors import tensor_values

Row = dict[str, Any]


def weight_rows(a: Model, b: Model) -> Iterator[Row]:
    """A row for each weight of the plain models, and one for each other constant that is in both and differs.

    Weights have to be the same numbers of the same type, to the bit but for the sign of zeros.
    """
    before, after = read_network(a), read_network(b)
    for one, two in match_layers(before, after):
        layer = one or two
        if layer is not None and layer.shared_with is None:
            yield _weight_row(before, one, after, two)
    weights = {layer.weight for network in (before, after) for layer in network.layers}
    others = dict(constant_tensors(b.proto))
    for name, tensor in constant_tensors(a.proto):
        if name in others and name not in weights:
            row = _compared(name, "constant", tensor_values(tensor), tensor_values(others[name]))
            if row["result"] == "failed":
                yield row


def _weight_row(a: Network, one: Layer | None, b: Network, two: Layer | None) -> Row:
    if one is None or two is None:
        side, network, layer = ("a", a, one) if one else ("b", b, two)
        assert layer is not None, "a pair holds a layer"
        kind = network.stored[layer.weight].name
        size = int(np.prod(network.shapes[layer.weight]))
        return _row(layer.name, "weight", kind, size, reason=f"only in {side}")
    types = a.stored[one.weight].name, b.stored[two.weight].name
    if types[0] != types[1]:
        size = int(np.prod(a.shapes[one.weight]))
        return _row(one.name, "weight", types[0], size, reason=f"{types[0]} in a, {types[1]} in b")
    row = _compared(one.name, "weight", a.weights[one.weight], b.weights[two.weight], types[0])
    if row["result"] == "ok" and not _scales_alike(a.quantized.get(one.weight), b.quantized.get(two.weight)):
        row |= {"result": "failed", "reason": "other scales or zero points"}
    return row


def _scales_alike(a: QuantizedWeight | None, b: QuantizedWeight | None) -> bool:
    return a is b if a is None or b is None else a.scales_like(b)


def _compared(name: str, kind: str, before: Any, after: Any, type_name: str = "") -> Row:
    """The row of two arrays."""
    type_name = type_name or before.dtype.name
    if before.dtype != after.dtype:
        reason = f"{before.dtype.name} in a, {after.dtype.name} in b"
        return _row(name, kind, type_name, before.size, reason=reason)
    if before.shape != after.shape:
        shapes = ("x".join(map(str, array.shape)) or "1" for array in (before, after))
        return _row(name, kind, type_name, before.size, reason=" in a, ".join(shapes) + " in b")
    if before.dtype.kind in "OSU":
        differing = int(np.count_nonzero(before != after))
        return _row(name, kind, type_name, before.size, differing)
    both_nan = (before != before) & (after != after)  # NaN differs from itself
    unequal = (before != after) & ~both_nan
    differing = int(np.count_nonzero(unequal))
    largest = 0.0
    if differing:
        with np.errstate(invalid="ignore", over="ignore"):
            change = np.abs(before[unequal].astype(np.float64) - after[unequal].astype(np.float64))
        largest = float(np.nanmax(np.nan_to_num(change, nan=np.inf)))
    return _row(name, kind, type_name, before.size, differing, largest)


def _row(
    name: str,
    kind: str,
    type_name: str,
    values: int,
    differing: int | None = None,
    largest: float | None = None,
    *,
    reason: str | None = None,
) -> Row:
    """A row, which fails where values differ or a `reason` is given."""
    failed = bool(differing) or reason is not None
    return {
        "name": name,
        "kind": kind,
        "type": type_name,
        "values": values,
        "differing": differing,
        "largest_difference": largest if largest is None or np.isfinite(largest) else None,
        "error": None,
        "result": "failed" if failed else "ok",
        "reason": reason,
    }
