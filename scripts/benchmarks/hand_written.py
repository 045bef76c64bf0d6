"""ResNet-20 and its training loop as one writes them by hand in torch: what finetune's speed is measured against."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut without parameters."""

    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(filters)
        self.stride, self.more = stride, filters - channels

    def forward(self, x: Tensor) -> Tensor:
        """(images, channels, height, width) in, filters and 1 / stride of the sides out."""
        y = functional.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        if self.more:
            x = functional.pad(
                x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more // 2, self.more // 2)
            )
        return functional.relu(y + x)


class ResNet20(nn.Module):
    """16, 32 and 64 filters, three blocks each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        sizes = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
        self.blocks = nn.Sequential(*(Block(*size) for size in sizes))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(images, 3, 32, 32) in, (images, 10) out."""
        y = self.blocks(functional.relu(self.norm(self.conv(x))))
        return self.linear(y.mean((2, 3)))  # type: ignore[no-any-return]


def training(
    pixels: Tensor, labels: Tensor, mean: Tensor, std: Tensor, *, batch: int, bf16: bool
) -> Iterator[int]:
    """Trains for ever, and gives the images of each step when it is done.

    `pixels`: (images, 3, 32, 32) uint8; shifted by up to 4 and mirrored, SGD with Nesterov's momentum, channels last.
    """
    model = ResNet20().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    padded = functional.pad(pixels, (4, 4, 4, 4)).permute(0, 2, 3, 1).contiguous()
    rows, mean, std = torch.arange(32), mean * 255, std * 255
    while True:
        for index in torch.randperm(len(labels)).split(batch):
            count = len(index)
            if count < batch:
                continue
            columns = rows.expand(count, 32)
            columns = torch.where(torch.randint(0, 2, (count, 1)).bool(), columns.flip(1), columns)
            down, right = torch.randint(0, 9, (2, count, 1))
            cut = padded[index[:, None, None], (down + rows)[:, :, None], (right + columns)[:, None, :]]
            images = ((cut.float() - mean) / std).permute(0, 3, 1, 2)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = model(images)
            loss = functional.cross_entropy(logits.float(), labels[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield count
