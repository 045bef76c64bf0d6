"""Reductions over axes: the Reduce operators, ArgMax and ArgMin, TopK, CumSum."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tightc.bridge.operator import Build, Operator, integers
from tightc.model.onnx_proto.graph import Node

Reduce = Callable[[Tensor, list[int], bool], Tensor]
"""Takes x, axes from 0, and whether these keep size 1."""


def reduction(reduce: Reduce) -> Build:
    """An operator that reduces the given axes, or all; they are an attribute in older opsets, then an input."""

    def build(node: Node) -> Operator:
        attribute = node.attributes.get("axes")
        keep_axes = bool(node.attributes.get("keepdims", 1))
        empty_means_none = bool(node.attributes.get("noop_with_empty_axes", 0))

        def run(x: Tensor, axes: Tensor | None = None) -> Tensor:
            named = list(attribute or ()) if axes is None else integers(axes)
            if not named and empty_means_none:
                return reduce(x.unsqueeze(0), [0], False)  # each value alone: ReduceL1 is its magnitude
            return reduce(x, [axis % x.dim() for axis in named] or list(range(x.dim())), keep_axes)

        return run

    return build


def extremum_index(*, largest: bool) -> Build:
    """ArgMax or ArgMin: the index of the extremum along an axis, the first or the last of equal ones."""

    def build(node: Node) -> Operator:
        axis = int(node.attributes.get("axis", 0))
        keep_axis = bool(node.attributes.get("keepdims", 1))
        last = bool(node.attributes.get("select_last_index", 0))
        find = torch.argmax if largest else torch.argmin

        def run(x: Tensor) -> Tensor:
            if not last:
                return find(x, axis, keepdim=keep_axis)
            return x.shape[axis] - 1 - find(x.flip(axis), axis, keepdim=keep_axis)

        return run

    return build


def top_k(node: Node) -> Operator:
    """The k largest or smallest values along an axis, and their indices."""
    axis = int(node.attributes.get("axis", -1))
    largest = bool(node.attributes.get("largest", 1))

    def run(x: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        # a stable sort: of equal values ONNX takes those of lower index
        values, places = torch.sort(x, dim=axis, descending=largest, stable=True)
        (many,) = integers(count)
        return values.narrow(axis, 0, many), places.narrow(axis, 0, many)

    return run


def cumulative_sum(node: Node) -> Operator:
    """The sum of the values up to each place along an axis, or only before it, from either end."""
    exclusive = bool(node.attributes.get("exclusive", 0))
    reverse = bool(node.attributes.get("reverse", 0))

    def run(x: Tensor, axis: Tensor) -> Tensor:
        (place,) = integers(axis)
        x = x.flip(place) if reverse else x
        total = torch.cumsum(x, place, dtype=x.dtype)
        total = total - x if exclusive else total
        return total.flip(place) if reverse else total

    return run


def _product(x: Tensor, axes: list[int], keep_axes: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = torch.prod(x, axis, keepdim=keep_axes, dtype=x.dtype)
    return x


def _sum(x: Tensor, axes: list[int], keep_axes: bool) -> Tensor:
    return torch.sum(x, axes, keepdim=keep_axes, dtype=x.dtype)


def _mean(x: Tensor, axes: list[int], keep_axes: bool) -> Tensor:
    return torch.mean(x, axes, keepdim=keep_axes)


REDUCTIONS: dict[str, Build] = {
    "ArgMax": extremum_index(largest=True),
    "ArgMin": extremum_index(largest=False),
    "CumSum": cumulative_sum,
    "ReduceL1": reduction(lambda x, axes, keep: _sum(x.abs(), axes, keep)),
    "ReduceL2": reduction(lambda x, axes, keep: _sum(x.square(), axes, keep).sqrt()),
    "ReduceLogSum": reduction(lambda x, axes, keep: _sum(x, axes, keep).log()),
    "ReduceLogSumExp": reduction(torch.logsumexp),
    "ReduceMax": reduction(torch.amax),
    "ReduceMean": reduction(_mean),
    "ReduceMin": reduction(torch.amin),
    "ReduceProd": reduction(_product),
    "ReduceSum": reduction(_sum),
    "ReduceSumSquare": reduction(lambda x, axes, keep: _sum(x.square(), axes, keep)),
    "TopK": top_k,
}
