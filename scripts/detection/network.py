"""The detector: a small network in the manner of YOLOv8, without anchors, with a head for each of two scales."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from detection.scenes import CLASSES, SIDE

STRIDES = (8, 16)  # pixels of a cell of the small and of the large scale
VALUES = (
    "small.boxes",
    "small.classes",
    "large.boxes",
    "large.classes",
)  # what the heads give, before decoding
_CLASS_BIAS = -4.6  # a probability of 1 % at the start, since few cells hold an object
_OPSET = 17


class ConvNorm(nn.Sequential):
    """A convolution without bias, a norm and SiLU."""

    def __init__(self, channels: int, filters: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels, filters, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(filters),
            nn.SiLU(),
        )


class SplitBlock(nn.Module):
    """Half of the channels passes by a residual pair of convolutions; all three parts are joined (C2f)."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        half = filters // 2
        self.split = ConvNorm(channels, filters, 1)
        self.pair = nn.Sequential(ConvNorm(half, half), ConvNorm(half, half))
        self.join = ConvNorm(half * 3, filters, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, rows, columns) to (batch, filters, rows, columns)."""
        left, right = self.split(x).chunk(2, dim=1)
        return self.join(torch.cat((left, right, right + self.pair(right)), dim=1))  # type: ignore[no-any-return]


class Head(nn.Module):
    """Distances to the four sides of a box and logits of the classes, for each cell."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.boxes = nn.Sequential(ConvNorm(channels, 32), nn.Conv2d(32, 4, 1))
        self.classes = nn.Sequential(ConvNorm(channels, channels), nn.Conv2d(channels, CLASSES, 1))
        nn.init.constant_(self.classes[-1].bias, _CLASS_BIAS)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Raw distances, (batch, 4, rows, columns), and logits, (batch, CLASSES, rows, columns)."""
        return self.boxes(x), self.classes(x)


class Detector(nn.Module):
    """Scenes to the raw values of the heads, and with `decoded` to boxes and probabilities."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            ConvNorm(3, width, stride=2),
            ConvNorm(width, 2 * width, stride=2),
            SplitBlock(2 * width, 2 * width),
            ConvNorm(2 * width, 4 * width, stride=2),
            SplitBlock(4 * width, 4 * width),
        )
        self.coarse = nn.Sequential(
            ConvNorm(4 * width, 8 * width, stride=2), SplitBlock(8 * width, 8 * width)
        )
        self.up = nn.Upsample(scale_factor=2)
        self.merged = SplitBlock(12 * width, 4 * width)
        self.down = ConvNorm(4 * width, 4 * width, stride=2)
        self.merged_again = SplitBlock(12 * width, 8 * width)
        self.small, self.large = Head(4 * width), Head(8 * width)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`image`: (batch, 3, SIDE, SIDE), pixels / 255. The four VALUES, each (batch, values, rows, columns)."""
        fine = self.fine(image)
        coarse = self.coarse(fine)
        small = self.merged(torch.cat((self.up(coarse), fine), dim=1))
        large = self.merged_again(torch.cat((self.down(small), coarse), dim=1))
        return (*self.small(small), *self.large(large))


class Decoded(nn.Module):
    """The detector with boxes in pixels and probabilities as one output, as exporters write it."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> Tensor:
        """(batch, 4 + CLASSES, cells): left, top, right, bottom, then the probability of each class."""
        return decoded(*self.detector(image))


def centers(stride: int) -> tuple[Tensor, Tensor]:
    """Horizontal and vertical places of the centers of the cells, in pixels: (1, columns), (rows, 1)."""
    places = (torch.arange(SIDE // stride) + 0.5) * stride
    return places[None, :], places[:, None]


def box_of(distances: Tensor, stride: int) -> Tensor:
    """Raw distances, (batch, 4, rows, columns), as left, top, right, bottom in pixels, of the same shape.

    The exponential keeps them positive: FCOS (Tian et al. 2019), section 3.1.
    """
    left, top, right, bottom = (distances.exp() * stride).unbind(1)
    x, y = centers(stride)
    return torch.stack((x - left, y - top, x + right, y + bottom), 1)


def decoded(small_boxes: Tensor, small_classes: Tensor, large_boxes: Tensor, large_classes: Tensor) -> Tensor:
    """The values of the heads as (batch, 4 + CLASSES, cells)."""
    scales = ((small_boxes, small_classes, STRIDES[0]), (large_boxes, large_classes, STRIDES[1]))
    parts = [
        torch.cat((box_of(boxes, stride), classes.sigmoid()), 1).flatten(2)
        for boxes, classes, stride in scales
    ]
    return torch.cat(parts, 2)


def export(detector: Detector, path: Path) -> None:
    """Writes the trained detector as ONNX: input `image` of any batch, output `detections`.

    The values that the heads give before decoding are named as VALUES says.
    """
    import onnx

    torch.onnx.export(
        Decoded(detector).eval(),
        (torch.zeros(2, 3, SIDE, SIDE),),
        str(path),
        input_names=["image"],
        output_names=["detections"],
        opset_version=_OPSET,
        dynamic_axes={"image": {0: "batch"}, "detections": {0: "batch"}},
        dynamo=False,
    )
    model = onnx.load(path)
    outputs = {node.name: node.output[0] for node in model.graph.node}
    heads = [value.split(".") for value in VALUES]
    names = {outputs[f"/detector/{scale}/{kind}/{kind}.1/Conv"]: f"{scale}.{kind}" for scale, kind in heads}
    for node in model.graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(value, value) for value in values]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
