"""A running mean of what is trained."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class WeightEma:
    """Exponential mean of parameters over steps, with a shorter memory in the first ones."""

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        self._parameters = tuple(parameters)
        self._decay = decay
        self.steps = 0
        self.means = tuple(parameter.detach().clone() for parameter in self._parameters)

    @torch.no_grad()
    def add(self) -> None:
        """To be called after each step."""
        self.steps += 1
        decay = min(self._decay, self.steps / (self.steps + 9))
        for mean, parameter in zip(self.means, self._parameters, strict=True):
            mean.lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges means and parameters: once to look at the means, once more to go on."""
        for mean, parameter in zip(self.means, self._parameters, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(mean)
            mean.copy_(kept)

    @torch.no_grad()
    def load(self, steps: int, means: Iterable[Tensor]) -> None:
        """Takes over the state of another."""
        self.steps = steps
        for mean, saved in zip(self.means, means, strict=True):
            mean.copy_(saved)
