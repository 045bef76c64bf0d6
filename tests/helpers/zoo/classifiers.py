"""Convolutional classifiers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from helpers.zoo.blocks import (
    Branches,
    Residual,
    ShuffleChannels,
    SqueezeExcite,
    ToChannelsFirst,
    ToChannelsLast,
    classifier,
    conv,
)


def lenet() -> nn.Module:
    """LeNet-5 (LeCun et al. 1998)."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 60),
        nn.Tanh(),
        nn.Linear(60, 42),
        nn.Tanh(),
        nn.Linear(42, 10),
    )


def vgg() -> nn.Module:
    """VGG with BatchNorm (Simonyan and Zisserman 2014)."""
    stages = [(3, 16), (16, 16), (16, 32), (32, 32), (32, 48)]
    layers: list[nn.Module] = []
    for place, (inputs, outputs) in enumerate(stages):
        layers += [conv(inputs, outputs), *([nn.MaxPool2d(2)] if place % 2 else [])]
    head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Dropout()]
    return nn.Sequential(*layers, *head, nn.Linear(64, 10))


def resnet() -> nn.Module:
    """ResNet with basic blocks (He et al. 2015)."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        body = nn.Sequential(conv(inputs, outputs, 3, stride), conv(outputs, outputs, act=nn.Identity))
        changed = stride != 1 or inputs != outputs
        shortcut = conv(inputs, outputs, 1, stride, act=nn.Identity) if changed else None
        return Residual(body, shortcut, nn.ReLU())

    stages = [(16, 16, 1), (16, 32, 2), (32, 48, 2)]
    return nn.Sequential(conv(3, 16), *(block(*stage) for stage in stages), classifier(48))


def resnext() -> nn.Module:
    """ResNeXt with grouped bottlenecks (Xie et al. 2016)."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        body = nn.Sequential(
            conv(inputs, outputs // 2, 1),
            conv(outputs // 2, outputs // 2, 3, stride, groups=4),
            conv(outputs // 2, outputs, 1, act=nn.Identity),
        )
        return Residual(body, conv(inputs, outputs, 1, stride, act=nn.Identity), nn.ReLU())

    stages = [(16, 32, 1), (32, 64, 2), (64, 96, 2)]
    return nn.Sequential(conv(3, 16, stride=2), *(block(*stage) for stage in stages), classifier(96))


def mobilenet_v1() -> nn.Module:
    """MobileNetV1: depthwise, then pointwise (Howard et al. 2017)."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Module:
        return nn.Sequential(conv(inputs, inputs, 3, stride, inputs), conv(inputs, outputs, 1))

    stages = [(16, 32, 1), (32, 64, 2), (64, 64, 1), (64, 96, 2), (96, 128, 1)]
    return nn.Sequential(conv(3, 16, stride=2), *(block(*stage) for stage in stages), classifier(128))


def _inverted(
    inputs: int, hidden: int, outputs: int, stride: int, act: type[nn.Module], excite: nn.Module | None
) -> nn.Module:
    body = nn.Sequential(
        conv(inputs, hidden, 1, act=act),
        conv(hidden, hidden, 3, stride, hidden, act=act),
        excite or nn.Identity(),
        conv(hidden, outputs, 1, act=nn.Identity),
    )
    return Residual(body) if stride == 1 and inputs == outputs else body


def mobilenet_v2() -> nn.Module:
    """MobileNetV2: inverted residuals with ReLU6 (Sandler et al. 2018)."""
    stages = [(16, 48, 16, 1), (16, 64, 24, 2), (24, 96, 24, 1), (24, 96, 40, 2), (40, 160, 40, 1)]
    blocks = [_inverted(*stage, nn.ReLU6, None) for stage in stages]
    last = conv(40, 128, 1, act=nn.ReLU6)
    return nn.Sequential(conv(3, 16, stride=2, act=nn.ReLU6), *blocks, last, classifier(128))


def mobilenet_v3() -> nn.Module:
    """MobileNetV3: hard-swish and hard-sigmoid gates (Howard et al. 2019)."""

    def block(inputs: int, hidden: int, outputs: int, stride: int) -> nn.Module:
        excite = SqueezeExcite(hidden, hidden // 4, nn.ReLU, nn.Hardsigmoid)
        return _inverted(inputs, hidden, outputs, stride, nn.Hardswish, excite)

    stages = [(16, 48, 16, 1), (16, 64, 24, 2), (24, 96, 24, 1), (24, 96, 40, 2)]
    blocks = [block(*stage) for stage in stages]
    return nn.Sequential(conv(3, 16, stride=2, act=nn.Hardswish), *blocks, classifier(40))


def efficientnet() -> nn.Module:
    """EfficientNet: MBConv with SiLU and squeeze-and-excitation (Tan and Le 2019)."""

    def block(inputs: int, hidden: int, outputs: int, stride: int) -> nn.Module:
        excite = SqueezeExcite(hidden, inputs // 4, nn.SiLU, nn.Sigmoid)
        return _inverted(inputs, hidden, outputs, stride, nn.SiLU, excite)

    stages = [(16, 48, 24, 2), (24, 96, 24, 1), (24, 96, 40, 2), (40, 160, 40, 1)]
    blocks = [block(*stage) for stage in stages]
    last = conv(40, 96, 1, act=nn.SiLU)
    return nn.Sequential(conv(3, 16, stride=2, act=nn.SiLU), *blocks, last, classifier(96))


def densenet() -> nn.Module:
    """DenseNet: BatchNorm before each convolution, growing concatenations (Huang et al. 2016)."""
    channels, growth = 16, 12

    def normed(inputs: int, outputs: int, size: int) -> nn.Module:
        layer = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
        return nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(), layer)

    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1, bias=False)]
    for stage in range(2):
        for _ in range(3):
            grown = nn.Sequential(normed(channels, 4 * growth, 1), normed(4 * growth, growth, 3))
            layers.append(Branches(nn.Identity(), grown))
            channels += growth
        if not stage:
            layers += [normed(channels, channels // 2, 1), nn.AvgPool2d(2)]
            channels //= 2
    return nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU(), classifier(channels))


def shufflenet() -> nn.Module:
    """ShuffleNet: grouped pointwise convolutions and a channel shuffle (Zhang et al. 2017)."""

    def body(inputs: int, hidden: int, outputs: int, stride: int) -> nn.Module:
        return nn.Sequential(
            conv(inputs, hidden, 1, groups=4),
            ShuffleChannels(4),
            conv(hidden, hidden, 3, stride, hidden, act=nn.Identity),
            conv(hidden, outputs, 1, groups=4, act=nn.Identity),
        )

    def down(inputs: int, outputs: int) -> nn.Module:
        rest = body(inputs, outputs // 2, outputs - inputs, 2)
        return nn.Sequential(Branches(nn.AvgPool2d(3, 2, 1), rest), nn.ReLU())

    blocks = [down(24, 64), Residual(body(64, 32, 64, 1), None, nn.ReLU())]
    blocks += [down(64, 128), Residual(body(128, 64, 128, 1), None, nn.ReLU())]
    return nn.Sequential(conv(3, 24, stride=2), *blocks, classifier(128))


class _SplitUnit(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.body = nn.Sequential(
            conv(half, half, 1), conv(half, half, 3, 1, half, act=nn.Identity), conv(half, half, 1)
        )
        self.shuffle = ShuffleChannels(2)

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, 1)
        return self.shuffle(torch.cat((kept, self.body(changed)), 1))


def shufflenet_v2() -> nn.Module:
    """ShuffleNetV2: half of the channels pass by (Ma et al. 2018)."""

    def down(inputs: int, outputs: int) -> nn.Module:
        half = outputs // 2
        left = nn.Sequential(conv(inputs, inputs, 3, 2, inputs, act=nn.Identity), conv(inputs, half, 1))
        right = nn.Sequential(
            conv(inputs, half, 1), conv(half, half, 3, 2, half, act=nn.Identity), conv(half, half, 1)
        )
        return nn.Sequential(Branches(left, right), ShuffleChannels(2))

    blocks = [down(24, 48), _SplitUnit(48), _SplitUnit(48), down(48, 96), _SplitUnit(96)]
    return nn.Sequential(conv(3, 24, stride=2), *blocks, conv(96, 128, 1), classifier(128))


def inception() -> nn.Module:
    """Inception: branches of several sizes, 7x7 as 1x7 and 7x1 (Szegedy et al. 2015)."""

    def bar(inputs: int, outputs: int, size: tuple[int, int]) -> nn.Module:
        padding = (size[0] // 2, size[1] // 2)
        layer = nn.Conv2d(inputs, outputs, size, padding=padding, bias=False)
        return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())

    def block(inputs: int) -> nn.Module:
        return Branches(
            conv(inputs, 16, 1),
            nn.Sequential(conv(inputs, 16, 1), conv(16, 24), conv(24, 24)),
            nn.Sequential(conv(inputs, 16, 1), bar(16, 16, (1, 7)), bar(16, 16, (7, 1))),
            nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), conv(inputs, 8, 1)),
        )

    down = Branches(conv(64, 32, 3, 2), nn.MaxPool2d(3, 2, 1))
    return nn.Sequential(conv(3, 24, stride=2), block(24), down, block(96), classifier(64))


def squeezenet() -> nn.Module:
    """SqueezeNet: fire modules, pools in ceil mode, a convolution as classifier (Iandola et al. 2016)."""

    def fire(inputs: int, squeezed: int, outputs: int) -> nn.Module:
        wide = Branches(
            nn.Sequential(nn.Conv2d(squeezed, outputs, 1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(squeezed, outputs, 3, padding=1), nn.ReLU()),
        )
        return nn.Sequential(nn.Conv2d(inputs, squeezed, 1), nn.ReLU(), wide)

    return nn.Sequential(
        nn.Conv2d(3, 32, 3, 2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        fire(32, 16, 32),
        fire(64, 16, 32),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        fire(64, 24, 48),
        nn.Dropout(),
        nn.Conv2d(96, 10, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


class _Scaled(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.2, 1.0, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


def convnext() -> nn.Module:
    """ConvNeXt: depthwise 7x7, LayerNorm and linear layers with channels last (Liu et al. 2022)."""

    def block(channels: int) -> nn.Module:
        body = nn.Sequential(
            nn.Conv2d(channels, channels, 7, padding=3, groups=channels),
            ToChannelsLast(),
            nn.LayerNorm(channels),
            nn.Linear(channels, 4 * channels),
            nn.GELU(),
            nn.Linear(4 * channels, channels),
            _Scaled(channels),
            ToChannelsFirst(),
        )
        return Residual(body)

    def normed(channels: int) -> nn.Module:
        return nn.Sequential(ToChannelsLast(), nn.LayerNorm(channels), ToChannelsFirst())

    down = nn.Sequential(normed(24), nn.Conv2d(24, 40, 2, 2))
    stem = nn.Sequential(nn.Conv2d(3, 24, 4, 4), normed(24))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(40), nn.Linear(40, 10))
    return nn.Sequential(stem, block(24), block(24), down, block(40), block(40), head)
