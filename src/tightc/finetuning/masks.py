"""Which weights may be other than zero: masks on gradients, weights and the optimizer's memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Masks:
    """Weights that keep zeros, and for each its mask: 0 where it is zero, else 1, of the same dtype and order.

    A weight that is zero at the start stays so for ever. With `regrowing`, weights that are pruned later are trained
    on out of sight: passes see them as zero, updates do not, and a later choice may take them back (dynamic pruning
    with feedback, Lin et al., ICLR 2020, section 3).
    """

    def __init__(self, weights: Iterable[nn.Parameter], *, regrowing: bool = False) -> None:
        self.weights = tuple(weights)
        self.allowed = tuple((weight != 0).to(weight.dtype) for weight in self.weights)
        self.masks = tuple(allowed.clone() for allowed in self.allowed)
        self.hidden: tuple[Tensor, ...] | None = None
        if regrowing:
            self.hidden = tuple(weight.detach().clone() for weight in self.weights)

    @property
    def zeros(self) -> int:
        """How many weights are zero for ever."""
        return sum(int((allowed == 0).sum()) for allowed in self.allowed)

    def candidates(self) -> tuple[Tensor, ...]:
        """The weights to choose from: with those out of sight, if they are trained on."""
        return self.hidden if self.hidden is not None else tuple(weight.detach() for weight in self.weights)

    @torch.no_grad()
    def choose(self, kept: Iterable[Tensor]) -> None:
        """Takes `kept`, bool tensors of the weights' shapes, as the new masks, where a weight is allowed at all."""
        for index, chosen in enumerate(kept):
            weight, mask = self.weights[index], self.masks[index]
            mask.copy_(chosen.to(weight.dtype) * self.allowed[index])
            if self.hidden is not None:
                weight.copy_(self.hidden[index] * mask)
            else:
                weight.mul_(mask)

    def settle(self) -> None:
        """Ends the regrowing: what is pruned now stays so."""
        self.hidden = None

    @torch.no_grad()
    def before_update(self) -> None:
        """To be called between the backward pass and the optimizer's step."""
        for index, weight in enumerate(self.weights):
            limits = self.masks if self.hidden is None else self.allowed
            if weight.grad is not None:
                weight.grad.mul_(limits[index])
            if self.hidden is not None:
                weight.copy_(self.hidden[index])

    @torch.no_grad()
    def after_update(self, optimizer: Optimizer) -> None:
        """To be called after the optimizer's step: clears the weights and what the optimizer remembers of them."""
        for index, weight in enumerate(self.weights):
            limits = self.masks[index] if self.hidden is None else self.allowed[index]
            for remembered in optimizer.state[weight].values():
                if isinstance(remembered, Tensor) and remembered.shape == weight.shape:
                    remembered.mul_(limits)
            if self.hidden is not None:
                self.hidden[index].copy_(weight).mul_(limits)
            weight.mul_(self.masks[index])

    @torch.no_grad()
    def clear(self) -> None:
        """Sets to zero what the masks say."""
        for weight, mask in zip(self.weights, self.masks, strict=True):
            weight.mul_(mask)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {"masks": list(self.masks), "hidden": None if self.hidden is None else list(self.hidden)}

    @torch.no_grad()
    def load(self, state: Mapping[str, Any]) -> None:
        """Takes over what `state` gave."""
        for mask, saved in zip(self.masks, state["masks"], strict=True):
            mask.copy_(saved)
        if state["hidden"] is None:
            self.hidden = None
        elif self.hidden is not None:
            for hidden, saved in zip(self.hidden, state["hidden"], strict=True):
                hidden.copy_(saved)
