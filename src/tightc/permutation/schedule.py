"""Temperature schedules."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from tightc.config.options import Options, rule_broken


class Schedule(Options):
    """How a tile is cooled: what `--temp-schedule` reads."""

    kind: Literal["geometric", "linear"] = Field(
        "geometric", description="how temperature falls from t_start to t_end: geometric or linear"
    )
    t_start: Annotated[float, Field(gt=0)] = Field(
        0.3, description="first temperature, above 0, in cost units (one input beyond the fan-in costs 1)"
    )
    t_end: Annotated[float, Field(gt=0)] = Field(
        0.03, description="last temperature, above 0 and not above t_start, in cost units"
    )
    steps: Annotated[int, Field(ge=1, le=100_000)] = Field(
        50, description="number of temperatures, from 1 to 100000"
    )
    moves_per_weight: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        2000, description="swaps tried for each non-zero weight, from 0 (no annealing) to 10000000"
    )

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if self.t_end > self.t_start:
            raise rule_broken(
                f"t_end {self.t_end} is above t_start {self.t_start}, but temperature must fall",
                "lower t_end or raise t_start",
                "t_end",
            )
        return self

    def temperatures(self) -> NDArray[np.float64]:
        """The temperatures in order: (steps,) float64, cost units."""
        if self.kind == "linear":
            return np.linspace(self.t_start, self.t_end, self.steps)
        return np.geomspace(self.t_start, self.t_end, self.steps)
