"""The feature map that a layer reads, and how its window moves over it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from tightc.errors import ModelError
from tightc.model.layer_view.convolution_geometry import conv_geometry
from tightc.model.layer_view.im2col import im2col
from tightc.model.layer_view.layer import CONVOLUTIONS, Layer
from tightc.model.onnx_proto.graph import Node
from tightc.rtl.tile_image import WindowGeometry

_LARGEST_SIDE = 1 << 14  # so that coordinates, with padding, fit 16 bits


@dataclass(frozen=True)
class WindowPath:
    """`images` feature maps of a `geometry`, read at `outputs` places each; `strides` and `pads` are (y, x).

    `bytes`: the maps in memory, (images, channels, height, width) int8. `in_order`: whether they are in the order of
    the tensor that the layer reads, and its outputs in that of the tensor that it writes, channels last.
    """

    geometry: WindowGeometry
    images: int
    strides: tuple[int, int]
    pads: tuple[int, int]
    outputs: tuple[int, int]
    bytes: NDArray[np.int8]
    in_order: bool = True

    @property
    def vectors(self) -> int:
        """Places of the window on all maps."""
        return self.images * prod(self.outputs)

    @property
    def largest_side(self) -> int:
        """The largest coordinate of a map, a window, or the corner of a window."""
        spans = np.multiply(self.geometry.kernel, self.geometry.dilations)
        corners = np.multiply(np.subtract(self.outputs, 1), self.strides) + np.abs(self.pads)
        return int(max(self.geometry.height, self.geometry.width, *spans, *corners))


def window_path(
    layer: Layer, node: Node, value: NDArray[np.int8], zero_point: int, weight_shape: tuple[int, ...]
) -> WindowPath:
    """How `layer` reads `value`, outside of which is `zero_point`.

    What is no convolution over one or two axes reads ready vectors, a map each.
    """
    if layer.is_convolution and value.ndim in (3, 4):
        found = conv_geometry(node, value.shape, weight_shape)
        lead = (1,) * (4 - value.ndim)  # a single axis is x
        kernel, strides, dilations, sizes, outputs = (
            lead + tuple(sides)
            for sides in (found.kernel, found.strides, found.dilations, found.sizes, found.outputs)
        )
        pads = (0,) * (4 - value.ndim) + tuple(found.pads_begin)
        geometry = WindowGeometry(
            value.shape[1], sizes[0], sizes[1], (kernel[0], kernel[1]), (dilations[0], dilations[1])
        )
        path = WindowPath(
            geometry,
            value.shape[0],
            strides=(strides[0], strides[1]),
            pads=(pads[0], pads[1]),
            outputs=(outputs[0], outputs[1]),
            bytes=value,
        )
        if path.largest_side > _LARGEST_SIDE:
            raise ModelError(
                f"{layer.label}: expected feature maps and windows of at most {_LARGEST_SIDE:,} pixels a side, got "
                f"{path.largest_side:,}",
                "give a smaller --input-shape",
            )
        return path
    centered = im2col(layer, node, value.astype(np.int16) - zero_point, weight_shape)  # it pads with zeros
    vectors = (centered + zero_point).astype(np.int8)
    geometry = WindowGeometry(vectors.shape[1], 1, 1, (1, 1), (1, 1))
    transposed = layer.weight_is_left or node.attributes.get("transA", 0)
    in_order = layer.op not in (*CONVOLUTIONS, "ConvTranspose") and layer.groups == 1 and not transposed
    return WindowPath(
        geometry, len(vectors), strides=(1, 1), pads=(0, 0), outputs=(1, 1), bytes=vectors, in_order=in_order
    )
