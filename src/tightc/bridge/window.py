"""The sliding window that Conv and the poolings share: strides, dilations and padding in ONNX terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from tightc.bridge.operator import choice
from tightc.model.graph import Node


@dataclass(frozen=True)
class Window:
    """Attributes of a sliding window; an empty list stands for the default of its attribute."""

    auto_pad: str
    pads: list[int]
    strides: list[int]
    dilations: list[int]
    ceil_mode: bool

    @classmethod
    def of(cls, node: Node) -> Window:
        """The window of `node`; ModelError for an auto_pad that ONNX does not know."""
        return cls(
            auto_pad=choice(node, "auto_pad", "NOTSET", ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")),
            pads=list(node.attributes.get("pads", ())),
            strides=list(node.attributes.get("strides", ())),
            dilations=list(node.attributes.get("dilations", ())),
            ceil_mode=bool(node.attributes.get("ceil_mode", 0)),
        )

    def strides_for(self, rank: int) -> list[int]:
        """Steps of the window, (spatial axes,)."""
        return self.strides or [1] * rank

    def dilations_for(self, rank: int) -> list[int]:
        """Distances between the window's taps, (spatial axes,)."""
        return self.dilations or [1] * rank

    def pads_for(self, sizes: Sequence[int], kernel: Sequence[int]) -> tuple[list[int], list[int]]:
        """Padding before and after each of the spatial axes, whose input sizes are `sizes`."""
        rank = len(kernel)
        if self.auto_pad == "VALID" or (self.auto_pad == "NOTSET" and not self.pads):
            return [0] * rank, [0] * rank
        if self.auto_pad == "NOTSET":
            return self.pads[:rank], self.pads[rank:]
        extents = self.extents_for(kernel)
        less, more = [], []
        for size, stride, extent in zip(sizes, self.strides_for(rank), extents, strict=True):
            total = max((-(-size // stride) - 1) * stride + extent - size, 0)
            less.append(total // 2)
            more.append(total - total // 2)
        return (less, more) if self.auto_pad == "SAME_UPPER" else (more, less)

    def extents_for(self, kernel: Sequence[int]) -> list[int]:
        """How far the window reaches on each axis, its dilation included."""
        dilations = self.dilations_for(len(kernel))
        return [(taps - 1) * dilation + 1 for taps, dilation in zip(kernel, dilations, strict=True)]

    def overhang_for(self, sizes: Sequence[int], kernel: Sequence[int]) -> list[int]:
        """What ceil_mode adds after the padded axes, so that the last window is whole."""
        begin, end = self.pads_for(sizes, kernel)
        if not self.ceil_mode:
            return [0] * len(kernel)
        added = []
        for axis, extent in enumerate(self.extents_for(kernel)):
            stride = self.strides_for(len(kernel))[axis]
            whole = begin[axis] + sizes[axis] + end[axis]
            last = -(-(whole - extent) // stride) * stride
            if last >= begin[axis] + sizes[axis]:
                last -= stride  # a window that would start in the padding after the input is left out
            added.append(max(last + extent - whole, 0))
        return added


def padded(x: Tensor, begin: Sequence[int], end: Sequence[int], value: float) -> Tensor:
    """`x` with its last axes padded by `value`; negative padding crops."""
    pairs: list[int] = []
    for before, after in zip(reversed(begin), reversed(end), strict=True):
        pairs += [before, after]
    return functional.pad(x, pairs, value=value)
