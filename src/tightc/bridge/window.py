"""The sliding window that Conv and the poolings share: strides, dilations and padding in ONNX terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from tightc.bridge.operator import choice, refuse
from tightc.model.layer_view.convolution_geometry import same_pads
from tightc.model.onnx_proto.graph import Node


@dataclass(frozen=True)
class Window:
    """Attributes of the sliding window of `node`; an empty list stands for the default of its attribute."""

    node: Node
    auto_pad: str
    pads: list[int]
    strides: list[int]
    dilations: list[int]
    ceil_mode: bool

    @classmethod
    def of(cls, node: Node) -> Window:
        """The window of `node`; ModelError for an auto_pad that ONNX does not know."""
        return cls(
            node=node,
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
        pool = self.node.op != "Conv"
        spans = kernel if pool else self.extents_for(kernel)  # onnxruntime pads pools as if undilated
        axes = zip(sizes, self.strides_for(rank), spans, strict=True)
        sides = [same_pads(size, stride, span, self.auto_pad, pool=pool) for size, stride, span in axes]
        return [begin for begin, _ in sides], [end for _, end in sides]

    def extents_for(self, kernel: Sequence[int]) -> list[int]:
        """How far the window reaches on each axis, its dilation included."""
        dilations = self.dilations_for(len(kernel))
        return [(taps - 1) * dilation + 1 for taps, dilation in zip(kernel, dilations, strict=True)]

    def overhang_for(self, sizes: Sequence[int], kernel: Sequence[int]) -> list[int]:
        """What is missing behind the padded axes of a pool so that its last window is whole.

        ModelError where not even one window fits: the output would be empty.
        """
        begin, end = self.pads_for(sizes, kernel)
        missing = []
        for axis, extent in enumerate(self.extents_for(kernel)):
            stride = self.strides_for(len(kernel))[axis]
            whole = begin[axis] + sizes[axis] + end[axis]
            steps = -(-(whole - extent) // stride) if self.ceil_mode else (whole - extent) // stride
            if self.ceil_mode and steps * stride >= begin[axis] + sizes[axis]:
                steps -= 1  # a window that would start in the padding after the input is left out
            if steps < 0:
                refuse(
                    self.node, f"its window is {extent} wide, but its input, padding included, only {whole}"
                )
            missing.append(max(steps * stride + extent - whole, 0))
        return missing


def padded(x: Tensor, begin: Sequence[int], end: Sequence[int], value: float) -> Tensor:
    """`x` with its last axes padded by `value`; negative padding crops."""
    pairs: list[int] = []
    for before, after in zip(reversed(begin), reversed(end), strict=True):
        pairs += [before, after]
    return functional.pad(x, pairs, value=value)
