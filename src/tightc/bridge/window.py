"""The sliding window of Conv and pooling: strides, dilations and padding as in ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from tightc.bridge.operator import choice, unsupported
from tightc.model.layer_view.convolution_geometry import same_pads
from tightc.model.onnx_proto.graph import Node


@dataclass(frozen=True)
class Window:
    """Attributes of the sliding window of `node`; an empty list means the attribute's default."""

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
        """Strides of the window, one per spatial axis."""
        return self.strides or [1] * rank

    def dilations_for(self, rank: int) -> list[int]:
        """Dilations of the window, one per spatial axis."""
        return self.dilations or [1] * rank

    def pads_for(self, sizes: Sequence[int], kernel: Sequence[int]) -> tuple[list[int], list[int]]:
        """Padding before and after each spatial axis, for inputs of `sizes` and windows of `kernel`."""
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
        """The dilated size of a window of `kernel` along each axis."""
        dilations = self.dilations_for(len(kernel))
        return [(taps - 1) * dilation + 1 for taps, dilation in zip(kernel, dilations, strict=True)]

    def overhang_for(self, sizes: Sequence[int], kernel: Sequence[int]) -> list[int]:
        """Extra padding at the end of each axis that completes the last window of a pool.

        `sizes` are the input sizes, `kernel` the window's. ModelError where no window fits.
        """
        begin, end = self.pads_for(sizes, kernel)
        missing = []
        for axis, dilated in enumerate(self.extents_for(kernel)):
            stride = self.strides_for(len(kernel))[axis]
            padded_size = begin[axis] + sizes[axis] + end[axis]
            steps = (
                -(-(padded_size - dilated) // stride) if self.ceil_mode else (padded_size - dilated) // stride
            )
            if self.ceil_mode and steps * stride >= begin[axis] + sizes[axis]:
                steps -= 1  # a window that would start in the end padding is dropped
            if steps < 0:
                unsupported(
                    self.node, f"a padded input of at least its window's size, {dilated}", padded_size
                )
            missing.append(max(steps * stride + dilated - padded_size, 0))
        return missing


def padded(x: Tensor, begin: Sequence[int], end: Sequence[int], value: float) -> Tensor:
    """`x` with its last axes padded by `value` before (`begin`) and after (`end`); negative padding crops."""
    pairs: list[int] = []
    for before, after in zip(reversed(begin), reversed(end), strict=True):
        pairs += [before, after]
    return functional.pad(x, pairs, value=value)
