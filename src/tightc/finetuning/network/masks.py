"""Pruning masks: they keep zero weights at zero in gradients, weights and optimizer state."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Masks:
    """One mask per weight, of the weight's shape and dtype: 0 for a zero weight, else 1.

    A weight that is zero at the start stays zero throughout; `initial` are the masks of the start.
    """

    def __init__(self, weights: Iterable[nn.Parameter]) -> None:
        self.weights = tuple(weights)
        self.initial = tuple((weight != 0).to(weight.dtype) for weight in self.weights)
        self.masks = tuple(initial.clone() for initial in self.initial)

    @property
    def initial_zeros(self) -> int:
        """Number of weights that were zero at the start."""
        return sum(int((initial == 0).sum()) for initial in self.initial)

    @torch.no_grad()
    def set_mask(self, index: int, kept: Tensor) -> None:
        """Replaces the mask of weight number `index` by `kept`, bool, without the weights that are zero initially."""
        self.masks[index].copy_(kept).mul_(self.initial[index])
        self.weights[index].mul_(self.masks[index])

    def mask_gradients(self) -> None:
        """Masks the gradients; to be called between the backward pass and the optimizer step."""
        for weight, mask in zip(self.weights, self.masks, strict=True):
            if weight.grad is not None:
                weight.grad.mul_(mask)

    @torch.no_grad()
    def mask_update(self, optimizer: Optimizer) -> None:
        """Masks the weights and their optimizer state; to be called after the optimizer step."""
        for weight, mask in zip(self.weights, self.masks, strict=True):
            weight.mul_(mask)
            for state in optimizer.state[weight].values():
                if isinstance(state, Tensor) and state.shape == weight.shape:
                    state.mul_(mask)

    @torch.no_grad()
    def mask_weights(self) -> None:
        """Masks the weights alone."""
        for weight, mask in zip(self.weights, self.masks, strict=True):
            weight.mul_(mask)

    @torch.no_grad()
    def load_state(self, masks: Iterable[Tensor]) -> None:
        """Restores saved masks."""
        for mask, saved in zip(self.masks, masks, strict=True):
            mask.copy_(saved)
