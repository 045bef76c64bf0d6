"""Layers of four networks, from the tables of their papers: one image, 224x224 or 32x32 (CIFAR) pixels."""

from __future__ import annotations

from typing import NamedTuple


class Shape(NamedTuple):
    """`filters` and `inputs` of one group; `vectors`: output pixels."""

    filters: int
    inputs: int
    vectors: int
    groups: int = 1


def conv(filters: int, kernel: int, channels: int, side: int) -> Shape:
    """`side`: of the output."""
    return Shape(filters, channels * kernel**2, side**2)


def resnet20() -> list[Shape]:
    """He et al., 2016, section 4.2, n = 3; shortcuts without weights."""
    layers, before = [conv(16, 3, 3, 32)], 16
    for width, side in ((16, 32), (32, 16), (64, 8)):
        for _ in range(2 * 3):
            layers.append(conv(width, 3, before, side))
            before = width
    return [*layers, Shape(10, 64, 1)]


def vgg16() -> list[Shape]:
    """Simonyan and Zisserman, 2015, table 1, column D."""
    layers, before, side = [], 3, 224
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            layers.append(conv(width, 3, before, side))
            before = width
        side //= 2
    return [*layers, Shape(4096, 512 * 7 * 7, 1), Shape(4096, 4096, 1), Shape(1000, 4096, 1)]


def mobilenet_v2() -> list[Shape]:
    """Sandler et al., 2018, table 2."""
    table = (  # expansion, channels, repeats, first stride
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    layers, before, side = [conv(32, 3, 3, 112)], 32, 112
    for expansion, channels, repeats, first in table:
        for repeat in range(repeats):
            hidden = expansion * before
            if expansion > 1:
                layers.append(conv(hidden, 1, before, side))
            if repeat == 0:
                side //= first
            layers.append(Shape(1, 9, side**2, hidden))
            layers.append(conv(channels, 1, hidden, side))
            before = channels
    return [*layers, conv(1280, 1, 320, 7), Shape(1000, 1280, 1)]


def resnet50(late: bool) -> list[Shape]:
    """He et al., 2016, table 1: strides in a block's first layer or, `late`, in its 3x3 layer, as in torchvision."""
    layers, before, side = [conv(64, 7, 3, 112)], 64, 56
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            wide = side
            if block == 0 and width > 64:
                side //= 2
            layers.append(conv(width, 1, before, wide if late else side))
            layers.append(conv(width, 3, width, side))
            layers.append(conv(4 * width, 1, width, side))
            if block == 0:
                layers.append(conv(4 * width, 1, before, side))
            before = 4 * width
    return [*layers, Shape(1000, 2048, 1)]


NETWORKS: dict[str, list[Shape]] = {
    "ResNet-20": resnet20(),
    "VGG-16": vgg16(),
    "MobileNetV2": mobilenet_v2(),
    "ResNet-50": resnet50(late=False),
    "ResNet-50, late strides": resnet50(late=True),
}
