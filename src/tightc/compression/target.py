"""What a training of compress prunes towards: so many times fewer weights, or so many times less energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tightc.accelerator.options import HardwareOptions
from tightc.finetuning.options import FinetuneOptions
from tightc.selection.budget import Budget, Kind

_OF_A_BUDGET = ("budget", "tile_heights", "criterion", "fan_in", *HardwareOptions.model_fields)


@dataclass(frozen=True)
class Target:
    """Weights / kept weights, or with a `kind` the gain of a budget: `factor`, from 1, which prunes nothing."""

    factor: float
    kind: Kind | None = None

    @property
    def figure(self) -> dict[str, Any]:
        """The sparsity, or the budget, by its name in reports."""
        return {"budget": self._budget} if self.kind else {"sparsity": self._sparsity}

    @property
    def slug(self) -> str:
        """As a part of a folder's name."""
        return str(self).replace(" ", "-").replace("=", "-")

    def __str__(self) -> str:
        return self._budget if self.kind else f"sparsity {self._sparsity:g}"

    @property
    def options(self) -> dict[str, Any]:
        """The options of finetune that prune so far, over those of the chain."""
        if self.kind is None:
            return {"sparsity": self._sparsity}
        if self._gain > 1:
            return {"budget": Budget.parse(self._budget)}
        fields = FinetuneOptions.model_fields
        without = {name: fields[name].get_default(call_default_factory=True) for name in _OF_A_BUDGET}
        return {**without, "sparsity": 0.0}

    @property
    def _sparsity(self) -> float:
        return round(1 - 1 / self.factor, 4)

    @property
    def _gain(self) -> float:
        return round(self.factor, 2)

    @property
    def _budget(self) -> str:
        return f"{self.kind}={self._gain:g}"
