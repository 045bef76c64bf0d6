"""Keeping zeros zero: masks on the gradient, the weight and the momentum."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer


@dataclass(frozen=True)
class ZeroMasks:
    """Weights that hold exact zeros, each with its mask: 0 where it is zero, else 1, of the same dtype."""

    weights: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]

    @classmethod
    def of(cls, weights: Iterable[Tensor]) -> ZeroMasks:
        """The masks of those of `weights` that hold a zero, on the same device, in the same memory order."""
        pruned = [weight for weight in weights if bool((weight == 0).any())]
        return cls(tuple(pruned), tuple((weight != 0).to(weight.dtype) for weight in pruned))

    @property
    def zeros(self) -> int:
        """How many zeros are kept."""
        return sum(int((mask == 0).sum()) for mask in self.masks)

    def clear_gradients(self) -> None:
        """To be called between the backward pass and the optimizer's step."""
        for weight, mask in zip(self.weights, self.masks, strict=True):
            if weight.grad is not None:
                weight.grad.mul_(mask)

    @torch.no_grad()
    def clear_weights(self, optimizer: Optimizer) -> None:
        """To be called after the optimizer's step: the weights, and the momentum that it keeps for them."""
        for weight, mask in zip(self.weights, self.masks, strict=True):
            weight.mul_(mask)
            momentum = optimizer.state[weight].get("momentum_buffer")
            if momentum is not None:
                momentum.mul_(mask)
