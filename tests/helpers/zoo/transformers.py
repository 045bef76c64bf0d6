"""Vision transformers, and the mixer, which has no attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from helpers.zoo.blocks import Residual


def _mlp(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, bias: Tensor | None = None) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = (query * self.scale) @ key.transpose(-2, -1)
        if self.bias is not None:
            scores = scores + self.bias
        mixed = scores.softmax(-1) @ value
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))


class _Tokens(nn.Module):
    def __init__(self, width: int, patch: int, tokens: int, *, with_class: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.first = nn.Parameter(torch.randn(1, 1, width)) if with_class else None
        self.places = nn.Parameter(torch.randn(1, tokens + with_class, width) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        if self.first is not None:
            tokens = torch.cat((self.first.expand(tokens.shape[0], -1, -1), tokens), 1)
        return tokens + self.places


class _FirstToken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


class _MeanToken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


class _Transpose(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


def vit() -> nn.Module:
    """Vision transformer with a class token (Dosovitskiy et al. 2020)."""

    def block(width: int) -> list[nn.Module]:
        return [
            Residual(nn.Sequential(nn.LayerNorm(width), _Attention(width, 4))),
            Residual(nn.Sequential(nn.LayerNorm(width), _mlp(width, 2 * width))),
        ]

    blocks = [part for _ in range(3) for part in block(48)]
    head = nn.Sequential(nn.LayerNorm(48), _FirstToken(), nn.Linear(48, 10))
    return nn.Sequential(_Tokens(48, 8, 16, with_class=True), *blocks, head)


class _WindowAttention(nn.Module):
    """Attention within windows of a map with channels last, which is shifted cyclically before."""

    def __init__(self, width: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.attention = _Attention(width, heads, torch.randn(heads, window**2, window**2) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        side = self.window
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        x = x.reshape(batch, height // side, side, width // side, side, channels)
        windows = x.permute(0, 1, 3, 2, 4, 5).reshape(-1, side * side, channels)
        x = self.attention(windows).reshape(batch, height // side, width // side, side, side, channels)
        x = x.permute(0, 1, 3, 2, 4, 5).reshape(batch, height, width, channels)
        return torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x


class _MergePatches(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.reduce = nn.LayerNorm(4 * width), nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        corners = (x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2])
        return self.reduce(self.norm(torch.cat(corners, -1)))


class _Swin(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 4, 4)
        self.body = nn.Sequential(*self.pair(24), _MergePatches(24), *self.pair(48), nn.LayerNorm(48))
        self.head = nn.Linear(48, 10)

    @staticmethod
    def pair(width: int) -> list[nn.Module]:
        blocks: list[nn.Module] = []
        for shift in (0, 2):
            attention = _WindowAttention(width, width // 12, 4, shift)
            blocks.append(Residual(nn.Sequential(nn.LayerNorm(width), attention)))
            blocks.append(Residual(nn.Sequential(nn.LayerNorm(width), _mlp(width, 2 * width))))
        return blocks

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.patches(x).permute(0, 2, 3, 1)).mean((1, 2)))


def swin() -> nn.Module:
    """Shifted windows as in Swin, without its mask (Liu et al. 2021)."""
    return _Swin()


def mlp_mixer() -> nn.Module:
    """MLP-Mixer: linear layers over tokens, then over channels (Tolstikhin et al. 2021)."""

    def block(width: int, tokens: int) -> list[nn.Module]:
        over_tokens = nn.Sequential(nn.LayerNorm(width), _Transpose(), _mlp(tokens, 32), _Transpose())
        return [Residual(over_tokens), Residual(nn.Sequential(nn.LayerNorm(width), _mlp(width, 96)))]

    blocks = [part for _ in range(3) for part in block(48, 16)]
    head = nn.Sequential(nn.LayerNorm(48), _MeanToken(), nn.Linear(48, 10))
    return nn.Sequential(_Tokens(48, 8, 16, with_class=False), *blocks, head)
