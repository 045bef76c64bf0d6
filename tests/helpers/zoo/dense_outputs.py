"""Networks with maps, boxes or signals as outputs or inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from helpers.zoo.blocks import Branches, Residual, conv


class _UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.top, self.low = nn.Sequential(conv(3, 12), conv(12, 12)), conv(12, 24)
        self.bottom = nn.Sequential(conv(24, 32), conv(32, 32))
        self.pool = nn.MaxPool2d(2)
        self.up_low, self.up_top = nn.ConvTranspose2d(32, 24, 2, 2), nn.ConvTranspose2d(24, 12, 2, 2)
        self.join_low, self.join_top = conv(48, 24), nn.Sequential(conv(24, 12), nn.Conv2d(12, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        top = self.top(x)
        low = self.low(self.pool(top))
        joined = self.join_low(torch.cat((low, self.up_low(self.bottom(self.pool(low)))), 1))
        return self.join_top(torch.cat((top, self.up_top(joined)), 1))


def unet() -> nn.Module:
    """U-Net with transposed convolutions (Ronneberger et al. 2015)."""
    return _UNet()


class _PooledContext(nn.Module):
    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.context = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, outputs, 1), nn.ReLU())
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.interpolate(self.context(x), size=(self.size, self.size), mode="nearest")


def deeplab() -> nn.Module:
    """DeepLab: dilated convolutions in parallel, bilinear upsampling (Chen et al. 2017)."""

    def dilated(rate: int) -> nn.Module:
        layer = nn.Conv2d(32, 16, 3, padding=rate, dilation=rate, bias=False)
        return nn.Sequential(layer, nn.BatchNorm2d(16), nn.ReLU())

    pyramid = Branches(conv(32, 16, 1), dilated(2), dilated(3), _PooledContext(32, 16, 8))
    body = [conv(3, 16, stride=2), conv(16, 32, stride=2), pyramid, conv(64, 32, 1), nn.Conv2d(32, 5, 1)]
    return nn.Sequential(*body, nn.Upsample(scale_factor=4, mode="bilinear", align_corners=False))


class _Ssd(nn.Module):
    def __init__(self, classes: int = 4, anchors: int = 3) -> None:
        super().__init__()
        self.classes = classes
        self.stages = nn.ModuleList(
            [nn.Sequential(conv(3, 16, stride=2), conv(16, 32, stride=2)), conv(32, 40, stride=2)]
        )
        self.scores = nn.ModuleList(nn.Conv2d(size, anchors * classes, 3, padding=1) for size in (32, 40))
        self.boxes = nn.ModuleList(nn.Conv2d(size, anchors * 4, 3, padding=1) for size in (32, 40))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores, boxes = [], []
        for stage, score, box in zip(self.stages, self.scores, self.boxes, strict=True):
            x = stage(x)
            scores.append(score(x).permute(0, 2, 3, 1).reshape(x.shape[0], -1, self.classes))
            boxes.append(box(x).permute(0, 2, 3, 1).reshape(x.shape[0], -1, 4))
        return torch.cat(scores, 1).softmax(-1), torch.cat(boxes, 1)


def ssd() -> nn.Module:
    """SSD: heads for classes and boxes on maps of several sizes (Liu et al. 2016)."""
    return _Ssd()


class _C2f(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.first, self.last = conv(inputs, outputs, 1, act=nn.SiLU), conv(3 * half, outputs, 1, act=nn.SiLU)
        self.body = Residual(nn.Sequential(conv(half, half, act=nn.SiLU), conv(half, half, act=nn.SiLU)))

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.first(x).chunk(2, 1)
        return self.last(torch.cat((left, right, self.body(right)), 1))


class _Sppf(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.first, self.last = conv(channels, half, 1), conv(4 * half, channels, 1)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.first(x)]
        for _ in range(3):
            maps.append(self.pool(maps[-1]))
        return self.last(torch.cat(maps, 1))


class _BoxDistances(nn.Module):
    """The expected distance of each side: a softmax over bins, and a convolution with the bins' numbers."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins, self.mean = bins, nn.Conv2d(bins, 1, 1, bias=False)
        self.mean.weight = nn.Parameter(torch.arange(bins, dtype=torch.float32).reshape(1, bins, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        batch, _, places = x.shape
        bins = x.reshape(batch, 4, self.bins, places).transpose(2, 1).softmax(1)
        return self.mean(bins).reshape(batch, 4, places)


class _Yolo(nn.Module):
    def __init__(self, classes: int = 3, bins: int = 4) -> None:
        super().__init__()
        self.sizes = (4 * bins, classes)
        self.high = nn.Sequential(conv(3, 16, stride=2, act=nn.SiLU), conv(16, 24, stride=2, act=nn.SiLU))
        self.c2f = _C2f(24, 24)
        self.low = nn.Sequential(conv(24, 32, stride=2, act=nn.SiLU), _Sppf(32))
        self.up, self.join = nn.Upsample(scale_factor=2, mode="nearest"), _C2f(56, 24)
        self.boxes = nn.ModuleList(nn.Conv2d(size, 4 * bins, 1) for size in (24, 32))
        self.scores = nn.ModuleList(nn.Conv2d(size, classes, 1) for size in (24, 32))
        self.distances = _BoxDistances(bins)

    def forward(self, x: Tensor) -> Tensor:
        high = self.c2f(self.high(x))
        low = self.low(high)
        maps = (self.join(torch.cat((self.up(low), high), 1)), low)
        rows = []
        for feature, box, score in zip(maps, self.boxes, self.scores, strict=True):
            rows.append(torch.cat((box(feature), score(feature)), 1).flatten(2))
        boxes, scores = torch.cat(rows, 2).split(self.sizes, 1)
        return torch.cat((self.distances(boxes), scores.sigmoid()), 1)


def yolo() -> nn.Module:
    """The neck and head of YOLOv8: C2f, SPPF, nearest upsampling, box distances."""
    return _Yolo()


def keyword_spotter() -> nn.Module:
    """One-dimensional depthwise separable CNN on 40 spectral features (Zhang et al. 2017)."""

    def conv1d(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Module:
        layer = nn.Conv1d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        return nn.Sequential(layer, nn.BatchNorm1d(outputs), nn.ReLU())

    blocks = [nn.Sequential(conv1d(64, 64, 9, 1, 64), conv1d(64, 64, 1)) for _ in range(3)]
    head = [nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, 12)]
    return nn.Sequential(conv1d(40, 64, 3, 2), *blocks, *head)


def cnn_3d() -> nn.Module:
    """Three-dimensional CNN for clips, as C3D (Tran et al. 2015)."""

    def conv3d(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
        layer = nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False)
        return nn.Sequential(layer, nn.BatchNorm3d(outputs), nn.ReLU())

    layers = [conv3d(3, 12), nn.MaxPool3d((1, 2, 2)), conv3d(12, 24), nn.MaxPool3d(2), conv3d(24, 40)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(40, 8))


class _AsMaps(nn.Module):
    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.shape = (channels, side, side)

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(-1, *self.shape)


def autoencoder() -> nn.Module:
    """Convolutional autoencoder with a linear bottleneck and strided transposed convolutions."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, 2, 1),
        nn.LeakyReLU(0.1),
        nn.Conv2d(12, 24, 3, 2, 1),
        nn.LeakyReLU(0.1),
        nn.Flatten(),
        nn.Linear(24 * 16, 48),
        nn.ELU(),
        nn.Linear(48, 24 * 16),
        _AsMaps(24, 4),
        nn.ConvTranspose2d(24, 12, 3, 2, 1, output_padding=1),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose2d(12, 1, 4, 2, 1),
        nn.Sigmoid(),
    )


def super_resolution() -> nn.Module:
    """Super resolution by PixelShuffle, with PReLU and residual blocks (Shi et al. 2016)."""

    def block() -> nn.Module:
        return Residual(
            nn.Sequential(nn.Conv2d(24, 24, 3, padding=1), nn.PReLU(24), nn.Conv2d(24, 24, 3, padding=1))
        )

    layers = [nn.Conv2d(3, 24, 5, padding=2), nn.PReLU(), block(), block()]
    return nn.Sequential(*layers, nn.Conv2d(24, 27, 3, padding=1), nn.PixelShuffle(3))
