"""Exponential moving average (EMA) of the trained parameters."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class WeightEma:
    """EMA of `parameters` over steps, with a smaller decay in the first steps."""

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float) -> None:
        self._parameters = tuple(parameters)
        self._decay = decay
        self.steps = 0
        self.shadow = tuple(parameter.detach().clone() for parameter in self._parameters)

    @torch.no_grad()
    def update(self) -> None:
        """Adds the current parameters; to be called after each step."""
        self.steps += 1
        decay = min(self._decay, self.steps / (self.steps + 9))
        for average, parameter in zip(self.shadow, self._parameters, strict=True):
            average.lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges averages and parameters; a second call restores both."""
        for average, parameter in zip(self.shadow, self._parameters, strict=True):
            current = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(current)

    @torch.no_grad()
    def load_state(self, steps: int, shadow: Iterable[Tensor]) -> None:
        """Restores a saved count of `steps` and saved `averages`."""
        self.steps = steps
        for average, saved in zip(self.shadow, shadow, strict=True):
            average.copy_(saved)
