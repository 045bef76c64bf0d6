"""Which weights may be other than zero: masks on gradients, weights and the optimizer's memory."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Masks:
    """Weights that keep zeros, and for each its mask: 0 where it is zero, else 1, of the same dtype and order.

    A weight that is zero at the start stays so for ever; `allowed` are the masks of the start.
    """

    def __init__(self, weights: Iterable[nn.Parameter]) -> None:
        self.weights = tuple(weights)
        self.allowed = tuple((weight != 0).to(weight.dtype) for weight in self.weights)
        self.masks = tuple(allowed.clone() for allowed in self.allowed)

    @property
    def zeros(self) -> int:
        """How many weights are zero for ever."""
        return sum(int((allowed == 0).sum()) for allowed in self.allowed)

    @torch.no_grad()
    def choose(self, index: int, kept: Tensor) -> None:
        """Takes `kept`, bool, as the new mask of weight number `index`, where that is allowed at all."""
        self.masks[index].copy_(kept).mul_(self.allowed[index])
        self.weights[index].mul_(self.masks[index])

    def before_update(self) -> None:
        """To be called between the backward pass and the optimizer's step: clears the gradients."""
        for weight, mask in zip(self.weights, self.masks, strict=True):
            if weight.grad is not None:
                weight.grad.mul_(mask)

    @torch.no_grad()
    def after_update(self, optimizer: Optimizer) -> None:
        """To be called after the optimizer's step: clears the weights and what the optimizer remembers of them."""
        for weight, mask in zip(self.weights, self.masks, strict=True):
            weight.mul_(mask)
            for remembered in optimizer.state[weight].values():
                if isinstance(remembered, Tensor) and remembered.shape == weight.shape:
                    remembered.mul_(mask)

    @torch.no_grad()
    def clear(self) -> None:
        """Sets to zero what the masks say."""
        for weight, mask in zip(self.weights, self.masks, strict=True):
            weight.mul_(mask)

    @torch.no_grad()
    def load(self, masks: Iterable[Tensor]) -> None:
        """Takes over the masks of another."""
        for mask, saved in zip(self.masks, masks, strict=True):
            mask.copy_(saved)
